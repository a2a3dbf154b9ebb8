"""How an AMQP broker's address is connected to, in clear or by TLS."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS, platformTrust
from zope.interface import implementer

from mailerq.interfaces import BrokerRefused
from mailerq.queues.amqp_url import AmqpAddress

CONNECT_DEADLINE = 10.0  # TCP, for each address of the host


@implementer(IOpenSSLTrustRoot)
class _Trust:
    """The platform's CAs and those in a file."""

    def __init__(self, ca: str) -> None:
        self._ca = ca

    def _addCACertsToContext(self, context: Any) -> None:
        platformTrust()._addCACertsToContext(context)
        context.load_verify_locations(self._ca)


def endpoint_for(reactor: Any, address: AmqpAddress, ca: str | None) -> Any:
    """The endpoint of an address; with TLS the host name is verified. BrokerRefused for a CA file that is none."""
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_DEADLINE)
    if not address.tls:
        return endpoint
    if ca:
        try:  # now: Twisted would read it in the middle of connecting
            SSL.Context(SSL.TLS_CLIENT_METHOD).load_verify_locations(ca)
        except SSL.Error as problem:
            raise BrokerRefused(f"the CA file {ca} (broker.ca) cannot be used: {problem}") from None
    return wrapClientTLS(optionsForClientTLS(address.host, _Trust(ca) if ca else None), endpoint)
