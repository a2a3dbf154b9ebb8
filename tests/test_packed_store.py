"""Bodies that are compressed in their store."""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.content.step import ContentError
from mailerq.stores.packed import MAGIC, PackedStore, pack, unpack
from tests.store_contract import WholeStoreContract
from tests.test_directory_store import DirectoryHooks
from tests.test_sqlite_store import SqliteHooks

TEXT = b"Subject: a message\r\n\r\n" + b"the same line again and again\r\n" * 500


class Packed:
    """Around each store of the hooks; ``compress`` as configured."""

    compress = True

    def packed(self, store: Any) -> PackedStore:
        """One around it."""
        return PackedStore(reactor, store, self.compress, 20.0)

    async def make_store(self: Any) -> PackedStore:
        """Around an empty one."""
        return self.packed(await super().make_store())

    async def again(self: Any, store: Any) -> PackedStore:
        """Around another one on the place."""
        return self.packed(await super().again(store.store))

    async def make_broken(self: Any) -> tuple[PackedStore, str]:
        """Around a broken one."""
        store, name = await super().make_broken()
        return self.packed(store), name


class InDirectory(Packed, DirectoryHooks, WholeStoreContract, TestCase):
    """Compressed in a directory."""


class NotCompressed(Packed, DirectoryHooks, WholeStoreContract, TestCase):
    """Not compressed, but what is can be read."""

    compress = False


class InSqlite(Packed, SqliteHooks, WholeStoreContract, TestCase):
    """Compressed in SQLite."""


class Switched(Packed, DirectoryHooks, TestCase):
    """The setting may change."""

    async def test_smaller(self) -> None:
        """What is put is compressed in the store, if it becomes smaller, and is there after the switch."""
        store = await self.make_store()
        store.startService()
        noise = os.urandom(2000)
        await store.put("text", TEXT, None)
        await store.put("short", b"short", None)
        await store.put("noise", noise, None)
        found = [await store.store.get(key) for key in ("text", "short", "noise")]
        self.assertTrue(found[0].startswith(MAGIC))
        self.assertEqual(gzip.decompress(found[0]), TEXT)
        self.assertEqual(found[1:], [b"short", noise])
        self.compress = False
        other = await self.again(store)
        other.startService()
        self.assertEqual([await other.get(key) for key in ("text", "short", "noise")], [TEXT, b"short", noise])
        await other.put("text", TEXT, None)
        self.assertEqual(await store.store.get("text"), TEXT)
        self.assertEqual(await store.get("text"), TEXT)

    async def test_of_others(self) -> None:
        """What another program has put there with gzip is read."""
        store = await self.make_store()
        store.startService()
        await store.store.put("theirs", gzip.compress(TEXT), None)
        self.assertEqual(await store.get("theirs"), TEXT)

    async def test_bomb(self) -> None:
        """What becomes too large is a ContentError that names the key property."""
        store = PackedStore(reactor, await super(Packed, self).make_store(), True, 20.0, most=1 << 20)
        store.startService()
        await store.store.put("bomb", gzip.compress(bytes((1 << 20) + 1)), None)
        error = await self.assertFailure(store.get("bomb"), ContentError)
        self.assertEqual(error.what, "key: the body in the store is too large: over 1048576 bytes once it is unpacked")


class Pack(SynchronousTestCase):
    """The format."""

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=3000), st.booleans())
    def test_any(self, body: bytes, marked: bool) -> None:
        """Any body comes back."""
        body = MAGIC + body if marked else body
        packed = pack(body)
        self.assertEqual(unpack(packed) if packed.startswith(MAGIC) else packed, body)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
    def test_hostile(self, more: bytes, at: int, byte: int) -> None:
        """Whatever looks packed is unpacked, or is a ContentError."""
        whole = bytearray(gzip.compress(TEXT) + more)
        whole[min(at, len(whole) - 1)] = byte
        for body in (bytes(whole), MAGIC + more, bytes(whole)[:at]):
            if body.startswith(MAGIC):
                try:
                    self.assertIs(type(unpack(body, 1 << 20)), bytes)
                except ContentError as error:
                    self.assertTrue(error.what.startswith("key: "))

    def test_members(self) -> None:
        """Several members are one body; zeros may follow, other bytes may not."""
        both = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more")
        self.assertEqual(unpack(both), TEXT + b"more")
        self.assertEqual(unpack(both + bytes(7)), TEXT + b"more")
        self.assertRaises(ContentError, unpack, both + b"x")

    def test_cut(self) -> None:
        """What is cut off anywhere is damaged."""
        packed = gzip.compress(TEXT)
        for length in range(len(MAGIC), len(packed)):
            self.assertRaises(ContentError, unpack, packed[:length])

    def test_exactly(self) -> None:
        """The bound itself is not over it; sizes of whole pieces are no trap."""
        for size in (0, 1 << 18, (1 << 18) * 4, (1 << 18) + 1):
            self.assertEqual(unpack(gzip.compress(bytes(size)), size or 1), bytes(size))
            self.assertRaises(ContentError, unpack, gzip.compress(bytes(size + 1)), size)

    def test_memory(self) -> None:
        """A bomb of 1 GB takes a little more than the bound."""
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(1024)), packer.flush()])
        tracemalloc.start()
        try:
            self.assertRaises(ContentError, unpack, bomb, 8 << 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 20 << 20)
