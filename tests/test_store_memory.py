"""How many copies of a large body a store makes on its way in and out."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailerq.stores.address import Store
from mailerq.stores.opening import make_store

SIZE = 50 << 20
MORE = 4 << 20  # beside the copies
NOISE = os.urandom(1 << 20)
"""Compression makes this no smaller: the worst case."""


class Copies(TestCase):
    """Bodies of 50 MB, of which the caller holds one copy."""

    async def copies(self, address: str, compress: str) -> tuple[float, float]:
        """The peak of memory while one is put, and while it is got, in bodies beside the caller's."""
        store: Any = make_store(reactor, Store(address, compress=compress))
        store.startService()
        await store.put("warm up", b"body" * 1000, None)
        await store.get("warm up")
        body = NOISE * (SIZE // len(NOISE))
        tracemalloc.start()
        try:
            await store.put("key", body, None)
            put = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            found = await store.get("key")
            got = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            await store.stopService()
        self.assertTrue(found == body)
        return put / SIZE, got / SIZE

    async def test_directory(self) -> None:
        """A directory takes none to put it, and gives the one that is asked for."""
        put, got = await self.copies(f"directory:{self.mktemp()}", "none")
        self.assertLess(put, MORE / SIZE)
        self.assertLess(got, 1 + MORE / SIZE)

    async def test_sqlite(self) -> None:
        """So does SQLite, as far as Python's memory goes."""
        put, got = await self.copies(f"sqlite:{self.mktemp()}", "none")
        self.assertLess(put, MORE / SIZE)
        self.assertLess(got, 1 + MORE / SIZE)

    async def test_compressed(self) -> None:
        """Compression takes one: of what is compressed."""
        put, got = await self.copies(f"directory:{self.mktemp()}", "gzip")
        self.assertLess(put, 1.2 + MORE / SIZE)
        self.assertLess(got, 2.2 + MORE / SIZE)
