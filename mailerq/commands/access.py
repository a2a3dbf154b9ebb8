"""How the commands get at queues, the same for both kinds of broker.

A command is written once, as a coroutine on ``Access``. Over the embedded queue it never has to wait and is simply run
to its end, without an event loop; over RabbitMQ a reactor runs it (``amqp_access``).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from mailerq.commands import Failed
from mailerq.queues import configured
from mailerq.queues.sqlite_file import Lying, QueueFile, Row, Unusable, row

T = TypeVar("T")


class Held(NamedTuple):
    """A message that was taken (or only looked at); ``token`` is what the access knows it by."""

    body: bytes
    encoding: str | None
    token: Any


class Access(Protocol):
    """Queues, for a command. ``certain``: what ``put`` has failed to publish is not published."""

    certain: bool

    async def put(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Publish; when it returns, the broker has them."""

    async def take(self, queue: str, count: int) -> list[Held]:
        """Up to ``count`` that are ready, in hand then; none if there is none."""

    async def settle(self, taken: Sequence[Held]) -> None:
        """Remove them."""

    async def give_back(self, taken: Sequence[Held]) -> None:
        """Leave them to the queue."""

    def peek(self, queue: str) -> AsyncIterator[Held]:
        """What is ready, without taking it."""

    async def states(self, names: Sequence[str]) -> list[Any]:
        """What lies in those of the queues that exist: name, ready, waiting, in_hand, oldest; None = unknown."""

    async def blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something that may take its time, such as reading standard input."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


def with_access(settings: Any, body: Callable[[Access], Coroutine[Any, Any, T]]) -> T:
    """Run ``body`` on the queues of the configured broker. Raises what it raises, and ``Failed``."""
    if settings.broker.kind != "sqlite":
        from mailerq.commands.amqp_access import with_amqp

        return with_amqp(settings, body)
    try:
        access = FileAccess(settings)
        try:
            body(access).send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            access.close()
    except Unusable as error:
        raise Failed(str(error)) from None
    except sqlite3.Error as error:
        raise Failed(f"{settings.broker.path}: {error}") from None
    raise AssertionError("a command waited where nothing waits")


class FileAccess:
    """The embedded queue, beside an engine that may have it open."""

    certain = True

    def __init__(self, settings: Any) -> None:
        self._file = QueueFile(settings.broker.path, durable=settings.queues.persistent)
        self._max_priority = settings.queues.max_priority
        self._owner = 0
        names = configured(settings.queues)
        if any(self._file.state(name, 0.0) is None for name in names):
            with self._file.transaction():
                self._file.declare(names)

    def close(self) -> None:
        """Give back what is in hand."""
        try:
            if self._owner:
                with self._file.transaction():
                    self._file.dismiss(self._owner)
        finally:
            self._file.close()

    async def put(self, queue: str, bodies: Sequence[bytes]) -> None:
        """One transaction."""
        now = time.time()
        rows: list[Row] = [row(queue, body, now) for body in bodies]
        with self._file.transaction():
            self._file.insert(rows)

    async def take(self, queue: str, count: int) -> list[Held]:
        """Claim, where there is something."""
        now = time.time()
        if not self._owner:
            self._owner = self._file.register()  # and what a killed command held is free again
        if not self._file.has_ready(queue, now):
            return []
        with self._file.transaction():
            self._file.promote(now)
            found = self._file.claim(queue, self._owner, count, 1 << 20)
        return [Held(body, encoding, number) for number, _, encoding, body in found]

    async def settle(self, taken: Sequence[Held]) -> None:
        """Delete."""
        with self._file.transaction():
            self._file.delete([held.token for held in taken], self._owner)

    async def give_back(self, taken: Sequence[Held]) -> None:
        """Free."""
        with self._file.transaction():
            self._file.give_back([held.token for held in taken], self._owner)

    async def peek(self, queue: str) -> AsyncIterator[Held]:
        """Page by page; what is due counts as ready."""
        with self._file.transaction():
            self._file.promote(time.time())
        for number, _, encoding, body in self._file.peek(queue):
            yield Held(body, encoding, number)

    async def states(self, names: Sequence[str]) -> list[Lying]:
        """From the file."""
        now = time.time()
        return [state for name in names if (state := self._file.state(name, now))]

    async def blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """There is nobody who would have to wait."""
        return function(*arguments)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
