"""What the work over one AMQP connection consists of: deliveries in hand, publications on their way, and for whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.interfaces import ITaken, Publication
from mailerq.queues import methods

if TYPE_CHECKING:
    from mailerq.queues.amqp_session import Session

Done = Callable[[bool], None]

log = Logger()


class Owner(Protocol):
    """On whose behalf something is published."""

    left: int
    """How many publications are not confirmed."""

    def over(self) -> None:
        """All are."""

    def unrouted(self) -> bool:
        """There is no such queue, and we may not make it: whether to try again."""


class Batch:
    """Publications that belong to no delivery."""

    __slots__ = ("_done", "_session", "left")

    def __init__(self, session: Session, count: int, done: Done) -> None:
        self._session = session
        self.left = count
        self._done: Done | None = done

    def over(self) -> None:
        """All are confirmed."""
        self._session.batches.discard(self)
        self._end(True)

    def unrouted(self) -> bool:
        """Whoever published is told, and may publish again."""
        self._session.batches.discard(self)
        self._session.under_way -= self._done is not None
        self.lost()
        return False

    def lost(self) -> None:
        """Nobody knows."""
        done, self._done = self._done, None
        if done is not None:
            call(done, False)

    def _end(self, answer: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._session.under_way -= 1
            call(done, answer)


@implementer(ITaken)
class AmqpTaken(msgspec.Struct, eq=False):
    """A delivery."""

    _session: Session
    _tag: int
    redelivered: bool
    _properties: bytes
    body: bytes
    left: int = 0
    settled: bool = False
    stale: bool = False
    _done: Done | None = None

    @property
    def encoding(self) -> str | None:
        """The content encoding."""
        return self.properties().get("content_encoding") if self._properties[0] & 0x40 else None

    def properties(self) -> dict[str, Any]:
        """All properties, decoded now; empty if they cannot be read."""
        try:
            return methods.decode_properties(self._properties)
        except ValueError:
            return {}

    def settle(self, publications: Sequence[Publication], done: Done | None = None) -> None:
        """Publish, await the confirms, acknowledge."""
        if self.settled or self.stale:
            if done is not None:
                self._session.reactor.callLater(0, call, done, False)
            return
        self.settled = True
        self._done = done
        self._session.settle(self, publications)

    def give_back(self) -> None:
        """basic.reject, to be requeued."""
        if not self.settled and not self.stale:
            self.settled = True
            self._session.give_back(self._tag)

    def over(self) -> None:
        """All is confirmed: acknowledge."""
        self._session.acknowledge(self._tag)
        done = self._done
        if done is not None:
            self._done = None
            call(done, True)

    def unrouted(self) -> bool:
        """A job is not lost because a queue is missing: it stays in hand until the queue is there."""
        return True

    def lost(self) -> None:
        """The link has ended before it was over."""
        done, self._done = self._done, None
        if done is not None:
            call(done, False)


def call(done: Done, answer: bool) -> None:
    """Tell ``done``; its errors are its own."""
    try:
        done(answer)
    except Exception:
        log.failure("a callback of the broker failed")


class Entry(msgspec.Struct, eq=False, gc=False):
    """A publication on its way to its confirm. ``content``: its frames behind the method's, once they are written."""

    queue: str
    properties: bytes
    body: bytes
    owner: Owner
    content: Sequence[bytes] | None = None
    tries: int = 0
