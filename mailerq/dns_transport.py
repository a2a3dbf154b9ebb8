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
from twisted.internet.interfaces import IConnector, IReactorTime, IReadDescriptor
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

_MOST_DATAGRAMS = 64
_MOST_BYTES = 2 * 65537


def _late() -> Exception:
    return dns.exception.Timeout(timeout=0)


def _nobody() -> Exception:
    return ConnectionRefusedError("nobody listens there")


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


class NoSocket(Exception):
    """The system has no socket to give now; dnspython tries again a little later, as this is no OSError."""


@implementer(IReadDescriptor)
class Datagrams(_Socket):
    """A UDP socket for one query. (``listenUDP`` would write two lines into the log for each.)"""

    def __init__(self, reactor: Any, family: int, destination: Any, wait: _Wait) -> None:
        super().__init__(family, wait)
        self._reactor = reactor
        self._got: deque[bytes] = deque(maxlen=_MOST_DATAGRAMS)
        self._failed: Exception | None = None
        self._from: Any = destination
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise NoSocket(str(error))
        try:
            self._socket.setblocking(False)
            self._socket.connect(destination)
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        self._from = destination
        return self._socket.send(what)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        if timeout is not None and timeout <= 0:
            raise _late()
        if not self._got and self._failed is None:
            await self._wait.until(timeout)
        if not self._got:
            raise self._failed or _late()
        # Being connected, it gets nothing from elsewhere.
        return self._got.popleft(), self._from

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "dns"

    def doRead(self) -> None:
        try:
            for _ in range(_MOST_DATAGRAMS):
                self._got.append(self._socket.recv(65535))
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            self._failed = _nobody()
        except OSError as error:
            self._failed = error
        if self._got or self._failed is not None:
            self._wait.wake()

    def connectionLost(self, reason: Failure) -> None:
        """How a reactor tells of an error that is pending: the one that is known here is that nobody listens."""
        self._failed = _nobody()
        self._wait.wake()

    async def close(self) -> None:
        self._reactor.removeReader(self)
        self._socket.close()


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
            return Datagrams(self._reactor, af, destination, wait)
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
