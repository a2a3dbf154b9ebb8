"""The queues on the broker: with which arguments they are declared, and what lies in them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from mailerq.interfaces import QueueState
from mailerq.queues import tables
from mailerq.queues.amqp_link import Link, Refusal
from mailerq.queues.beside import PATIENCE, is_beside
from mailerq.queues.delays import delay_queues

_AT_ONCE = 8  # declarations, each on its channel
_NOT_AS_WISHED = (403, 405, 406)  # access refused, resource locked, precondition failed
_ROLES = ("outbox", "inbox", "results", "success", "failure", "retry", "invalid", "dsn")

log = Logger()


class NotAsWished(Exception):
    """The queue exists with other arguments, is somebody's own, or must not be declared by us."""


class AmqpQueues:
    """Declares the configured queues, those that jobs name, and the delay queues. ``settings.queues`` as it is."""

    def __init__(self, queues: Any) -> None:
        self._queues = queues
        self._delays = delay_queues(queues.outbox)
        self._gate = DeferredSemaphore(_AT_ONCE)

    @property
    def configured(self) -> list[str]:
        """The names that are on, each once."""
        names = (getattr(self._queues, role, None) for role in _ROLES)
        return list(dict.fromkeys(name for name in names if name))

    def arguments(self, name: str) -> dict[str, Any]:
        """The arguments of a queue. A classic queue has none for its type, so that one which another program declared
        the ordinary way is the same."""
        quorum = self._queues.type == "quorum"
        arguments: dict[str, Any] = {"x-queue-type": "quorum"} if quorum else {}
        delay = self._delays.get(name)
        if is_beside(self._queues.outbox, name):
            delay = int(PATIENCE * 1000)
        if delay is not None:
            arguments |= {
                "x-message-ttl": delay,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self._queues.outbox,
            }
            if quorum:  # without these a broker that dies while messages expire may lose some
                arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        if self._queues.max_priority is not None and not quorum and name not in self._delays:
            arguments["x-max-priority"] = self._queues.max_priority
        return arguments

    def declared_by_us(self, name: str) -> bool:
        """With ``declare: false`` only the delay queues, which are ours alone: without them there is no retry."""
        return bool(self._queues.declare) or name in self._delays or is_beside(self._queues.outbox, name)

    async def declare(self, link: Link, name: str) -> None:
        """Declare it on a channel of its own. Raises ValueError for a name that cannot be one, NotAsWished, Refusal
        or LinkLost."""
        if not name:
            raise ValueError("a queue needs a name")
        tables.short_string(name)
        if not self.declared_by_us(name):
            return
        await self._gate.acquire()
        try:
            channel = await link.open_channel()
            durable = bool(self._queues.durable) or self._queues.type == "quorum"
            await channel.queue_declare(queue=name, durable=durable, arguments=self.arguments(name))
            await link.close_channel(channel)
        except Refusal as refusal:
            if refusal.code in _NOT_AS_WISHED:
                raise NotAsWished(refusal.text) from None
            raise
        finally:
            self._gate.release()

    async def use(self, link: Link, name: str) -> None:
        """The same; a queue that is not as wished is used as it is, and that is said."""
        try:
            await self.declare(link, name)
        except NotAsWished as difference:
            log.info("the queue {queue!r} is used as it is: {why}", queue=name, why=str(difference))

    async def exists(self, link: Link, name: str) -> bool:
        """Whether there is a queue of that name."""
        return await self._ready(link, name) is not None

    async def _ready(self, link: Link, name: str) -> int | None:
        """How many messages are ready, None where there is no such queue (or not for us)."""
        channel = await link.open_channel()
        try:
            message = await channel.queue_declare(queue=name, passive=True)
        except Refusal:
            return None
        except ValueError:
            await link.close_channel(channel)
            return None
        await link.close_channel(channel)
        return int(message.message_count)

    async def state(self, link: Link, name: str) -> QueueState | None:
        """What lies in it; for the outbox also what lies in its delay queues. None where there is no such queue."""
        ready = await self._ready(link, name)
        if ready is None:
            return None
        waiting = None
        if name == self._queues.outbox:
            counts = [await self._ready(link, delay) for delay in self._delays]
            waiting = sum(count or 0 for count in counts)
        return QueueState(name, ready, waiting)
