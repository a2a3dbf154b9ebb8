"""The consumer of the outbox over AMQP: there is one, or none, and how much it may have us hold.

It is cancelled and made anew where another prefetch is wanted (``prefetch.py``), after a reconnection, and where its
queue was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from mailerq.queues.amqp_link import MAIN, LinkLost
from mailerq.queues.amqp_queues import AmqpQueues
from mailerq.queues.prefetch import Prefetch

if TYPE_CHECKING:
    from mailerq.interfaces import ITaker
    from mailerq.queues.amqp_session import Session
    from mailerq.queues.amqp_taken import AmqpTaken

PAUSE = 5.0  # before a queue that cannot be consumed is tried again
CONSUMER = "mailerq"  # how the tags of consumers begin

log = Logger()


class AmqpConsumer:
    """Takes from a queue for ``taker``, over whatever session there is."""

    def __init__(self, reactor: Any, queues: AmqpQueues) -> None:
        self.paused = False
        self._reactor = reactor
        self._queues = queues
        self._queue = ""
        self._taker: ITaker | None = None
        self._window = 0
        self._session: Session | None = None
        self._prefetch = Prefetch(1)
        self._asked = 0  # the prefetch of the consumer that there is
        self._count = 0  # of consumers
        self._aligning = False
        self._timer: Any = None

    @property
    def tag(self) -> str:
        """The consumer's. Another each time: RabbitMQ 3.10 breaks (541) where one comes again for a quorum queue of
        which messages are in hand."""
        return f"{CONSUMER}-{self._count}"

    def consume(self, queue: str, taker: ITaker, window: int) -> None:
        """From now on, and after each reconnection."""
        self._queue, self._taker, self._window = queue, taker, min(max(window, 1), 65535)
        self._prefetch = Prefetch(self._window)
        self._align()

    def pause(self) -> None:
        """Cancel it. What is still on its way to us goes back."""
        self.paused = True
        if self._session is not None:
            self._session.put_aside()
            self._align()

    def resume(self) -> None:
        """Consume again."""
        self.paused = False
        self._align()

    def stop(self) -> None:
        """Try nothing more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # -- what a session tells

    def begin(self, session: Session) -> None:
        """It can be used."""
        self._session = session
        self._asked = 0
        self._prefetch = Prefetch(max(self._window, 1))
        self._align()

    def end(self, reason: str | None) -> None:
        """It has ended; ``reason`` None: by us."""
        self._session = None
        if reason is not None and self._taker is not None:
            try:
                self._taker.lost(reason)
            except Exception:
                log.failure("the taker failed")

    def taken(self, taken: AmqpTaken) -> None:
        """A delivery."""
        if self._taker is None:
            taken.give_back()
            return
        try:
            self._taker.taken(taken)
        except Exception:
            log.failure("the taker failed; the message comes again after the next reconnection")

    def queue_gone(self) -> None:
        """The broker has ended it, for its queue was deleted: declare and consume again."""
        if self._taker is not None and self._session is not None:
            log.warn("the queue {queue!r} was deleted", queue=self._queue)
            self._asked = 0
            self._session.declared.discard(self._queue)
            self._align()

    def crowded(self) -> None:
        """It is time to look at how much is in hand."""
        session = self._session
        if session is not None and self._prefetch.look(session.last, session.came, session.in_hand, session.size):
            self._align()
        self._tell()

    def emptier(self) -> None:
        """Less is in hand than before."""
        session = self._session
        if session is not None and self._prefetch.emptier(session.last, session.in_hand, session.size):
            self._align()
        self._tell()

    def _tell(self) -> None:
        """When the session has to tell us the next time."""
        if self._session is not None:
            self._session.watch(self._prefetch.look_at, self._prefetch.most, not self._prefetch.asked)

    # -- making it what it is to be

    def _align(self) -> None:
        if self._session is None or self._aligning or self._taker is None:
            return
        self._aligning = True
        Deferred.fromCoroutine(self._aligned(self._session)).addErrback(self._misaligned, self._session)

    async def _aligned(self, session: Session) -> None:
        try:
            while not session.ended:
                wanted = 0 if self.paused else self._prefetch.asked
                if wanted == self._asked:
                    break
                if self._asked:
                    await session.link.channels[MAIN].basic_cancel(consumer_tag=self.tag)
                    self._asked = 0
                if self.paused:
                    session.give_back_aside()
                elif wanted:
                    await self._start(session, wanted)
        finally:
            self._aligning = False
        if session.ended:
            self._align_anew(session)
        elif not self.paused and not session.link.is_blocked and session.aside is not None:
            session.release()

    def _align_anew(self, session: Session) -> None:
        """It ended while we were at it: go on with the next one, if there is one already."""
        if self._session is not session:
            self._align()

    async def _start(self, session: Session, prefetch: int) -> None:
        queue = self._queue
        if queue not in session.declared:
            await self._queues.use(session.link, queue)
            if not await self._queues.exists(session.link, queue):
                raise LinkLost(f"the queue {queue!r} does not exist")
            session.declared.add(queue)
        main = session.link.channels[MAIN]
        await session.consumers.acquire()
        try:
            await main.basic_qos(prefetch_count=prefetch)
            self._count += 1
            self._asked = prefetch  # a basic.cancel may come right behind the answer
            self._tell()
            await main.basic_consume(queue=queue, consumer_tag=self.tag)
        finally:
            session.consumers.release()

    def _misaligned(self, failure: Any, session: Session) -> None:
        """The queue cannot be consumed now: later. (A lost link is told elsewhere.)"""
        if session.link.closed:
            self._align_anew(session)
            return
        log.error(
            "the queue {queue!r} cannot be consumed: {why}; trying on", queue=self._queue, why=reason_of(failure.value)
        )
        if self._timer is None or not self._timer.active():
            self._timer = self._reactor.callLater(PAUSE, self._align)


def reason_of(problem: BaseException) -> str:
    """What to say of it."""
    if isinstance(problem, TimeoutError):
        return "it did not answer in time"
    return str(problem) or type(problem).__name__
