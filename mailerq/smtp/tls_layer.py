"""TLS between a connection and its transport: Twisted's, over an outlet.

``startTLS`` of a transport gathers what is written until the next turn, and then waits for the reactor to ask for it.
Here the same layer writes to the outlet, and a message is encrypted and handed to the system at once, as in clear. All
that goes to the socket, whoever writes it, goes through that one outlet, so nothing is overtaken.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from mailerq.smtp.outlet import Outlet
from mailerq.smtp.tls import ClientTls

ROOM = 256
"""Bytes that encryption adds to a short text, at most; to a long one, a 64th more (RFC 8446 section 5.4)."""


def begin(protocol: Any, tls: ClientTls, outlet: Outlet, reactor: Any) -> TlsOutlet:
    """Begin the handshake on the connected ``protocol``, whose ``transport`` is exchanged; ``makeConnection`` is called
    once more for that. What it writes later goes to the outlet that is returned."""
    transport = protocol.transport
    nobody: Any = None  # it makes no protocols
    factory = TLSMemoryBIOFactory(tls, True, nobody, reactor)
    layer = TLSMemoryBIOProtocol(factory, protocol)
    layer.makeConnection(Below(transport, outlet))
    transport.protocol = layer
    return TlsOutlet(layer, outlet)


class Below:
    """The transport that the layer has: it writes to the outlet, all else is the true one's."""

    def __init__(self, transport: Any, outlet: Outlet) -> None:
        self._transport = transport
        self.write = outlet.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class TlsOutlet:
    """As ``Outlet``, once the handshake is done."""

    __slots__ = ("_connection", "_layer", "_outlet")

    def __init__(self, layer: Any, outlet: Outlet) -> None:
        self._layer = layer
        self._connection: SSL.Connection = layer.getHandle()
        self._outlet = outlet

    def write(self, data: bytes) -> None:
        """``data``, after all that was written before."""
        connection, many = self._connection, len(data)
        try:
            sent = connection.send(data)
        except SSL.Error:  # the layer meets it again, and knows what to do
            sent = 0
        if sent:
            room = many + many // 64 + ROOM
            encrypted = connection.bio_read(room)
            self._outlet.write(encrypted)
            if len(encrypted) == room:
                self._write_rest(room)
        if sent < many:
            self._layer.write(data[sent:])

    def _write_rest(self, room: int) -> None:
        """What else was to be written, by the layer itself."""
        try:
            while True:
                self._outlet.write(self._connection.bio_read(room))
        except SSL.WantReadError:
            return

    def hold(self) -> None:
        """See ``Outlet``."""
        self._outlet.hold()

    def free(self) -> None:
        """See ``Outlet``."""
        self._outlet.free()
