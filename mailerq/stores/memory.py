"""Bodies in memory: for tests, and to try things out."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailerq.interfaces import IMessageStore


@implementer(IMessageStore)
class MemoryStore(Service):
    """See ``IMessageStore``. ``bodies`` holds, by key, each body and when its time is over."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.bodies: dict[str, tuple[bytes, float | None]] = {}
        self.batch = 1000  # most that one sweep removes

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body."""
        body, expires = self.bodies.get(key, (None, None))
        return succeed(None if expires is not None and expires <= self._clock.seconds() else body)

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        self.bodies[key] = (body, expires)
        return succeed(None)

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        self.bodies.pop(key, None)
        return succeed(None)

    def sweep(self, now: float) -> Deferred[int]:
        """Those whose time is over."""
        over = [key for key, (_, expires) in self.bodies.items() if expires is not None and expires <= now]
        del over[self.batch :]
        for key in over:
            del self.bodies[key]
        return succeed(len(over))
