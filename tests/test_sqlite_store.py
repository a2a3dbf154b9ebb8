"""Bodies in a SQLite file."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailerq.stores.sqlite import SqliteStore
from tests.store_contract import StoreHooks, WholeStoreContract


class SqliteHooks(StoreHooks):
    """Stores on one file."""

    def setUp(self: Any) -> None:
        """A place."""
        self.path = os.path.join(self.mktemp(), "deep", "bodies.db")
        self.stores: list[SqliteStore] = []

    async def tearDown(self: Any) -> None:
        """Stop all."""
        for store in self.stores:
            if store.running:
                await store.stopService()

    def store(self, path: str) -> SqliteStore:
        """One on ``path``."""
        store = SqliteStore(reactor, path, 20.0)
        self.stores.append(store)
        return store

    async def make_store(self) -> SqliteStore:
        """On the place."""
        return self.store(self.path)

    async def again(self, store: Any) -> SqliteStore:
        """On the same."""
        return self.store(self.path)

    async def make_broken(self) -> tuple[SqliteStore, str]:
        """Below a file."""
        os.makedirs(os.path.dirname(self.path))
        file = os.path.join(os.path.dirname(self.path), "file")
        with open(file, "w"):
            pass
        return self.store(os.path.join(file, "below")), "sqlite:"


class Contract(SqliteHooks, WholeStoreContract, TestCase):
    """It keeps what every store promises."""
