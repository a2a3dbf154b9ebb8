"""Bodies in a directory."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailerq.stores.directory import DirectoryStore
from tests.store_contract import StoreHooks, WholeStoreContract


class DirectoryHooks(StoreHooks):
    """Stores on one directory."""

    def setUp(self: Any) -> None:
        """A place."""
        self.path = os.path.join(self.mktemp(), "deep", "bodies")
        self.stores: list[DirectoryStore] = []

    async def tearDown(self: Any) -> None:
        """Stop all."""
        for store in self.stores:
            if store.running:
                await store.stopService()

    def store(self, path: str) -> DirectoryStore:
        """One on ``path``."""
        store = DirectoryStore(reactor, path, 20.0)
        self.stores.append(store)
        return store

    async def make_store(self) -> DirectoryStore:
        """On the place."""
        return self.store(self.path)

    async def again(self, store: Any) -> DirectoryStore:
        """On the same."""
        return self.store(self.path)

    async def make_broken(self) -> tuple[DirectoryStore, str]:
        """Below a file."""
        os.makedirs(self.path)
        file = os.path.join(self.path, "file")
        with open(file, "w"):
            pass
        return self.store(os.path.join(file, "below")), "directory:"


class Contract(DirectoryHooks, WholeStoreContract, TestCase):
    """It keeps what every store promises."""
