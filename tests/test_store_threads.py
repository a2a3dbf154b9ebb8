"""Blocking work of stores, in threads: bounded in time, and let go when nobody waits."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from mailerq.stores.down import StoreDown
from mailerq.stores.threads import Threads


class Body:
    """Something to be let go."""


class Work(TestCase):
    """Threads that are stopped in the end."""

    def setUp(self) -> None:
        """Nothing hangs yet."""
        self.free = threading.Event()

    async def tearDown(self) -> None:
        """Nothing hangs any more."""
        self.free.set()
        await self.threads.stop()

    def begin(self, timeout: float = 20.0, size: int = 1, **more: Any) -> Threads:
        """Some."""
        self.threads = Threads(reactor, "store:here", timeout, lambda error: None, size=size, **more)
        self.threads.start()
        return self.threads

    async def test_late(self) -> None:
        """What hangs is down after the time-out, and so is all that waits behind it; its bodies are let go."""
        threads = self.begin(0.2)
        body = Body()
        gone = weakref.ref(body)
        hangs = threads.run(self.free.wait)
        waits = threads.run(lambda body: body, body)
        del body
        for call in (hangs, waits):
            error = await self.assertFailure(call, StoreDown)
            self.assertEqual(str(error), "store:here: no answer within 0.2 seconds")
        self.assertIsNone(gone())

    async def test_stop_does_not_hang(self) -> None:
        """A stop waits for the time-out at the longest; threads that hang do not hold the process."""
        threads = self.begin(0.2)
        hangs = threads.run(self.free.wait)
        stopped = threads.stop()
        await self.assertFailure(hangs, StoreDown)
        await stopped
        self.assertTrue(all(one.daemon for one in threading.enumerate() if one.name == "store"))

    async def test_cancelled(self) -> None:
        """What was given up before its turn is not done."""
        threads = self.begin()
        done: list[int] = []
        first = threads.run(self.free.wait)
        second = threads.run(done.append, 2)
        third = threads.run(done.append, 3)
        second.cancel()
        await self.assertFailure(second, CancelledError)
        self.free.set()
        await first
        await third
        self.assertEqual(done, [3])

    async def test_nothing_kept(self) -> None:
        """An answer is not held by the thread that made it."""
        threads = self.begin()
        body = await threads.run(Body)
        gone = weakref.ref(body)
        del body
        await threads.run(int)
        self.assertIsNone(gone())

    async def test_several(self) -> None:
        """There are as many threads as work at once, up to the number allowed."""
        threads = self.begin(size=2)
        both = threading.Barrier(2, timeout=10)
        calls = [threads.run(both.wait) for _ in range(2)]
        for call in calls:
            await call

    async def test_again(self) -> None:
        """After a stop nothing is taken; after another start it is."""
        threads = self.begin()
        await threads.run(int)
        await threads.stop()
        await self.assertFailure(threads.run(int), StoreDown)
        threads.start()
        self.assertEqual(await threads.run(int), 0)
