"""One connection to one remote host: where to, from where, how; and why it could not be made."""

from __future__ import annotations

import errno
from typing import Any

import attrs
from twisted.internet import error
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from mailerq.attempt import Outcome, State, Type
from mailerq.settings import Timeouts
from mailerq.smtp.client import SmtpClient


@attrs.frozen
class ConnectOptions:
    """``address`` is the host's IP address, ``mx`` its name where it has one, ``source`` the local address to send
    from, ``hostname`` our name in EHLO.

    ``security``: ``none`` (never TLS), ``opportunistic`` (where offered; a failure of it is an outcome of type
    ``tls``, and whoever gave these options may try again with ``none``), ``required`` (or no delivery), ``verified``
    (and the certificate must be trusted and carry one of ``tls_names``, by default the name of the MX).
    ``trust`` is what Twisted takes for a trust root, None for the platform's.
    ``username`` and ``password``: AUTH, over TLS only unless ``auth_in_clear``.
    """

    address: str
    port: int = 25
    mx: str | None = None
    source: str | None = None
    hostname: str = "localhost"
    security: str = "opportunistic"
    tls_names: tuple[str, ...] = ()
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    auth_in_clear: bool = False
    timeouts: Timeouts = attrs.Factory(Timeouts)
    trust: Any = attrs.field(default=None, repr=False)


class HostFactory(ClientFactory):
    """Makes one connection. ``connect`` gives it to the caller before it is connected; all else is told to the owner,
    never from within ``connect``."""

    noisy = False

    def __init__(self, reactor: Any, owner: Any, host: Any, options: ConnectOptions) -> None:
        self.reactor = reactor
        self.owner = owner
        self.host = host
        self.options = options
        self.connection = SmtpClient(reactor, owner, options, host)

    def connect(self) -> SmtpClient:
        """Start the connection. To be called once."""
        options = self.options
        connection = self.connection
        connection.voice.inside += 1
        try:
            connection.connector = self.reactor.connectTCP(
                options.address,
                options.port,
                self,
                timeout=options.timeouts.connect,
                bindAddress=(options.source, 0) if options.source else None,
            )
        except Exception as problem:  # an address of another family is a TypeError, and comes at once
            connection.not_connected(classify(problem, options))
        finally:
            connection.voice.inside -= 1
        return connection

    def buildProtocol(self, addr: IAddress | None) -> SmtpClient:
        return self.connection

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.connection.not_connected(classify(reason.value, self.options))


def classify(problem: BaseException | None, options: ConnectOptions) -> Outcome:
    """What a failed TCP connect is: ``refused``, ``bind`` (our own address is not here), ``connect``, or ``noaccess``
    where it came about and was reset at once.

    ``bind`` is final, so it is only what the system says of an address that is not its own. No free port, no file
    descriptor, an address of another family: those may pass, or hold for this host only.
    """
    to = f"{options.address} port {options.port}"
    number = getattr(problem, "osError", None)
    text = str(problem).rstrip(".") or type(problem).__name__
    if isinstance(problem, error.ConnectBindError):
        text = f"cannot connect from {options.source or 'here'} to {to}: {text}"
        return Outcome(Type.BIND if number == errno.EADDRNOTAVAIL else Type.CONNECT, State.CONNECT, description=text)
    if isinstance(problem, error.ConnectionRefusedError) or number == errno.ECONNREFUSED:
        return Outcome(Type.REFUSED, State.CONNECT, description=f"{to} refused the connection")
    if number == errno.ECONNRESET:  # it came about, and was closed before we could look at it
        return Outcome(Type.NOACCESS, State.INIT, description=f"{to} reset the connection before its greeting")
    if isinstance(problem, error.TimeoutError) and number is None:
        text = f"no connection in {options.timeouts.connect:g} s"
    return Outcome(Type.CONNECT, State.CONNECT, description=f"cannot connect to {to}: {text}")
