"""Bodies in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailerq.stores.memory import MemoryStore
from tests.store_contract import ExpiryContract, StoreContract


class Memory(StoreContract, ExpiryContract, TestCase):
    """It is never down, and ends with the process."""

    big = 1 << 20

    def now(self) -> float:
        """The clock's."""
        return self.clock.seconds()

    async def make_store(self) -> MemoryStore:
        """An empty one."""
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        return MemoryStore(self.clock)

    async def again(self, store: Any) -> MemoryStore:
        """With the same bodies."""
        other = MemoryStore(self.clock)
        other.bodies = store.bodies
        return other
