"""The embedded queue as a broker: one SQLite file, settled in one transaction, written by one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailerq.interfaces import BrokerRefused, IBroker, ITaken, ITaker, Publication, QueueState
from mailerq.queues import configured
from mailerq.queues.sqlite_clerk import Call, Clerk, Request
from mailerq.queues.sqlite_file import Claimed, QueueFile
from mailerq.queues.sqlite_lock import Group

Done = Callable[[bool], None]
SLICE = 100  # messages given to the taker in one turn of the reactor


@implementer(ITaken)
class SqliteTaken:
    """A message that is claimed in the file."""

    __slots__ = ("_broker", "_era", "_id", "_over", "body", "encoding", "redelivered")

    def __init__(self, broker: SqliteBroker, claimed: Claimed) -> None:
        self._broker = broker
        self._era = broker._era
        self._over = False
        self._id, redelivered, self.encoding, self.body = claimed
        self.redelivered: bool = redelivered == 1

    @property
    def stale(self) -> bool:
        """Whether the file was closed since."""
        return self._era is not self._broker._era

    def settle(self, publications: Sequence[Publication], done: Done | None = None) -> None:
        """Publish and remove in one transaction. Of a second call nothing comes but ``done(False)``."""
        broker = self._broker
        if self._over or self._era is not broker._era:
            broker._refuse(done)
            return
        self._over = True
        broker._ask(Request(self._id, publications, done))

    def give_back(self) -> None:
        """Leave it to the queue, at its old place."""
        if not (self._over or self.stale):
            self._over = True
            self._broker._ask(Request(self._id, None, None))


@implementer(IBroker)
class SqliteBroker(Service):
    """Queues in the file ``settings.broker.path``; ``settings.queues`` names those that are declared at the start.

    Who consumes locks the file, alone or with its ``group`` (other engines are refused). Anything else may read and
    write beside it. ``open_file`` opens the file, in the thread.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Any,
        open_file: Callable[[], QueueFile] | None = None,
        group: Group | None = None,
    ) -> None:
        self.connected: bool = False
        self.transactional: bool = True
        self.early = 0.0
        self._reactor = reactor
        self._path = str(settings.broker.path)
        queues = settings.queues
        self._names = configured(queues)
        self._max_priority: int | None = queues.max_priority
        self._durable: bool = bool(queues.persistent)
        self._open_file = open_file or (lambda: QueueFile(self._path, durable=self._durable))
        self._group = group
        self._clerk: Clerk | None = None
        self._era = object()
        self._refusal: BrokerRefused | None = None
        self._awaiting: list[Deferred[None]] = []
        self._draining: list[Deferred[None]] = []
        self._stopped: Deferred[None] | None = None
        self._consumed: tuple[str, int] | None = None
        self._taker: ITaker | None = None
        self._paused = False
        self._arrived: deque[SqliteTaken] = deque()
        self._giving = False
        self._requests: list[Request] = []
        self._calls: list[tuple[Callable[[Clerk], Any], Deferred[Any]]] = []
        self._handing: Any = None
        self._under_way = 0

    # -- IBroker

    def startService(self) -> None:
        """Open the file, in the thread."""
        Service.startService(self)
        clerk = Clerk(
            self._path,
            self._open_file,
            self,
            seconds=self._reactor.seconds,
            tell=self._reactor.callFromThread,
            queues=self._names,
            max_priority=self._max_priority,
            group=self._group,
        )
        self._clerk, self._refusal, self._stopped = clerk, None, None
        clerk.paused = self._paused
        if self._consumed:
            clerk.consume(*self._consumed)
        clerk.start()
        self._soon()

    def stopService(self) -> Deferred[None]:
        """Write what was asked, give back what is in hand, close."""
        Service.stopService(self)
        if self._clerk is None:
            return succeed(None)
        self._hand_over()
        self._stopped = Deferred()
        self._clerk.stop()
        return self._stopped

    def ready(self) -> Deferred[None]:
        """Fires once the file is open; fails with BrokerRefused where it cannot be."""
        if self._refusal is not None:
            return fail(self._refusal)
        if self.connected:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._awaiting.append(deferred)
        return deferred

    def consume(self, queue: str, taker: ITaker, window: int) -> None:
        """Take from ``queue``, as the only engine of this file, or with others of our group. Where there is a
        stranger, ``ready`` fails; if it has fired already, the taker is told that the broker is lost."""
        self._taker, self._consumed = taker, (queue, window)
        if self._clerk is not None:
            self._clerk.consume(queue, window)

    def consume_beside(self, queues: Sequence[str], window: int) -> None:
        """Nothing: there is one machine."""

    def pause(self) -> None:
        """Give the taker nothing new."""
        self._paused = True
        if self._clerk is not None:
            self._clerk.paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        if self._clerk is not None:
            self._clerk.paused = False
            self._clerk.ask([], [])
        if self._arrived:
            self._reactor.callLater(0, self._give)

    def publish(self, publications: Sequence[Publication], done: Done) -> None:
        """Put messages on queues."""
        self._ask(Request(None, publications, done))

    def get(self, queue: str, count: int) -> Deferred[list[ITaken]]:
        """Up to ``count`` messages that are ready."""
        claimed = self._call(lambda clerk: clerk.get(queue, count))
        return claimed.addCallback(lambda found: [SqliteTaken(self, one) for one in found])

    def states(self, queues: Sequence[str]) -> Deferred[list[QueueState]]:
        """What lies in each of ``queues``."""
        names = list(queues)
        return self._call(lambda clerk: clerk.states(names)).addCallback(
            lambda found: [QueueState(*state) for state in found]
        )

    def drain(self) -> Deferred[None]:
        """Stop taking; fires when all that is under way is written."""
        self.pause()
        deferred: Deferred[None] = Deferred()
        self._draining.append(deferred)
        self._soon()
        return deferred

    # -- to the thread

    def _ask(self, request: Request) -> None:
        self._requests.append(request)
        if self._handing is None:
            self._soon()

    def _refuse(self, done: Done | None) -> None:
        if done is not None:
            self._reactor.callLater(0, done, False)

    def _call(self, run: Callable[[Clerk], Any]) -> Deferred[Any]:
        """Run something in the thread that answers with a value."""
        if self._refusal is not None:
            return fail(self._refusal)
        deferred: Deferred[Any] = Deferred()
        self._calls.append((run, deferred))
        self._soon()
        return deferred

    def _soon(self) -> None:
        if self._handing is None:
            self._handing = self._reactor.callLater(0, self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what this turn has collected."""
        if self._handing is not None and self._handing.active():
            self._handing.cancel()
        self._handing = None
        if self._clerk is None and self._refusal is None and self._stopped is None:
            return  # not started: it is kept
        requests, self._requests = self._requests, []
        calls, self._calls = self._calls, []
        if self._clerk is None:
            for request in requests:
                if request.done is not None:
                    self._done(request.done, False)
            for _, deferred in calls:
                deferred.errback(ConnectionError("the broker is stopped"))
        elif requests or calls:
            self._under_way += len(requests)
            self._clerk.ask(requests, [_in_thread(run, deferred) for run, deferred in calls])
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not (self._under_way or self._requests):
            draining, self._draining = self._draining, []
            for deferred in draining:
                deferred.callback(None)

    def _done(self, done: Done, made: bool) -> None:
        try:
            done(made)
        except Exception:
            self.log.failure("a settlement's callback failed")

    # -- from the thread (Listener)

    def opened(self) -> None:
        """The file can be used."""
        self.connected = True
        awaiting, self._awaiting = self._awaiting, []
        for deferred in awaiting:
            deferred.callback(None)

    def refused(self, why: str) -> None:
        """The file cannot be used, for good."""
        self._refusal = BrokerRefused(why)
        was_connected = self.connected
        self._end()
        awaiting, self._awaiting = self._awaiting, []
        for deferred in awaiting:
            deferred.errback(self._refusal)
        if was_connected:
            self.log.critical("queue {why}", why=why)
            self._tell_lost(why)
        if self._stopped is not None:
            self._stopped.callback(None)

    def told(self, requests: list[Request], claimed: list[Claimed]) -> None:
        """A transaction is over."""
        self._under_way -= len(requests)
        for request in requests:
            if request.done is not None:
                self._done(request.done, request.made)
        if claimed:
            self._arrived.extend([SqliteTaken(self, one) for one in claimed])
            self._give()
        if self._draining:
            self._tell_drained()

    def lost(self, why: str) -> None:
        """The file cannot be used at the moment."""
        self.log.error("queue {why}; trying again", why=why)
        was_connected, self.connected = self.connected, False
        self._era = object()
        self._arrived.clear()
        if was_connected:
            self._tell_lost(why)

    def trouble(self, why: str | None) -> None:
        """Say it once, when it begins and when it ends."""
        if why is None:
            self.log.info("queue {path}: it can be written again", path=self._path)
        else:
            text = "queue {path}: {why}; nothing is taken, results are kept and written as soon as it works again"
            self.log.error(text, path=self._path, why=why)

    def closed(self) -> None:
        """The thread has ended."""
        self._end()
        awaiting, self._awaiting = self._awaiting, []
        for deferred in awaiting:
            deferred.errback(BrokerRefused("the broker was stopped"))
        if self._stopped is not None:
            self._stopped.callback(None)

    def _end(self) -> None:
        self.connected = False
        self._clerk = None
        self._era = object()
        self._arrived.clear()
        self._hand_over()

    def _tell_lost(self, why: str) -> None:
        if self._taker is not None and self.running:
            try:
                self._taker.lost(why)
            except Exception:
                self.log.failure("a taker failed")

    # -- to the taker

    def _give(self) -> None:
        if self._arrived and not self._giving:
            self._giving = True
            self._give_some()

    def _give_some(self) -> None:
        """A slice now, the rest in later turns, so that connections are served between."""
        self._giving = False
        taker = self._taker
        for _ in range(min(SLICE, len(self._arrived))):
            if self._paused or not self.running or taker is None or not self._arrived:
                return
            try:
                taker.taken(self._arrived.popleft())
            except Exception:
                self.log.failure("a taker failed")
        if self._arrived:
            self._giving = True
            self._reactor.callLater(0, self._give_some)


def _in_thread(run: Callable[[Clerk], Any], deferred: Deferred[Any]) -> Call:
    """``run`` for the clerk, whose answer fires ``deferred`` in the reactor's thread."""

    def call(clerk: Clerk) -> Callable[[], None]:
        try:
            found = run(clerk)
        except Exception:
            failure = Failure()
            return lambda: deferred.errback(failure)
        return lambda: deferred.callback(found)

    return call
