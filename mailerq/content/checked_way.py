"""The way to a web server: its name looked up once, its addresses looked at, a connection to one that may be used."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mailerq.content.addresses import objection
from mailerq.content.download_rules import DownloadRules
from mailerq.content.flight import FetchError
from mailerq.content.host_names import Names
from mailerq.content.web_address import WebAddress

MOST_HEAD = 128 * 1024
"""Bytes that a server may send before its response's body begins."""
CONNECT = 10.0
"""Seconds for a connection to one of the addresses of a host."""
MOST_ADDRESSES = 4
"""Addresses of a host that are tried."""


@implementer(IAgentEndpointFactory)
class Way:
    """The way to one server: an endpoint that looks up the name once, and connects to an address that may be used."""

    def __init__(self, reactor: Any, address: WebAddress, rules: DownloadRules, names: Names, trust: Any) -> None:
        self.refused: FetchError | None = None
        self._reactor = reactor
        self._address = address
        self._rules = rules
        self._names = names
        self._trust = trust
        self._connection: _Counted | None = None

    def endpointForURI(self, uri: Any) -> Way:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(_Counting(factory, self)))

    async def _connect(self, factory: _Counting) -> Any:
        last: Exception = LookupError("there is no address")
        for address in await self._usable():
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint: Any = kind(self._reactor, address, self._address.port, CONNECT)
            if self._address.scheme == "https":
                endpoint = wrapClientTLS(self._tls(), endpoint)
            try:
                self._connection = await endpoint.connect(factory)
            except (ConnectError, OSError) as error:
                last = error
            else:
                return self._connection.wrappedProtocol
        raise last

    async def _usable(self) -> list[str]:
        """The addresses that may be connected to; raises ``refused`` where none may."""
        host = self._address.host
        try:
            addresses = await self._names(host)
        except LookupError as error:
            raise self.refuse(f"its host has no address: {error}", True) from error
        rules = self._rules
        objections = {address: objection(address, rules.allow, rules.deny) for address in addresses}
        usable = [address for address in objections if not objections[address]]
        if not usable:
            address, what = next(iter(objections.items()), (host, "is no address"))
            named = address if address == host else f"{host} ({address})"
            raise self.refuse(f"it leads to {named}, which {what}", False)
        return usable[:MOST_ADDRESSES]

    def refuse(self, what: str, passing: bool) -> FetchError:
        """Say why nothing comes of it."""
        self.refused = FetchError(what, passing)
        return self.refused

    def _tls(self) -> Any:
        from twisted.internet.ssl import optionsForClientTLS

        return optionsForClientTLS(self._address.host, trustRoot=self._trust)

    def head_is_there(self) -> None:
        """The response's body has a bound of its own."""
        if self._connection is not None:
            self._connection.left = None

    def close(self) -> None:
        """Whatever becomes of it, the connection is not used again."""
        if self._connection is not None:
            self._connection.close()


class _Counted(ProtocolWrapper):
    """Counts what a server sends before the body: Twisted has no bound for the number of headers."""

    factory: Any
    left: int | None = MOST_HEAD
    open = True

    def dataReceived(self, data: bytes) -> None:
        if self.left is not None:
            self.left -= len(data)
            if self.left < 0:
                self.factory.way.refuse("the header of its answer does not end", True)
                self.close()
                return
        self.wrappedProtocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open = False
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """At once."""
        transport: Any = self.transport
        if self.open and transport is not None:
            transport.abortConnection()


class _Counting(WrappingFactory):
    protocol = _Counted
    noisy = False

    def __init__(self, wrapped: Any, way: Way) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.way = way
