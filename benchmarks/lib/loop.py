"""A reactor in memory for one whole engine: simulated time, connections to played hosts, threads in turn.

Nothing in it depends on the machine: time goes on by a millisecond a turn, each connection gives at most 64 KiB a turn
(what Twisted reads at once), and a thread runs only while all else waits. So two runs do the same, call for call.

``played`` makes the far end of a connection: a host that has ``write`` (a callable to speak by) and ``heard(bytes)``.
``watch`` is entered around all that the engine runs, and left for the played hosts and the loop itself.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver, IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks.lib.turns import TurnThread

TURN = 0.001  # seconds
READ = 65536  # bytes that one turn reads from a connection
START = 1_800_000_000.0


class Played(Protocol):
    """The far end of a connection."""

    write: Callable[[bytes], None]

    def began(self) -> None:
        """It is connected."""

    def heard(self, data: bytes) -> None:
        """The engine has said something."""


class Call:
    """What ``callLater`` gives."""

    __slots__ = ("arguments", "at", "call", "keywords", "live", "loop")

    def __init__(self, loop: Loop, at: float, call: Any, arguments: Any, keywords: Any) -> None:
        self.loop, self.at, self.call, self.arguments, self.keywords = loop, at, call, arguments, keywords
        self.live = True

    def cancel(self) -> None:
        if not self.live:
            raise error.AlreadyCancelled
        self.live = False

    def active(self) -> bool:
        return self.live

    def getTime(self) -> float:
        return self.at

    def reset(self, seconds: float) -> None:
        self.loop.move(self, self.loop.now + seconds)

    def delay(self, seconds: float) -> None:
        self.loop.move(self, self.at + seconds)


@implementer(IReactorTime, IReactorPluggableNameResolver, IHostnameResolver)
class Loop:
    """The reactor. ``turn()`` is one turn of it."""

    def __init__(self, played: Callable[[str, int], Played]) -> None:
        self.now = START
        self.watch: Callable[[], AbstractContextManager[None]] = nullcontext
        self.threads: list[TurnThread] = []
        self.pipes: list[Pipe] = []
        self.nameResolver = self
        self._played = played
        self._calls: list[tuple[float, int, Call]] = []
        self._number = 0
        self._from_threads: deque[tuple[Any, Any, Any]] = deque()

    # -- what Twisted calls

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, callable: Any, *arguments: Any, **keywords: Any) -> Any:
        later = Call(self, self.now + delay, callable, arguments, keywords)
        self._number += 1
        heapq.heappush(self._calls, (later.at, self._number, later))
        return later

    def move(self, call: Call, at: float) -> None:
        call.at = at
        self._number += 1
        heapq.heappush(self._calls, (at, self._number, call))

    def getDelayedCalls(self) -> Any:
        return [call for _, _, call in self._calls if call.live]

    def callFromThread(self, call: Any, *arguments: Any, **keywords: Any) -> None:
        self._from_threads.append((call, arguments, keywords))

    def callWhenRunning(self, call: Any, *arguments: Any) -> None:
        self.callLater(0, call, *arguments)

    def addSystemEventTrigger(self, *arguments: Any) -> None:
        """There is no end of this reactor that anybody is told of."""

    def removeSystemEventTrigger(self, *arguments: Any) -> None:
        """There was none."""

    def stop(self) -> None:
        raise SystemExit("the engine has stopped the reactor")

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        pipe = Pipe(self, host, port, self._played(host, port))
        factory.doStart()
        factory.startedConnecting(pipe)
        self.callLater(0, pipe.connect, factory)
        return pipe

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        resolutionReceiver.resolutionBegan(self)
        resolutionReceiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolutionReceiver

    def installNameResolver(self, resolver: Any) -> Any:
        """It stays the one that there is."""
        return self

    # -- turning

    def turn(self) -> None:
        """Timers, threads, then what every connection has to read."""
        self.now += TURN
        due = []
        while self._calls and self._calls[0][0] <= self.now:
            at, _, call = heapq.heappop(self._calls)
            if call.live and call.at == at:
                due.append(call)
        with self.watch():
            for call in due:
                if call.live:
                    call.live = False
                    call.call(*call.arguments, **call.keywords)
        for thread in self.threads:
            thread.take_turn(self.now)
        while self._from_threads:
            run, arguments, keywords = self._from_threads.popleft()
            with self.watch():
                run(*arguments, **keywords)
        for pipe in list(self.pipes):
            pipe.carry()

    def turn_until(self, over: Callable[[], bool], most: int = 100_000) -> int:
        """Turn until ``over``; how many turns that took. SystemExit where it never comes."""
        for number in range(most):
            if over():
                return number
            self.turn()
        raise SystemExit(f"it was not over after {most} turns: what is played does not fit to the engine")


@implementer(ITransport)
class Pipe:
    """The transport of the engine's side, and the connector."""

    disconnecting = disconnected = False
    connected = True

    def __init__(self, loop: Loop, host: str, port: int, played: Played) -> None:
        self.loop, self.host, self.port, self.played = loop, host, port, played
        self.protocol: Any = None
        self.to_host: list[bytes] = []
        self.to_engine = bytearray()
        played.write = self.to_engine.extend

    def connect(self, factory: Any) -> None:
        """In the turn after ``connectTCP``."""
        self.protocol = factory.buildProtocol(IPv4Address("TCP", self.host, self.port))
        self.loop.pipes.append(self)
        self.protocol.makeConnection(self)
        self.played.began()

    def carry(self) -> None:
        """What the engine wrote to the host, and what the host wrote to the engine, 64 KiB at most."""
        if self.to_host:
            said, self.to_host = b"".join(self.to_host), []
            self.played.heard(said)
        if self.to_engine and not self.disconnected:
            read = bytes(self.to_engine[:READ])
            del self.to_engine[:READ]
            with self.loop.watch():
                self.protocol.dataReceived(read)
        if self.disconnecting and not self.to_host and not self.disconnected:
            self.disconnected, self.connected = True, False
            self.loop.pipes.remove(self)
            with self.loop.watch():
                self.protocol.connectionLost(Failure(error.ConnectionDone()))

    def write(self, data: bytes) -> None:
        self.to_host.append(data)

    def writeSequence(self, pieces: Any) -> None:
        self.to_host.extend(pieces)

    def loseConnection(self, *arguments: Any) -> None:
        self.disconnecting = True

    abortConnection = disconnect = stopConnecting = loseConnection

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """It never has too much to write."""

    def unregisterProducer(self) -> None:
        """It was never told."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nor here."""

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 40000)

    def getPeer(self) -> Any:
        return IPv4Address("TCP", self.host, self.port)

    getDestination = getPeer
