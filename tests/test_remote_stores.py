"""Addresses of stores on other machines, the keys they can hold, how they are made, and work that is given up."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import SettingsError, parse
from mailerq.stores.address import Store
from mailerq.stores.calls import Abandoned, Calls
from mailerq.stores.down import StoreDown
from mailerq.stores.keys import path_key, text_key
from mailerq.stores.opening import make_store
from mailerq.stores.remote import NEEDS, parse_mongo, parse_postgres, parse_s3, problem_of

ROOT = Path(__file__).parent.parent
SECRET = "Ge%23heim"
TEXTS = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    ["", ".", "..", "a/../b", "mailerq~"]
)


class Addresses(SynchronousTestCase):
    """What an address says."""

    def test_postgres(self) -> None:
        """libpq gets its own options, we the table; what is shown has no password."""
        address = parse_postgres(f"postgresql://me:{SECRET}@db:6432/mail?sslmode=require&table=post.bodies&a=b")
        self.assertEqual(address.url, f"postgresql://me:{SECRET}@db:6432/mail?sslmode=require&a=b")
        self.assertEqual((address.table, str(address)), ("post.bodies", "postgresql://db:6432/mail"))
        self.assertEqual(parse_postgres("postgresql:///mail").table, "mailerq_messages")

    def test_mongo(self) -> None:
        """The driver gets the database, we the collection; both have a default."""
        address = parse_mongo(f"mongodb://me:{SECRET}@one,two:27018/mail/bodies?replicaSet=rs")
        self.assertEqual(address.url, f"mongodb://me:{SECRET}@one,two:27018/mail?replicaSet=rs")
        self.assertEqual((address.database, address.collection, address.tls), ("mail", "bodies", False))
        self.assertEqual(str(address), "mongodb://one,two:27018/mail/bodies")
        other = parse_mongo("mongodb://one?tls=true")
        self.assertEqual((other.url, other.tls), ("mongodb://one/mailerq?tls=true", True))
        self.assertEqual((other.database, other.collection), ("mailerq", "messages"))

    def test_s3(self) -> None:
        """Bucket, prefix, region, endpoint, and who we are."""
        address = parse_s3("s3://AKIA:a%2Fb@mails/spool/one?region=eu-west-1&endpoint=http://127.0.0.1:9000")
        self.assertEqual((address.bucket, address.prefix, address.region), ("mails", "spool/one/", "eu-west-1"))
        self.assertEqual((address.user, address.password), ("AKIA", "a/b"))
        self.assertEqual(str(address), "s3://mails/spool/one at http://127.0.0.1:9000")
        plain = parse_s3("s3://mails")
        self.assertEqual((plain.prefix, plain.user, plain.region, plain.endpoint), ("", None, None, None))

    def test_repr(self) -> None:
        """No password is shown."""
        for address in (
            parse_postgres(f"postgresql://me:{SECRET}@db/mail"),
            parse_mongo(f"mongodb://me:{SECRET}@db"),
            parse_s3(f"s3://me:{SECRET}@mails"),
        ):
            self.assertNotIn("heim", repr(address) + str(address))

    def test_wrong(self) -> None:
        """What cannot be is said, and never with the password."""
        for address, said in {
            "postgresql:mail": "postgresql://",
            "postgresql://me:heim@db/mail?table=Mail": "proper table",
            "postgresql://me:heim@db/mail?table=a;drop": "proper table",
            "postgresql://me:heim@db:port/mail": "proper address",
            "postgresql://me:heim@db/mail?sslmod=require": "proper address",
            "postgresql://me:he@im@db/mail": "an @ too many",
            "postgresql://me:he/im@db/mail": "an @ too many",
            "postgresql://me:he?im@db/mail": "an @ too many",
            "postgresql://me:he#im@db/mail": "%23",
            "mongodb://me:heim@db/mail/a/b": "collection",
            "mongodb://me:heim@/mail": "names no host",
            "mongodb://me:heim@db:port/mail": "proper address",
            "mongodb://me:heim@db/mail?replicaSett=x": "proper address",
            "mongodb://me:heim@a,b/mail?tls=true": "one host",
            "s3://me:heim@Mails": "proper bucket",
            "s3://me@mails": "without a secret",
            "s3://me:heim@mails/a b": "cannot stand",
            "s3://me:heim@mails/a%20b": "prefix",
            "s3://me:heim@mails/../x": "prefix",
            "s3://me:heim@mails?regoin=x": "region and endpoint",
            "s3://me:heim@mails?endpoint=ftp://x": "proper endpoint",
        }.items():
            problem = problem_of(address)
            self.assertIn(said, str(problem), address)
            self.assertNotIn("heim", str(problem), address)

    @settings(deadline=None)  # libraries are imported
    @given(st.sampled_from(sorted(NEEDS)), st.text(max_size=60) | st.text("/:@?&=#%.ab,", max_size=40))
    def test_any(self, kind: str, rest: str) -> None:
        """Any text is an address, or has a problem."""
        for address in (f"{kind}:{rest}", f"{kind}://{rest}", f"{kind}://user:Geheim@{rest}"):
            self.assertNotIn("Geheim", problem_of(address) or "")

    def test_others(self) -> None:
        """Stores of other kinds are no concern of it."""
        self.assertIsNone(problem_of("directory:/var/mails"))

    def test_missing_library(self) -> None:
        """A library that is not installed is an error with its place, and the extra that brings it."""
        for address, extra in (("postgresql://h/d", "postgres"), ("mongodb://h", "mongo"), ("s3://mails", "s3")):
            with mock.patch("importlib.util.find_spec", lambda name: None):
                error = self.assertRaises(SettingsError, parse, f"store:\n  address: {address}\n", "my.yaml", {})
            self.assertIn(f"pip install 'mailerq[{extra}]'", str(error))
            self.assertIn("my.yaml:2", str(error))

    def test_not_imported(self) -> None:
        """A library is imported where its store is configured, and no other is."""
        script = (
            "import sys; from mailerq.settings import parse; parse({!r}, 'f', {{}});"
            "print([name for name in ('psycopg', 'pymongo', 'txmongo', 'boto3') if name in sys.modules])"
        )
        for text, libraries in (
            ("store: directory:/tmp/x", "[]"),
            ("store: postgresql://h/d", "['psycopg']"),
            ("store: mongodb://h", "['pymongo']"),
            ("store: s3://mails", "[]"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", script.format(text)], capture_output=True, text=True, check=True, cwd=ROOT
            )
            self.assertEqual(done.stdout.strip(), libraries)

    def test_made(self) -> None:
        """Each kind is made, and not started."""
        for address in ("postgresql://me:heim@db/mail", "mongodb://me:heim@db", "s3://me:heim@mails"):
            store: Any = make_store(Clock(), Store(address))
            self.assertFalse(store.running)
            self.failureResultOf(store.get("key"), ConnectionError)
            self.assertNotIn("heim", repr(store))


class Keys(SynchronousTestCase):
    """Keys as stores hold them."""

    def test_plain(self) -> None:
        """Keys that people use stay as they are."""
        for key in ("key", "2026/11/24/mail-1@example.org", "mailerq-0123456789abcdef:7", "a_b.c=d+e"):
            self.assertEqual((text_key(key, 1000), path_key(key, 1000)), (key, key))

    @given(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
    def test_own(self, keys: list[str]) -> None:
        """Two keys are never held as one."""
        for hold in (text_key, path_key):
            self.assertEqual(len({hold(key, 60) for key in keys}), 2)

    @given(TEXTS, st.integers(1, 200))
    def test_fits(self, key: str, times: int) -> None:
        """What is held is valid text, not too long, without NUL; a path has no empty part, no ``.`` and no ``..``."""
        for hold in (text_key, path_key):
            held = hold(key * times, 80)
            self.assertLessEqual(len(held.encode()), 80)
            self.assertNotIn("\0", held)
        self.assertEqual({"", ".", ".."} & set(held.split("/")), set())
        self.assertTrue(held.isascii() and held.isprintable() and " " not in held)

    def test_held_is_a_key(self) -> None:
        """A key that looks as we hold another one is another key."""
        for hold in (text_key, path_key):
            held = hold("x" * 2000, 1000)
            self.assertNotEqual(hold(held, 1000), held)


class FakePool:
    """Threads whose work is done when a test says so."""

    def __init__(self) -> None:
        self.work: list[Any] = []

    def callInThreadWithCallback(self, over: Any, function: Any) -> None:
        self.work.append((over, function))

    def do(self) -> None:
        """The oldest."""
        over, function = self.work.pop(0)
        try:
            over(True, function())
        except Exception:
            from twisted.python.failure import Failure

            over(False, Failure())


class FakeReactor(Clock):
    """A clock that calls from threads at once."""

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)


class Work(SynchronousTestCase):
    """Work in threads."""

    def setUp(self) -> None:
        """Ten seconds for each piece."""
        self.clock, self.pool = FakeReactor(), FakePool()
        pool: Any = self.pool
        self.calls = Calls(self.clock, pool, "db", 10.0, lambda error: error if isinstance(error, OSError) else None)

    def test_done(self) -> None:
        """What it gives."""
        result = self.calls.run(lambda call: 5)
        self.assertNoResult(result)
        self.pool.do()
        self.assertEqual(self.successResultOf(result), 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unusable(self) -> None:
        """An error that says that the store cannot be used is StoreDown with its name; others are what they are."""
        for error, kind in ((OSError("gone"), StoreDown), (KeyError("bug"), KeyError)):

            def work(call: Any, error: Exception = error) -> None:
                raise error

            result = self.calls.run(work)
            self.pool.do()
            self.assertIn(str(error), str(self.failureResultOf(result, kind).value))

    def test_late(self) -> None:
        """Who waits is told after the time-out, and work that was not begun is not done."""
        done: list[Any] = []
        result = self.calls.run(done.append)
        self.clock.advance(10)
        self.assertEqual(str(self.failureResultOf(result, StoreDown).value), "db: no answer within 10 seconds")
        self.pool.do()
        self.assertEqual(done, [])

    def test_interrupted(self) -> None:
        """Work that was begun is interrupted, once it is too late or cancelled, and not after it has ended."""
        for given_up in (lambda result: self.clock.advance(10), lambda result: result.cancel()):
            interrupted: list[Any] = []
            got: list[Any] = []

            def work(call: Any, got: Any = got, interrupted: Any = interrupted) -> None:
                call.begin(lambda: interrupted.append("now"))
                got.append(call)

            result = self.calls.run(work)
            over, function = self.pool.work.pop(0)
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()
            given_up(result)
            self.failureResultOf(result, StoreDown, CancelledError)
            self.assertEqual(interrupted, ["now"])
            over(True, None)
            got[0].ended()
            self.assertRaises(Abandoned, got[0].begin, lambda: None)

    def test_wait(self) -> None:
        """``wait`` fires once all is over."""
        self.calls.run(lambda call: None)
        waiting = self.calls.wait()
        self.assertNoResult(waiting)
        self.pool.do()
        self.successResultOf(waiting)
        self.successResultOf(self.calls.wait())
