"""What every message store promises (``IMessageStore``), written once; a backend's own test file makes the stores.

class Contract(MyHooks, StoreContract, TestCase): ...
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from mailerq.interfaces import IMessageStore

ODD_KEYS = (
    "a",
    "A",  # two keys, whatever the file system or collation makes of it
    " a",
    "a ",
    ".",
    "..",
    "../../../etc/passwd",
    "/absolute/path",
    "a/b",
    "a//b",
    "a\\b",
    "nul\0inside",
    "line\nbreak\r\n",
    "%s%d %00 ' \" ; DROP TABLE bodies --",
    "$where",
    "*?[a-z]",
    "ä",
    "a\u0308",  # is not the same key as the one above
    "日本語/📮",
    "\U0010ffff\ufffe",
    "x" * 2000,
    "x" * 1999 + "y",
    "é" * 2000,
)
BODIES = (
    b"",
    b"\0",
    bytes(range(256)) * 3,
    b"\xff\xfe\r\n\n\r",
    b"\x1f\x8b\x08 looks like gzip",
    b'{"subject": "a description"}',
    b"x" * 100_001,
)
PASSWORD = "hush-hush"
"""What the hooks use as the password of a store that has one; no error may show it."""
BIG = 50 << 20


class StoreHooks:
    """What a backend gives, and what its tests use. A mixin of ``twisted.trial.unittest.TestCase``.

    ``tearDown`` has to stop what ``make_store``, ``again`` and ``make_broken`` have made.
    """

    big = BIG
    """Bytes of the largest body that is tried."""

    async def make_store(self) -> Any:
        """A store on an empty place, not started."""
        raise NotImplementedError

    async def again(self, store: Any) -> Any:
        """Another store, not started, on the same place as ``store`` (which may be running still, as in another
        process, or be stopped)."""
        raise NotImplementedError

    async def make_broken(self) -> tuple[Any, str]:
        """A store that cannot be reached or used, not started; and the word by which its errors name it."""
        raise NotImplementedError

    def now(self) -> float:
        """The store's time, epoch seconds."""
        return time.time()

    async def started(self) -> Any:
        """A store that can be used."""
        store = await self.make_store()
        await self.start(store)
        return store

    async def start(self, store: Any) -> None:
        """Start it."""
        store.startService()

    async def stop(self, store: Any) -> None:
        """Stop it and wait for it."""
        stopped = store.stopService()
        if stopped is not None:
            await stopped


class PathHooks(StoreHooks):
    """Stores in the file system: ``make(path)`` makes one, and ``word`` is what errors call it by."""

    word = ""
    file_name = "bodies"

    def make(self, path: str) -> Any:
        """A store on ``path``."""
        raise NotImplementedError

    def setUp(self: Any) -> None:
        """A place."""
        self.path = os.path.join(self.mktemp(), "deep", self.file_name)
        self.stores: list[Any] = []

    async def tearDown(self: Any) -> None:
        """Stop all."""
        for store in self.stores:
            if store.running:
                await store.stopService()

    def store(self: Any, path: str) -> Any:
        """One on ``path``."""
        store = self.make(path)
        self.stores.append(store)
        return store

    async def make_store(self: Any) -> Any:
        """On the place."""
        return self.store(self.path)

    async def again(self: Any, store: Any) -> Any:
        """On the same."""
        return self.store(self.path)

    async def make_broken(self: Any) -> tuple[Any, str]:
        """Below a file."""
        file = os.path.join(os.path.dirname(self.path), "file")
        os.makedirs(os.path.dirname(file))
        with open(file, "wb"):
            pass
        return self.store(os.path.join(file, "below")), self.word


class StoreContract(StoreHooks):
    """The promises of ``IMessageStore``."""

    async def test_interface(self: Any) -> None:
        """It has all that the interface names."""
        store = await self.started()
        verifyObject(IMessageStore, store)

    async def test_get(self: Any) -> None:
        """What was put is there, under its key only."""
        store = await self.started()
        self.assertIsNone(await store.put("one", b"first", None))
        await store.put("two", b"second", None)
        self.assertEqual([await store.get("one"), await store.get("two")], [b"first", b"second"])

    async def test_missing(self: Any) -> None:
        """What is not there is None."""
        store = await self.started()
        self.assertIsNone(await store.get("nothing"))

    async def test_exact(self: Any) -> None:
        """A body comes back byte for byte, as bytes, the empty one included."""
        store = await self.started()
        for number, body in enumerate(BODIES):
            await store.put(f"body-{number}", body, None)
        for number, body in enumerate(BODIES):
            found = await store.get(f"body-{number}")
            self.assertIs(type(found), bytes)
            self.assertEqual(found, body)

    async def test_keys(self: Any) -> None:
        """Any text is a key, and every key is one of its own."""
        store = await self.started()
        for number, key in enumerate(ODD_KEYS):
            await store.put(key, b"%d" % number, None)
        for number, key in enumerate(ODD_KEYS):
            self.assertEqual(await store.get(key), b"%d" % number, ascii(key[:50]))
        for key in ODD_KEYS[::2]:
            await store.remove(key)
        left = [key for key in ODD_KEYS if await store.get(key) is not None]
        self.assertEqual(left, list(ODD_KEYS[1::2]))

    async def test_overwrite(self: Any) -> None:
        """The last body holds, be it shorter or longer."""
        store = await self.started()
        for body in (b"first", b"a longer one", b"", b"last"):
            await store.put("key", body, None)
            self.assertEqual(await store.get("key"), body)

    async def test_remove(self: Any) -> None:
        """What was removed is gone; to remove it again is fine, and so is to put it again."""
        store = await self.started()
        await store.put("key", b"body", None)
        await store.put("other", b"other", None)
        self.assertIsNone(await store.remove("key"))
        self.assertIsNone(await store.get("key"))
        self.assertIsNone(await store.remove("key"))
        self.assertEqual(await store.get("other"), b"other")
        await store.put("key", b"again", None)
        self.assertEqual(await store.get("key"), b"again")

    async def test_reopen(self: Any) -> None:
        """A store that was stopped and made anew has what was put."""
        store = await self.started()
        await store.put("key", b"body", self.now() + 1000)
        await self.stop(store)
        other = await self.again(store)
        await self.start(other)
        self.assertEqual(await other.get("key"), b"body")

    async def test_two(self: Any) -> None:
        """Two on one place, as in two processes, see what the other does."""
        store = await self.started()
        other = await self.again(store)
        await self.start(other)
        await store.put("key", b"first", None)
        self.assertEqual(await other.get("key"), b"first")
        await other.put("key", b"second", None)
        self.assertEqual(await store.get("key"), b"second")
        await other.remove("key")
        self.assertIsNone(await store.get("key"))

    async def test_parallel(self: Any) -> None:
        """Many at once, on two stores on one place, do not disturb each other."""
        store = await self.started()
        other = await self.again(store)
        await self.start(other)
        names = [f"key-{number}" for number in range(60)]
        await gatherResults(
            [(store, other)[number % 2].put(key, key.encode() * 50, None) for number, key in enumerate(names)]
        )
        found = await gatherResults([(other, store)[number % 2].get(key) for number, key in enumerate(names)])
        self.assertEqual(found, [key.encode() * 50 for key in names])

    async def test_same_key_at_once(self: Any) -> None:
        """Of bodies that are put under one key at once, one whole body is there."""
        store = await self.started()
        other = await self.again(store)
        await self.start(other)
        bodies = [b"%d" % digit * 5000 for digit in range(10)]
        await gatherResults([(store, other)[n % 2].put("key", body, None) for n, body in enumerate(bodies)])
        self.assertIn(await store.get("key"), bodies)

    async def test_big(self: Any) -> None:
        """A large body comes back as it was."""
        store = await self.started()
        block = hashlib.sha512(b"block").digest() * 16  # 1 KB
        body = block * (self.big // len(block))
        await store.put("big", body, None)
        found = await store.get("big")
        self.assertTrue(found == body, "the body is another one")


class ExpiryContract(StoreHooks):
    """The promises of ``IMessageStore`` about time."""

    async def test_hidden(self: Any) -> None:
        """A body whose time is over is not there, swept or not."""
        store = await self.started()
        await store.put("over", b"body", self.now() - 1)
        await store.put("not yet", b"body", self.now() + 1000)
        await store.put("never", b"body", None)
        self.assertEqual([await store.get(key) for key in ("over", "not yet", "never")], [None, b"body", b"body"])

    async def test_swept(self: Any) -> None:
        """``sweep`` removes those whose time is over, says how many, and leaves the others."""
        store = await self.started()
        await store.put("first", b"1", self.now() + 500)
        await store.put("second", b"2", self.now() + 600)
        await store.put("later", b"3", self.now() + 5000)
        await store.put("never", b"4", None)
        self.assertEqual(await store.sweep(self.now()), 0)
        self.assertEqual(await store.sweep(self.now() + 1000), 2)
        self.assertEqual(await store.sweep(self.now() + 1000), 0)
        found = [await store.get(key) for key in ("first", "second", "later", "never")]
        self.assertEqual(found, [None, None, b"3", b"4"])

    async def test_bounded(self: Any) -> None:
        """One sweep removes at most ``batch`` bodies; the next ones remove the rest."""
        store = await self.started()
        store.batch = 3
        await gatherResults([store.put(f"key-{number}", b"body", self.now() - 1) for number in range(8)])
        self.assertEqual([await store.sweep(self.now()) for _ in range(4)], [3, 3, 2, 0])

    async def test_prolonged(self: Any) -> None:
        """What was put again has the time of the last put, be it longer, shorter or without end."""
        store = await self.started()
        for key, times in (
            ("longer", (-1, 1000)),
            ("shorter", (1000, -1)),
            ("endless", (-1, None)),
            ("end", (None, -1)),
        ):
            for seconds in times:
                await store.put(key, b"body", None if seconds is None else self.now() + seconds)
        found = [await store.get(key) for key in ("longer", "shorter", "endless", "end")]
        self.assertEqual(found, [b"body", None, b"body", None])
        self.assertEqual(await store.sweep(self.now()), 2)
        self.assertEqual(await store.get("longer"), b"body")

    async def test_removed_before(self: Any) -> None:
        """What was removed is not swept, and what was swept can be removed and put again."""
        store = await self.started()
        await store.put("removed", b"body", self.now() - 1)
        await store.put("swept", b"body", self.now() - 1)
        await store.remove("removed")
        self.assertEqual(await store.sweep(self.now()), 1)
        await store.remove("swept")
        await store.put("swept", b"again", self.now() + 1000)
        self.assertEqual(await store.get("swept"), b"again")

    async def test_far(self: Any) -> None:
        """Times far away are times, too."""
        store = await self.started()
        await store.put("past", b"body", 0.0)
        await store.put("fraction", b"body", self.now() + 1000.123456)
        await store.put("future", b"body", 2.0**33)
        self.assertEqual([await store.get(key) for key in ("past", "fraction", "future")], [None, b"body", b"body"])
        self.assertEqual(await store.sweep(self.now()), 1)


class DownContract(StoreHooks):
    """What a store that cannot be used says."""

    async def test_down(self: Any) -> None:
        """Each Deferred fails with ConnectionError, whose text names the store and no password."""
        store, name = await self.make_broken()
        await self.start(store)
        calls = [store.get("key"), store.put("key", b"body", None), store.remove("key"), store.sweep(self.now())]
        for call in calls:
            error = await self.assertFailure(call, ConnectionError)
            self.assertIn(name, str(error))
            self.assertNotIn(PASSWORD, f"{error!s} {error!r} {store!r}")
        await self.stop(store)

    async def test_stopped(self: Any) -> None:
        """So it is with a store that was stopped, or never started."""
        store = await self.make_store()
        await self.assertFailure(store.get("key"), ConnectionError)
        await self.start(store)
        await store.put("key", b"body", None)
        await self.stop(store)
        await self.assertFailure(store.get("key"), ConnectionError)
        await self.assertFailure(store.put("key", b"body", None), ConnectionError)

    async def test_stop_waits(self: Any) -> None:
        """What was asked before the stop is done, or fails with ConnectionError; nothing stays open."""
        store = await self.started()
        calls = [store.put(f"key-{number}", b"body", None).addErrback(_down) for number in range(20)]
        await self.stop(store)
        await gatherResults(calls)

    async def test_repr(self: Any) -> None:
        """What is shown of a store has no password."""
        store = await self.make_store()
        self.assertNotIn(PASSWORD, repr(store))


class WholeStoreContract(StoreContract, ExpiryContract, DownContract):
    """All of it: what a backend's test case mixes in."""


def _down(failure: Any) -> None:
    failure.trap(ConnectionError)
