"""Queues that live in memory, for tests and simulation: every promise of ``IBroker`` but to outlive the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailerq.interfaces import IBroker, ITaken, ITaker, Publication, QueueState

Done = Callable[[bool], None]


class _Message:
    """A publication that lies in a queue, and since when."""

    __slots__ = ("age", "handed", "publication", "since")

    def __init__(self, publication: Publication, age: int, since: float) -> None:
        self.publication = publication
        self.age = age
        self.since = since
        self.handed = False


class _Queue:
    """The messages of one queue, in the order in which they are given out."""

    def __init__(self) -> None:
        self.ready: list[tuple[int, float, int, _Message]] = []
        self.waiting: list[tuple[float, int, _Message]] = []
        self.in_hand: dict[int, _Message] = {}


class MemoryQueues:
    """What a broker keeps: it outlives a ``MemoryBroker``, as a server outlives its clients.

    ``max_priority`` None: priorities are ignored.
    """

    def __init__(self, max_priority: int | None = None) -> None:
        self._queues: dict[str, _Queue] = {}
        self._count = 0
        self._max_priority = max_priority or 0

    def put(self, publication: Publication, now: float) -> None:
        """Put it at the end of its queue, or let it wait until it is due."""
        self._count += 1
        queue = self._queues.setdefault(publication.queue, _Queue())
        due = publication.due
        message = _Message(publication, self._count, now if due is None else max(due, now))
        if message.since > now:
            heappush(queue.waiting, (message.since, message.age, message))
        else:
            self._make_ready(queue, message)

    def _make_ready(self, queue: _Queue, message: _Message) -> None:
        priority = min(max(message.publication.priority or 0, 0), self._max_priority)
        heappush(queue.ready, (-priority, message.since, message.age, message))

    def wake(self, now: float) -> None:
        """Make ready what is due."""
        for queue in self._queues.values():
            while queue.waiting and queue.waiting[0][0] <= now:
                self._make_ready(queue, heappop(queue.waiting)[2])

    def next_due(self) -> float | None:
        """When the next message becomes ready, or None."""
        return min((queue.waiting[0][0] for queue in self._queues.values() if queue.waiting), default=None)

    def take(self, name: str, count: int) -> Iterator[_Message]:
        """Up to ``count`` messages, which are in hand then."""
        queue = self._queues.get(name)
        while queue and queue.ready and count > 0:
            message = heappop(queue.ready)[3]
            queue.in_hand[message.age] = message
            count -= 1
            yield message

    def remove(self, message: _Message) -> None:
        """It is settled."""
        del self._queues[message.publication.queue].in_hand[message.age]

    def give_back(self, message: _Message) -> None:
        """Back to its old place."""
        queue = self._queues[message.publication.queue]
        del queue.in_hand[message.age]
        message.handed = True
        self._make_ready(queue, message)

    def state(self, name: str, now: float) -> QueueState | None:
        """What lies in the queue; None where there is none of that name."""
        queue = self._queues.get(name)
        if queue is None:
            return None
        oldest = min((entry[1] for entry in queue.ready), default=None)
        age = None if oldest is None else max(now - oldest, 0.0)
        return QueueState(name, len(queue.ready), len(queue.waiting), len(queue.in_hand), age)

    def declare(self, name: str) -> None:
        """Let there be a queue of that name."""
        self._queues.setdefault(name, _Queue())


@implementer(ITaken)
class MemoryTaken:
    """A message in hand."""

    __slots__ = ("_broker", "_message", "_over", "body", "encoding", "redelivered", "stale")

    def __init__(self, broker: MemoryBroker, message: _Message) -> None:
        self._broker = broker
        self._message = message
        self._over = False
        self.body: bytes = message.publication.body
        self.encoding: str | None = message.publication.encoding
        self.redelivered: bool = message.handed
        self.stale: bool = False

    def settle(self, publications: Sequence[Publication], done: Done | None = None) -> None:
        """Publish and remove, in the next turn of the reactor."""
        again, self._over = self._over, True
        self._broker._settle(self, publications, done, again)

    def give_back(self) -> None:
        """Leave it to the queue."""
        if not (self._over or self.stale):
            self._over = True
            self._broker._give_back(self)


@implementer(IBroker)
class MemoryBroker(Service):
    """A broker over ``MemoryQueues``. ``lose`` and ``startService`` play a broker that goes and comes back.

    ``clock`` is an IReactorTime; ``settings`` may be None, or have ``queues`` with ``max_priority``.
    """

    def __init__(self, clock: Any, settings: Any = None, queues: MemoryQueues | None = None) -> None:
        self.connected: bool = False
        self.transactional: bool = True
        self.early = 0.0
        self._clock = clock
        self.queues = queues or MemoryQueues(settings.queues.max_priority if settings else None)
        self._waiting_for_ready: list[Deferred[None]] = []
        self._draining: list[Deferred[None]] = []
        self._in_hand: dict[int, MemoryTaken] = {}
        self._under_way: list[tuple[MemoryTaken | None, Sequence[Publication], Done | None, bool]] = []
        self._queue: str | None = None
        self._taker: ITaker | None = None
        self._window = 0
        self._paused = False
        self._turn: Any = None
        self._alarm: Any = None

    def startService(self) -> None:
        """The broker can be used from now on."""
        Service.startService(self)
        self.connected = True
        waiting, self._waiting_for_ready = self._waiting_for_ready, []
        for deferred in waiting:
            deferred.callback(None)
        self._soon()

    def stopService(self) -> Deferred[None]:
        """What is under way is done first; what is in hand goes back."""
        Service.stopService(self)
        self._work()
        for taken in list(self._in_hand.values()):
            taken.give_back()
        self.lose("stopped")
        return succeed(None)

    def lose(self, reason: str) -> None:
        """As if the connection to a broker had broken: what is under way is not done, what is in hand goes back."""
        was_connected, self.connected = self.connected, False
        for call in (self._turn, self._alarm):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._alarm = None
        for taken in self._in_hand.values():
            taken.stale = True
            self.queues.give_back(taken._message)
        self._in_hand = {}
        if was_connected and self._taker is not None and self.running:
            self._taker.lost(reason)
        if self._under_way:
            self._soon()
        self._tell_drained()

    def ready(self) -> Deferred[None]:
        """Fires once the service was started."""
        if self.connected:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._waiting_for_ready.append(deferred)
        return deferred

    def consume(self, queue: str, taker: ITaker, window: int) -> None:
        """Take from ``queue``, at most ``window`` in hand."""
        self._queue, self._taker, self._window = queue, taker, window
        self.queues.declare(queue)
        self._soon()

    def consume_beside(self, queues: Sequence[str], window: int) -> None:
        """Nothing: there is one machine."""

    def pause(self) -> None:
        """Take nothing new."""
        self._paused = True

    def resume(self) -> None:
        """Take again."""
        self._paused = False
        self._soon()

    def publish(self, publications: Sequence[Publication], done: Done) -> None:
        """Put messages on queues in the next turn of the reactor."""
        self._under_way.append((None, publications, done, self.connected))
        self._soon()

    def get(self, queue: str, count: int) -> Deferred[list[ITaken]]:
        """Up to ``count`` messages that are ready."""
        self.queues.wake(self._clock.seconds())
        return succeed([self._take(message) for message in self.queues.take(queue, count)])

    def states(self, queues: Sequence[str]) -> Deferred[list[QueueState]]:
        """What lies in each of ``queues``."""
        now = self._clock.seconds()
        self.queues.wake(now)
        states = [self.queues.state(name, now) for name in queues]
        return succeed([state for state in states if state is not None])

    def drain(self) -> Deferred[None]:
        """Stop taking; fires when nothing is under way."""
        self._paused = True
        deferred: Deferred[None] = Deferred()
        self._draining.append(deferred)
        self._soon()
        return deferred

    def _settle(self, taken: MemoryTaken, publications: Sequence[Publication], done: Done | None, again: bool) -> None:
        self._under_way.append((taken, publications, done, not again and not taken.stale))
        self._soon()

    def _give_back(self, taken: MemoryTaken) -> None:
        del self._in_hand[taken._message.age]
        self.queues.give_back(taken._message)
        self._soon()

    def _take(self, message: _Message) -> MemoryTaken:
        taken = self._in_hand[message.age] = MemoryTaken(self, message)
        return taken

    def _soon(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._work)

    def _work(self) -> None:
        """One turn: do what is under way, tell it, take what there is room for, sleep until the next is due."""
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None
        now = self._clock.seconds()
        under_way, self._under_way = self._under_way, []
        for taken, publications, done, possible in under_way:
            made = possible and self.connected and self._make(taken, publications, now)
            if done is not None:
                done(made)
        self.queues.wake(now)
        self._fill()
        self._tell_drained()
        self._sleep(now)

    def _make(self, taken: MemoryTaken | None, publications: Sequence[Publication], now: float) -> bool:
        if taken is not None:
            if taken.stale:
                return False
            self.queues.remove(taken._message)
            del self._in_hand[taken._message.age]
        for publication in publications:
            self.queues.put(publication, now)
        return True

    def _fill(self) -> None:
        if self._taker is None or self._queue is None:
            return
        while self.running and self.connected and not self._paused and len(self._in_hand) < self._window:
            message = next(self.queues.take(self._queue, 1), None)
            if message is None:
                break
            self._taker.taken(self._take(message))

    def _tell_drained(self) -> None:
        if not self._under_way:
            draining, self._draining = self._draining, []
            for deferred in draining:
                deferred.callback(None)

    def _sleep(self, now: float) -> None:
        alarm = self._alarm
        due = self.queues.next_due() if self.connected else None
        if alarm is not None and alarm.active():
            if due is not None and alarm.getTime() <= due + 1e-6:  # it rings in time, if for nothing
                return
            alarm.cancel()
        self._alarm = None if due is None else self._clock.callLater(max(due - now, 0), self._soon)
