"""The section ``store`` of the configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import Settings, SettingsError, parse
from mailerq.stores.address import KINDS, Store, problem_of_local
from mailerq.stores.opening import make_store

SECRET = "geheim"
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def good(text: str) -> Settings:
    """What a text says."""
    return parse(text, "f", {})


def said(text: str) -> list[str]:
    """What is wrong with it."""
    try:
        parse(text, "f", {})
    except SettingsError as error:
        return error.errors
    return []


class Section(SynchronousTestCase):
    """Its shapes."""

    def test_none(self) -> None:
        """There is none by default, and by null."""
        self.assertIsNone(good("").store)
        self.assertIsNone(good("store: null").store)

    def test_address(self) -> None:
        """An address alone is enough."""
        expected = Store("directory:var/bodies", "out", "all", 7 * 86400.0, 120.0, "none", 20.0)
        self.assertEqual(good("store: directory:var/bodies").store, expected)
        self.assertEqual(good("store: {address: 'directory:var/bodies'}").store, expected)

    def test_all(self) -> None:
        """Every key."""
        text = (
            "store: {address: 'sqlite:/x/b.db', policy: none, delete: own,"
            " ttl: 1d, retry: 5s, compress: gzip, timeout: 3s}"
        )
        self.assertEqual(good(text).store, Store("sqlite:/x/b.db", "none", "own", 86400.0, 5.0, "gzip", 3.0))

    def test_wrong(self) -> None:
        """Each wrong one is said at its key, all at once."""
        text = (
            "store:\n  address: directory:x\n  policy: some\n  delete: mine\n  ttl: 0s\n  retry: often\n"
            "  compress: zip\n  timeout: 0s\n  adress: y\n"
        )
        keys = ("policy", "delete", "ttl", "retry", "compress", "timeout", "adress")
        found = said(text)
        self.assertEqual([error.split(": ")[1] for error in found], [f"store.{key}" for key in keys])
        self.assertEqual([error.split(":")[1] for error in found], [str(3 + number) for number in range(7)])
        self.assertEqual(said("store: {policy: out}"), ["f:1:8: store.address: is missing"])
        self.assertEqual(len(said("store: [directory:x]")), 1)

    def test_addresses(self) -> None:
        """An address that is none says so, and what it should be, at its place."""
        for address, what in (
            ("directory:", "store.address: needs a path, as in directory:var/bodies"),
            ("sqlite:", "store.address: needs a path, as in sqlite:var/bodies.db"),
            ("sqlite:var/", "needs a file"),
            ("directory://var/bodies", "directly behind the colon"),
            ("sqlite:///var/bodies.db", "directly behind the colon"),
            ("directory:~/bodies", "which is not replaced"),
            ("directory: bodies", "spaces around it"),
            ("direktory:x", "is no message store (did you mean "),
            ("postgres://h/db", "there are directory:…, sqlite:…, postgresql:…, mongodb:…, s3:…"),
            ("/var/bodies", "is no message store"),
            ("directory", "is no message store"),
        ):
            (error,) = said(f"store: {{address: {json.dumps(address)}}}")
            self.assertTrue(error.startswith("f:1:9: store.address: "), error)
            self.assertIn(what, error)
            self.assertEqual(len(said(f"store: {json.dumps(address)}")), 1)

    def test_file_of_the_queue(self) -> None:
        """The queue's file is no place for bodies."""
        (error,) = said("broker: sqlite:var/queue.db\nstore: sqlite:var/../var/queue.db")
        self.assertIn("store: is the file of the queue", error)
        self.assertEqual(said("broker: sqlite:var/queue.db\nstore: sqlite:var/bodies.db"), [])
        self.assertEqual(said("broker: amqp://h\nstore: sqlite:var/queue.db"), [])

    def test_no_password(self) -> None:
        """No password is shown, whatever is wrong with its address; nor by the settings."""
        for address in (
            f"postgresql://me:{SECRET}@h:x/db",
            f"postgres://me:{SECRET}@h/db",
            f"mongodb:me:{SECRET}@h",
            f"{SECRET}:x",
            f"me:{SECRET}@h",
            f"s3://me:{SECRET}@",
            f"directory://me:{SECRET}@h",
            f"sqlite:~{SECRET}",
        ):
            (error,) = said(f"store: {json.dumps(address)}")
            self.assertNotIn(SECRET, error)
        self.assertNotIn(SECRET, repr(Store(f"postgresql://me:{SECRET}@h/db")))

    @bounds(max_examples=300, deadline=None)
    @given(st.one_of(st.text(), st.tuples(st.sampled_from(KINDS[1:3]), st.text()).map(":".join)))
    def test_any(self, address: str) -> None:
        """Any address is good, or has a description of what is wrong in one line."""
        problem = problem_of_local(address)
        self.assertTrue(problem is None or problem.isprintable())
        if problem is None and address.startswith(("directory:", "sqlite:")):
            self.assertNotIn("\0", address)


class Opening(SynchronousTestCase):
    """The store that is made."""

    def test_kinds(self) -> None:
        """Each kind on this machine is made."""
        for address, name in (("directory:x", "<DirectoryStore directory:x>"), ("sqlite:x", "<SqliteStore sqlite:x>")):
            for compress in ("none", "gzip"):
                store = make_store(object(), Store(address, compress=compress))
                self.assertEqual(repr(store), f"<PackedStore {name}>")

    def test_light(self) -> None:
        """Only the module of the configured store is imported."""
        code = (
            "import sys\nfrom mailerq.stores.address import Store\nfrom mailerq.stores.opening import make_store\n"
            "make_store(object(), Store('directory:x'))\n"
            "heavy = ('psycopg', 'txmongo', 'pymongo', 'boto3', 'sqlite3', 'mailerq.stores.sqlite')\n"
            "print([name for name in heavy if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRON)
        self.assertEqual(done.stdout.strip(), "[]")
