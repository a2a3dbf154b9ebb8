"""Bodies in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from mailerq.queues.sqlite_file import QueueFile
from mailerq.stores.sqlite import SqliteStore
from mailerq.stores.sqlite_bodies import LARGE, Bodies
from tests.store_contract import PathHooks, WholeStoreContract

ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


class SqliteHooks(PathHooks):
    """Stores on one file."""

    word = "sqlite:"
    file_name = "bodies.db"

    def make(self, path: str) -> SqliteStore:
        """One on ``path``."""
        return SqliteStore(reactor, path, 20.0)


class Contract(SqliteHooks, WholeStoreContract, TestCase):
    """It keeps what every store promises."""


class Refused(SqliteHooks, TestCase):
    """Files that cannot be used."""

    async def why(self: Any, call: Any) -> str:
        """What a call that fails says."""
        return str(await self.assertFailure(call, ConnectionError))

    async def test_of_others(self) -> None:
        """The database of another program, the queue's among them, is left alone."""
        os.makedirs(os.path.dirname(self.path))
        QueueFile(self.path).close()
        before = Path(self.path).read_bytes()
        store = await self.started()
        self.assertIn("the database of another program", await self.why(store.put("key", b"body", None)))
        self.assertEqual(Path(self.path).read_bytes(), before)

    async def test_no_database(self) -> None:
        """A file that is none."""
        os.makedirs(os.path.dirname(self.path))
        Path(self.path).write_text("a letter " * 1000)
        store = await self.started()
        self.assertIn("not a database", await self.why(store.get("key")))

    async def test_gone(self) -> None:
        """A file that goes away is down, and not made anew; it may come back."""
        store = await self.started()
        await store.put("key", b"body", None)
        away = os.path.dirname(self.path) + ".away"
        os.rename(os.path.dirname(self.path), away)
        for call in (store.get("key"), store.put("key", b"other", None), store.remove("key"), store.sweep(0.0)):
            self.assertIn("gone, or not mounted", await self.why(call))
        os.rename(away, os.path.dirname(self.path))
        self.assertEqual(await store.get("key"), b"body")

    async def test_replaced(self) -> None:
        """A file that was put in its place is not used: what the log of the first holds would be written to it."""
        store = await self.started()
        await store.put("key", b"body", None)
        os.rename(self.path, self.path + ".away")
        Path(self.path).write_bytes(b"")
        self.assertIn("another file is in its place", await self.why(store.get("key")))
        os.rename(self.path + ".away", self.path)
        self.assertEqual(await store.get("key"), b"body")

    async def test_locked(self) -> None:
        """While another process writes for too long, it is down; nothing is half written."""
        store = SqliteStore(reactor, self.path, 0.4)
        self.stores.append(store)
        store.startService()
        await store.put("key", b"body", None)
        with sqlite3.connect(self.path) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertRegex(await self.why(store.put("key", b"other", None)), "locked|no answer")
            self.assertEqual(await store.get("key"), b"body")
        other.close()
        await store.put("key", b"third", None)
        self.assertEqual(await store.get("key"), b"third")

    async def test_full(self) -> None:
        """If the disk is full, what was there is there, and it works again once there is room."""
        store = await self.started()
        await store.put("key", b"body", None)
        connection = store._bodies._open
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
        for size in (200_000, 2 * LARGE):
            self.assertIn("full", await self.why(store.put("key", b"x" * size, None)))
            self.assertEqual(await store.get("key"), b"body")
        connection.execute("PRAGMA max_page_count = 1000000")
        await store.put("key", b"x" * 200_000, None)


class Together(SqliteHooks, TestCase):
    """What is asked at once is one transaction."""

    async def test_one_transaction(self) -> None:
        """A hundred puts that wait together are few transactions; all is done in the order in which it was asked."""
        store = await self.started()
        await store.put("warm up", b"", None)
        begun: list[str] = []
        store._bodies._open.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None)
        puts = [store.put(f"key-{number}", b"body", None) for number in range(100)]
        got = store.get("key-99")
        await gatherResults(puts)
        self.assertEqual(await got, b"body")
        self.assertLess(len(begun), 10)

    async def test_one_is_wrong(self: Any) -> None:
        """One that cannot be done does not disturb the others that are written with it."""
        store = await self.started()
        first = store.put("first", b"1", None)
        wrong = store.put("wrong", b"2", 10**400)
        last = store.put("last", b"3", None)
        await self.assertFailure(wrong, OverflowError)
        await gatherResults([first, last])
        self.assertEqual([await store.get(key) for key in ("first", "wrong", "last")], [b"1", None, b"3"])

    async def test_processes(self) -> None:
        """Processes that start together on no file all write to one."""
        code = (
            "import sys\nfrom mailerq.stores.sqlite_bodies import Bodies\nsys.stdin.readline()\n"
            "bodies = Bodies(sys.argv[1], 20.0)\nbodies.open()\n"
            "for n in range(50):\n"
            "    with bodies.transaction(True): bodies.put(f'{sys.argv[2]}-{n}', b'body', None)\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", code, self.path, str(n)], stdin=subprocess.PIPE, env=ENVIRON)
            for n in range(4)
        ]
        for process in processes:
            process.communicate(b"\n")
        self.assertEqual([process.returncode for process in processes], [0] * 4)
        store = await self.started()
        self.assertEqual(await gatherResults([store.get(f"{n}-49") for n in range(4)]), [b"body"] * 4)

    async def test_shrinks(self) -> None:
        """What was swept gives its room back."""
        store = await self.started()
        for number in range(5):
            await store.put(f"key-{number}", b"x" * 1_000_000, 1000.0)
        self.assertEqual(await store.sweep(2000.0), 5)
        await store.stopService()
        self.assertLess(os.path.getsize(self.path), 200_000)

    async def test_readable(self) -> None:
        """A person finds bodies by their key."""
        store = await self.started()
        await store.put("may-news", b"body", 1000.5)
        with sqlite3.connect(self.path) as other:
            found = other.execute("SELECT expires, body FROM bodies WHERE key = 'may-news'").fetchall()
        other.close()
        self.assertEqual(found, [(1000.5, b"body")])

    async def test_large_is_whole(self) -> None:
        """A large body of which only a part was written is not there: it is written in a transaction."""
        store = await self.started()
        await store.put("key", b"before", None)

        def half(self: Bodies, key: str, body: bytes, expires: float | None) -> None:
            put(self, key, body, expires)
            raise OSError(5, "Input/output error")

        put = Bodies.put
        self.patch(Bodies, "put", half)
        failed = store.put("key", b"x" * 2 * LARGE, None)
        await self.assertFailure(failed, ConnectionError)
        self.assertEqual(await store.get("key"), b"before")
