"""The consumers of the queues beside the outbox, over the channel of the outbox: one for each, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailerq.queues.amqp_consumer import PAUSE, reason_of
from mailerq.queues.amqp_link import MAIN
from mailerq.queues.amqp_queues import AmqpQueues

if TYPE_CHECKING:
    from mailerq.queues.amqp_session import Session

BESIDE = "mailerq-beside"  # how the tags of these consumers begin

log = Logger()


class AmqpBeside:
    """Takes from several queues what the outbox' consumer takes, too, over whatever session there is."""

    def __init__(self, reactor: Any, queues: AmqpQueues) -> None:
        self._reactor = reactor
        self._queues = queues
        self._wanted: tuple[str, ...] = ()
        self._window = 1
        self._paused = False
        self._session: Session | None = None
        self._consumed: dict[str, str] = {}  # the tag of each queue's consumer
        self._count = 0
        self._aligning = False
        self._timer: Any = None

    def consume(self, queues: Sequence[str], window: int) -> None:
        """From these, and no others, from now on; ``window`` is divided among them."""
        self._wanted = tuple(queues)
        self._window = max(1, window // max(1, len(queues)))
        self._align()

    def pause(self) -> None:
        """Take nothing."""
        self._paused = True
        self._align()

    def resume(self) -> None:
        """Take again."""
        self._paused = False
        self._align()

    def begin(self, session: Session) -> None:
        """There is a session."""
        self._session = session
        self._consumed = {}
        self._align()

    def end(self) -> None:
        """There is none."""
        self._session = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def gone(self, tag: str) -> None:
        """The broker has ended a consumer."""
        self._consumed = {queue: one for queue, one in self._consumed.items() if one != tag}
        if self._session is not None and not self._paused:
            self._later()

    def _later(self) -> None:
        if self._timer is None or not self._timer.active():
            self._timer = self._reactor.callLater(PAUSE, self._align)

    def _align(self) -> None:
        if self._session is None or self._aligning or not (self._wanted or self._consumed):
            return
        self._aligning = True
        Deferred.fromCoroutine(self._aligned(self._session)).addErrback(self._misaligned, self._session)

    async def _aligned(self, session: Session) -> None:
        try:
            while not session.ended:
                wanted = () if self._paused else self._wanted
                begin = [queue for queue in wanted if queue not in self._consumed]
                stop = [queue for queue in self._consumed if queue not in wanted]
                if begin:
                    await self._start(session, begin[0])
                elif stop:
                    await session.link.channels[MAIN].basic_cancel(consumer_tag=self._consumed.pop(stop[0]))
                else:
                    break
        finally:
            self._aligning = False
        if session.ended and self._session is not session:
            self._align()
        elif self._paused:
            session.give_back_aside()

    async def _start(self, session: Session, queue: str) -> None:
        await self._queues.use(session.link, queue)
        await session.consumers.acquire()  # a prefetch is for the consumer that is begun next
        try:
            main = session.link.channels[MAIN]
            await main.basic_qos(prefetch_count=min(self._window, 65535))
            self._count += 1  # a tag is used once: RabbitMQ 3.10 mistakes one that comes again
            tag = self._consumed[queue] = f"{BESIDE}-{self._count}"
            await main.basic_consume(queue=queue, consumer_tag=tag)
        finally:
            session.consumers.release()

    def _misaligned(self, failure: Any, session: Session) -> None:
        if session.link.closed:
            if self._session is not session:
                self._align()
            return
        log.error("queues beside the outbox cannot be consumed: {why}; trying on", why=reason_of(failure.value))
        self._later()
