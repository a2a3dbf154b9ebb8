"""Bytes to a connection, handed to the system at once.

A transport of Twisted's keeps what is written until the reactor finds that the socket takes more, which it nearly
always does: two changes of what is polled for, and an event, for each write. So the socket is tried first. What it
does not take goes to the transport, and so does all that follows, until the transport says that it has nothing left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer


def outlet(transport: Any) -> Outlet | None:
    """An outlet for a connected TCP transport that nothing was written to yet; None where it has no socket
    (``ISystemHandle``)."""
    handle = getattr(transport, "getHandle", None)
    return None if handle is None else Outlet(transport, handle().send)


@implementer(IPullProducer)
class Outlet:
    """Writes in order, partly around the transport. Who writes to that itself, or registers a producer there, says
    ``hold`` before and ``free`` after."""

    __slots__ = ("_behind", "_send", "_transport")

    def __init__(self, transport: Any, send: Callable[[bytes], int]) -> None:
        self._transport = transport
        self._send = send
        self._behind = False

    def write(self, data: bytes) -> None:
        """``data``, after all that was written before."""
        if self._behind:
            self._transport.write(data)
            return
        try:
            sent = self._send(data)
        except OSError:  # it takes nothing now; or it is lost, which the reactor finds out and tells
            sent = 0
        if sent < len(data):
            self.free()
            self._transport.write(data[sent:] if sent else data)

    def hold(self) -> None:
        """Nothing is written around the transport until ``free``."""
        if self._behind:
            self._transport.unregisterProducer()
        self._behind = True

    def free(self) -> None:
        """Nothing is written around the transport until all is gone that it has: it asks for more then."""
        self._behind = False  # it asks while it is told of us, too
        self._transport.registerProducer(self, False)
        self._behind = True

    def resumeProducing(self) -> None:
        """The transport has nothing left."""
        if self._behind:
            self._transport.unregisterProducer()
            self._behind = False

    def stopProducing(self) -> None:
        """The connection is lost."""
