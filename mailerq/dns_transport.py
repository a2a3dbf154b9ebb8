"""How dnspython speaks on a Twisted reactor: its backend for sockets and sleep. No threads, no asyncio.

Queries, retries, EDNS, the way to TCP and the check of answers are dnspython's. Each query has a UDP socket of its own,
whose port the system picks; it is connected, so that the kernel drops what comes from elsewhere and says at once when
nobody listens. All waits end at the deadline of the look-up, by the reactor's clock.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, Self

import dns.asyncresolver
import dns.exception
import dns.resolver
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IReactorTime
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

_MOST_DATAGRAMS = 64
_MOST_BYTES = 2 * 65537


def _late() -> Exception:
    return dns.exception.Timeout(timeout=0)


class _Wait:
    """One reader that waits for something to come, until a deadline."""

    def __init__(self, reactor: Any, deadline: float) -> None:
        self._reactor = reactor
        self._deadline = deadline
        self._waiting: Deferred[None] | None = None

    async def until(self, timeout: float | None) -> None:
        """Wait for ``wake``; raises dnspython's Timeout."""
        left = self._deadline - self._reactor.seconds()
        left = left if timeout is None else min(left, timeout)
        if left <= 0:
            raise _late()
        waiting = self._waiting = Deferred()
        call = self._reactor.callLater(left, self._give_up)
        try:
            await waiting
        finally:
            if call.active():
                call.cancel()

    def _give_up(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(_late())

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class _Socket:
    """What dnspython asks of every socket: its family, and to be closed at the end of a ``with``."""

    def __init__(self, family: int, wait: _Wait) -> None:
        self.family = family
        self._wait = wait

    async def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *of: object) -> None:
        await self.close()


class Datagrams(DatagramProtocol, _Socket):
    """A UDP socket for one query."""

    def __init__(self, family: int, wait: _Wait) -> None:
        _Socket.__init__(self, family, wait)
        self._got: deque[tuple[bytes, Any]] = deque(maxlen=_MOST_DATAGRAMS)
        self._refused = False
        # What an IPv6 address has behind host and port; dnspython compares the whole.
        self._scope: tuple[int, ...] = ()
        self.port: Any = None

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        self._scope = tuple(destination[2:])
        self.transport.write(what)  # type: ignore[union-attr,call-arg]
        return len(what)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._got.append((datagram, (*addr[:2], *self._scope)))
        self._wait.wake()

    def connectionRefused(self) -> None:
        self.stopProtocol()

    def stopProtocol(self) -> None:
        """Closed: by us, or (that is how the epoll reactor takes it) because nobody listens."""
        self._refused = True
        self._wait.wake()

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        if timeout is not None and timeout <= 0:
            raise _late()
        if not self._got and not self._refused:
            await self._wait.until(timeout)
        if not self._got:
            raise ConnectionRefusedError("nobody listens there")
        return self._got.popleft()

    async def close(self) -> None:
        closed = self.port.stopListening()
        if closed is not None:
            await closed


class Stream(Protocol, _Socket):
    """A TCP connection for one query."""

    def __init__(self, family: int, wait: _Wait) -> None:
        _Socket.__init__(self, family, wait)
        self._buffer = b""
        self.failed: str | None = None
        self._closed: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self._wait.wake()

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _MOST_BYTES:
            self.transport.abortConnection()  # type: ignore[union-attr]
        self._wait.wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.failed = self.failed or "closed"
        self._wait.wake()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.callback(None)

    async def opened(self, timeout: float | None) -> None:
        """Wait for the connection to be made; raises OSError or Timeout."""
        if self.failed is None and not self.connected:
            await self._wait.until(timeout)
        if self.failed is not None:
            raise OSError(self.failed)

    async def sendall(self, what: bytes, timeout: float | None) -> None:
        if self.failed is not None:
            raise OSError(self.failed)
        self.transport.write(what)  # type: ignore[union-attr]

    async def recv(self, size: int, timeout: float | None) -> bytes:
        if not self._buffer and self.failed is None:
            await self._wait.until(timeout)
        got, self._buffer = self._buffer[:size], self._buffer[size:]
        return got

    async def close(self) -> None:
        if self.connected and self.failed is None:
            self._closed = Deferred()
            self.transport.abortConnection()  # type: ignore[union-attr]
            await self._closed


class _Connecting(ClientFactory):
    noisy = False

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def buildProtocol(self, addr: Any) -> Stream:
        return self._stream

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._stream.failed = reason.getErrorMessage()
        self._stream._wait.wake()


class TwistedBackend:
    """dnspython's view of a reactor, for one query that must be over at ``deadline``."""

    def __init__(self, reactor: Any, deadline: float) -> None:
        self._reactor = reactor
        self._deadline = deadline

    def name(self) -> str:
        return "twisted"

    def datagram_connection_required(self) -> bool:
        """UDP sockets are connected, too."""
        return True

    async def make_socket(  # noqa: PLR0917 (the shape is dnspython's)
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: Any = None,
        destination: Any = None,
        timeout: float | None = None,
        *more: Any,
    ) -> Datagrams | Stream:
        """A socket for one query; TCP is connected. Raises OSError or Timeout. ``source`` is the system's choice."""
        wait = _Wait(self._reactor, self._deadline)
        if socktype == socket.SOCK_DGRAM:
            datagrams = Datagrams(af, wait)
            interface = "::" if af == socket.AF_INET6 else ""
            datagrams.port = self._reactor.listenUDP(0, datagrams, interface=interface, maxPacketSize=65535)
            datagrams.transport.connect(*destination)  # type: ignore[union-attr]
            return datagrams
        stream = Stream(af, wait)
        connector = self._reactor.connectTCP(*destination, _Connecting(stream))
        try:
            await stream.opened(timeout)
        except BaseException:
            connector.disconnect()
            raise
        return stream

    async def sleep(self, interval: float) -> None:
        """Wait, at most until the deadline."""
        done: Deferred[None] = Deferred()
        left = max(0.0, self._deadline - self._reactor.seconds())
        self._reactor.callLater(min(interval, left), done.callback, None)
        await done


class ClockedResolver(dns.asyncresolver.Resolver):
    """dnspython's resolver, on the reactor's clock: ``lifetime`` is not a length but the time when all must be over."""

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(configure=False)
        self._clock = clock

    def _compute_timeout(self, start: float, lifetime: float | None = None, errors: Any = None) -> float:
        left = (lifetime or 0.0) - self._clock.seconds()
        if left <= 0:
            raise dns.resolver.LifetimeTimeout(timeout=0, errors=errors or [])
        return min(left, self.timeout)
