"""Bodies in a directory."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.content.step import ContentError
from mailerq.stores import directory_files
from mailerq.stores.directory import DirectoryStore
from mailerq.stores.directory_files import LEFTOVER, MARK, Files, Gone
from tests.store_contract import PathHooks, WholeStoreContract

JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none()))
NAN = b'{"key": "key", "size": 1, "expires": NaN}\nx'
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


class DirectoryHooks(PathHooks):
    """Stores on one directory."""

    word = "directory:"

    def make(self, path: str) -> DirectoryStore:
        """One on ``path``."""
        return DirectoryStore(reactor, path, 20.0)


class Contract(DirectoryHooks, WholeStoreContract, TestCase):
    """It keeps what every store promises."""


class Place(SynchronousTestCase):
    """The files, without threads."""

    def setUp(self) -> None:
        """An empty directory."""
        self.path = self.mktemp()
        self.files = self.opened()

    def opened(self) -> Files:
        """Another view of the place."""
        files = Files(self.path)
        files.prepare()
        return files

    def put(self, key: str, body: bytes = b"body", expires: float | None = None) -> Path:
        """Keep a body; its file."""
        self.files.put(key, body, expires, f"test-{random.random()}")
        return Path(self.files.place(key))

    def names(self) -> list[str]:
        """All files but the mark."""
        return sorted(path.name for path in Path(self.path).rglob("*") if path.is_file() and path.name != MARK)


class Layout(Place):
    """What a person finds."""

    def test_file(self) -> None:
        """A body's file is named by the SHA-256 of its key; its first line says all about it, the body follows."""
        digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of "key"
        file = self.put("key", b"body\n", 1_800_000_000.5)
        self.assertEqual(file, Path(self.path).absolute() / "2c7" / digest)
        head, _, body = file.read_bytes().partition(b"\n")
        about = {"key": "key", "size": 5, "expires": 1_800_000_000.5, "until": "2027-01-15 08:00:00"}
        self.assertEqual((json.loads(head), body), (about, b"body\n"))
        self.assertEqual(file.stat().st_mtime, 1_800_000_000.5)

    def test_long_key(self) -> None:
        """A key that is longer than what is read at once."""
        key = "ä\0" * 100_000
        self.put(key)
        self.assertEqual(self.files.get(key, 0.0), b"body")

    def test_no_store(self) -> None:
        """A directory in which other things are is not made a store."""
        path = Path(self.mktemp())
        path.mkdir()
        (path / "thesis.tex").touch()
        self.assertRaises(Gone, Files(str(path)).prepare)
        self.assertEqual(os.listdir(path), ["thesis.tex"])

    def test_gone(self) -> None:
        """A store that goes away is down: neither is anything missing, nor is a new one made."""
        self.put("key")
        os.rename(self.path, self.path + ".away")
        for _ in range(2):
            self.assertRaises(Gone, self.files.get, "key", 0.0)
            self.assertRaises(Gone, self.put, "key")
            self.assertRaises(Gone, self.files.remove, "key")
            self.assertRaises(Gone, self.files.sweep, 0.0, 10, 10)
            os.makedirs(self.path, exist_ok=True)  # the place where it was mounted
        os.rmdir(self.path)
        os.rename(self.path + ".away", self.path)
        self.assertEqual(self.files.get("key", 0.0), b"body")

    def test_root(self) -> None:
        """What root puts belongs to the user whose store it is."""
        if os.geteuid():
            return
        os.chown(self.path, 12345, 12346)
        file = Path(self.opened().place("key"))
        self.files = self.opened()
        self.put("key")
        for path in (file, file.parent):
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (12345, 12346))


class Whole(Place):
    """A whole body, or none."""

    def test_disk_full(self) -> None:
        """If the disk is full in the middle, nothing half written is left, and the body before is there."""
        self.put("key", b"before")
        write = os.write

        def full(file: int, part: Any) -> int:
            if len(part) > 1000:
                return write(file, part[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(directory_files.os, "write", full)
        error = self.assertRaises(OSError, self.put, "key", b"x" * 1500)
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertRaises(OSError, self.put, "other", b"x" * 1500)
        self.assertEqual(self.names(), [Path(self.files.place("key")).name])
        self.assertEqual(self.files.get("key", 0.0), b"before")

    def test_part_of_it_written(self) -> None:
        """A write that takes only a part is followed by others."""
        write = os.write
        self.patch(directory_files.os, "write", lambda file, part: write(file, part[:7]))
        self.put("key", b"0123456789" * 10)
        self.assertEqual(self.files.get("key", 0.0), b"0123456789" * 10)

    def test_on_the_disk_first(self) -> None:
        """The body is on the disk before its name is, and the name when it is done."""
        calls: list[str] = []
        fsync, rename = os.fsync, os.rename
        self.put("warm up")  # makes a directory

        def synced(file: int) -> None:
            calls.append("directory" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
            fsync(file)

        def renamed(old: str, new: str) -> None:
            calls.append("rename")
            rename(old, new)

        self.patch(directory_files.os, "fsync", synced)
        self.patch(directory_files.os, "rename", renamed)
        self.put("warm up", b"again")
        self.assertEqual(calls, ["file", "rename", "directory"])

    def test_killed(self) -> None:
        """A process that is killed while it writes leaves whole bodies, and files that are cleaned up."""
        code = (
            "import sys\nfrom mailerq.stores.directory_files import Files\n"
            "files = Files(sys.argv[1])\nprint(flush=True)\n"
            "for n in range(10**9): files.put(f'key-{n % 7}', b'%d' % (n % 10) * 300_000, None, str(n))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, self.path], stdout=subprocess.PIPE, env=ENVIRON)
        assert process.stdout is not None
        process.stdout.readline()
        end = time.monotonic() + 30
        while not self.names() and time.monotonic() < end:
            pass
        process.kill()
        process.wait()
        process.stdout.close()
        for number in range(7):
            body = self.files.get(f"key-{number}", 0.0)
            if body is not None:
                self.assertEqual((len(body), len(set(body))), (300_000, 1))

    def test_leftovers(self) -> None:
        """What was never finished is removed after a while, and not before."""
        file = self.put("key")
        young, old = (file.with_name(f".{name}.1-2") for name in ("young", "old"))
        young.touch()
        old.touch()
        self.patch(directory_files, "LEFTOVER", -1.0)
        self.files.sweep(0.0, 10, 10)
        self.assertEqual(self.names(), [file.name])
        self.patch(directory_files, "LEFTOVER", LEFTOVER)
        young.touch()
        self.files.sweep(time.time() + 10 * LEFTOVER, 10, 10)
        self.assertTrue(young.exists())

    def test_damaged(self) -> None:
        """A body that is not as long as it should be, or without a first line of ours, is a ContentError."""
        file = self.put("key", b"body" * 50_000)
        whole = file.read_bytes()
        for wrong in (
            whole[:-1],
            whole + b"x",
            whole[:1000],
            whole[:10],
            b"",
            b"x" * 200_000,
            b"[]\n",
            b"[" * 70_000,
            NAN,
        ):
            file.write_bytes(wrong)
            self.assertRaises(ContentError, self.files.get, "key", 0.0)
        file.write_bytes(whole)
        self.assertEqual(self.files.get("key", 0.0), b"body" * 50_000)

    @given(
        st.one_of(
            st.binary(max_size=200),
            st.fixed_dictionaries(
                {"key": st.one_of(st.just("key"), st.integers(), st.none()), "size": JSON},
                optional={"expires": JSON},
            ).map(lambda about: json.dumps(about).encode() + b"\nbody"),
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_anything(self, content: bytes) -> None:
        """Whatever stands in a file, there is a body, none, or a ContentError."""
        file = self.put("key")
        file.write_bytes(content)
        try:
            self.assertIsInstance(self.files.get("key", 1000.0), bytes | None)
        except ContentError as error:
            self.assertTrue(error.what.startswith("key: the body in the store is damaged"))
        self.assertIn(self.files.sweep(2.0**40, 10, 100), (0, 1))
        self.files.remove("key")


class Sweep(Place):
    """Removing what is over."""

    def test_copy(self) -> None:
        """In a copy, whose files have other times, what is in the first line holds."""
        late, never, over = self.put("late", expires=5000.0), self.put("never"), self.put("over", expires=100.0)
        for file in (late, never, over):
            os.utime(file, (50.0, 50.0))
        self.assertEqual(self.files.sweep(1000.0, 10, 100), 1)
        self.assertEqual(self.names(), sorted([late.name, never.name]))
        self.assertEqual(late.stat().st_mtime, 5000.0)
        self.assertEqual(self.files.sweep(6000.0, 10, 100), 1)

    def test_parts(self) -> None:
        """Of many files each sweep looks at some; after a few sweeps at all, and so again."""
        for round in range(2):
            for number in range(40):
                self.put(f"key-{number}", expires=100.0 if number % 2 else 5000.0)
            counts = [self.files.sweep(1000.0, 1000, 7) for _ in range(20)]
            self.assertEqual(sum(counts), 20, round)
            self.assertLess(max(counts), 12)

    def test_prolonged_meanwhile(self) -> None:
        """A body that is put again while its old one is being swept is there afterwards."""
        files = self.opened()
        ends = threading.Event()
        swept: list[int] = []

        def sweep() -> None:
            while not ends.is_set():
                swept.append(files.sweep(1000.0, 1000, 1000))

        thread = threading.Thread(target=sweep)
        thread.start()
        try:
            for number in range(300):
                self.put("key", b"over", 100.0)
                self.put("key", b"%d" % number, 5000.0)
                self.assertEqual(self.files.get("key", 1000.0), b"%d" % number)
        finally:
            ends.set()
            thread.join()

    def test_strangers(self) -> None:
        """Other things that lie there are left alone."""
        shard = self.put("key", expires=100.0).parent
        (shard / "folder").mkdir()
        (shard / "note").write_text("not ours")
        (shard / "link").symlink_to("note")
        os.utime(shard / "note", (50.0, 50.0))
        self.assertEqual(self.files.sweep(1000.0, 10, 100), 1)
        self.assertEqual(sorted(os.listdir(shard)), ["folder", "link", "note"])


class Processes(DirectoryHooks, TestCase):
    """Several processes at once."""

    async def test_start_together(self) -> None:
        """Processes that start together on an empty place all find a store."""
        code = (
            "import sys\nfrom mailerq.stores.directory_files import Files\nsys.stdin.readline()\n"
            "files = Files(sys.argv[1])\n"
            "for n in range(50): files.put(f'{sys.argv[2]}-{n}', b'body', None, f'{sys.argv[2]}-{n}')\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", code, self.path, str(n)], stdin=subprocess.PIPE, env=ENVIRON)
            for n in range(4)
        ]
        for process in processes:
            process.communicate(b"\n")
        self.assertEqual([process.returncode for process in processes], [0] * 4)
        store = await self.started()
        for number in range(4):
            self.assertEqual(await store.get(f"{number}-49"), b"body")
