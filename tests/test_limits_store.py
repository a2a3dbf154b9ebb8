"""The connection to the limits store over a clock; its address; what is known of members from the last life."""

from __future__ import annotations

import importlib.util
import os
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailerq.limits_store.address import parse_store
from mailerq.limits_store.client import GONE, PERIOD, LimitsStore
from mailerq.limits_store.known import Known, read_known, write_known
from mailerq.settings import SettingsError, parse
from mailerq.shares.member import LEASE, Member
from tests.shares_world import COUNT, SITE
from tests.worlds import seeds

EMPTY = '{"members":["a"],"told":{}}'


class FakeRedis:
    """A connection, its endpoint and its server: answers ``answer``, or fails, or keeps silent (None)."""

    def __init__(self) -> None:
        self.answer: str | Exception | None = EMPTY
        self.there = True
        self.asked: list[tuple[list[str], str]] = []
        self.said: list[Any] = []
        self.transport = self
        self.on_lost: Any = None

    def connect(self, factory: Any) -> Deferred[Any]:
        return succeed(self) if self.there else fail(ConnectionRefusedError("refused"))

    def auth(self, password: str, user: str | None) -> Deferred[Any]:
        self.said.append((user, password))
        return succeed("OK")

    def select(self, db: int) -> Deferred[Any]:
        self.said.append(db)
        return succeed("OK")

    def abortConnection(self) -> None:
        self.said.append("abort")

    def eval(self, script: str, keys: list[str], arguments: list[str]) -> Deferred[Any]:
        self.asked.append((keys, arguments[0]))
        if self.answer is None:
            return Deferred()
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


class ClientTest(SynchronousTestCase):
    """One client."""

    def setUp(self) -> None:
        """Begun at 1000."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.redis = FakeRedis()
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: Any) -> None:
        if "mailerq" in event.get("log_namespace", ""):
            self.logged.append(event["log_format"].format(**event))

    def begin(self, url: str = "redis://h") -> LimitsStore:
        """It tries to connect at once."""
        self.member = Member("a", "1", self.clock.seconds)
        store = LimitsStore(
            self.clock, parse_store(url), self.member, Random(1), endpoint=lambda reactor, address: self.redis
        )
        store.startService()
        self.addCleanup(store.stopService)
        return store

    def run_for(self, seconds: float) -> None:
        """In small steps."""
        self.clock.pump([0.01] * int(seconds * 100))

    def test_period(self) -> None:
        """It is asked each half second; nothing else is said."""
        self.begin()
        self.run_for(10 * PERIOD)
        self.assertTrue(10 <= len(self.redis.asked) <= 12)

    def test_soon(self) -> None:
        """What is wanted is asked for soon, all of one moment together."""
        self.begin()
        self.run_for(0.2)
        before = len(self.redis.asked)
        for number in range(20):
            count = self.member.count((*COUNT, str(number)))
            count.allowed(5)
            self.member.refused((*SITE, str(number)), [(count, 5)], 3)
        self.run_for(0.05)
        self.assertEqual(len(self.redis.asked), before + 1)
        self.assertEqual(len(self.redis.asked[-1][0]), 22)

    def test_who_we_are(self) -> None:
        """User, password and database are told first."""
        self.begin("redis://me:se%3Acret@h/4")
        self.assertEqual(self.redis.said, [("me", "se:cret"), 4])

    def test_gone_and_back(self) -> None:
        """An outage is said once, and its end."""
        self.begin()
        self.run_for(1)
        self.redis.answer = OSError("no")
        self.redis.there = False
        self.run_for(GONE - 1)
        self.assertEqual(self.logged, [])
        self.run_for(LEASE)
        self.assertEqual(len(self.logged), 1)
        self.assertIn("refused", self.logged[0])
        self.assertTrue(self.member.gone)
        self.redis.answer = EMPTY
        self.redis.there = True
        self.run_for(3)
        self.assertEqual(len(self.logged), 2)
        self.assertFalse(self.member.gone)

    def test_silent(self) -> None:
        """A server that accepts and says nothing is gone, too."""
        self.redis.answer = None
        self.begin()
        self.run_for(GONE + 3)
        self.assertEqual(len(self.logged), 1)

    @seeds(30)
    @given(st.text())
    def test_whatever_comes(self, text: str) -> None:
        """An answer that is none costs the connection, and nothing else."""
        self.clock, self.redis = Clock(), FakeRedis()
        self.redis.answer = text
        store = self.begin()
        self.run_for(1)
        self.redis.answer = EMPTY
        self.run_for(3)
        self.assertEqual(self.member.members, ["a"])
        store.stopService()

    def test_stops(self) -> None:
        """It gives everything back, and says that it leaves."""
        store = self.begin()
        self.run_for(1)
        self.successResultOf(store.stopService())
        self.assertIn('"leave":true', self.redis.asked[-1][1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stops_while_gone(self) -> None:
        """Nobody is waited for."""
        self.redis.there = False
        store = self.begin()
        self.run_for(1)
        self.successResultOf(store.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Addresses(SynchronousTestCase):
    """``redis://…``"""

    def test_parts(self) -> None:
        """What is missing has its usual value; the password is not shown."""
        found = parse_store("redis://me:ge%2Fheim@h:7/3")
        self.assertEqual((found.host, found.port, found.user, found.password, found.db), ("h", 7, "me", "ge/heim", 3))
        self.assertNotIn("heim", f"{found} {found!r}")
        found = parse_store("rediss://h")
        self.assertEqual((found.port, found.user, found.password, found.db, found.tls), (6379, None, None, 0, True))

    @seeds(200)
    @given(st.text())
    def test_whatever_is_written(self, text: str) -> None:
        """It is an address, or ValueError that does not show it."""
        secret = "geheim" + "".join(sign for sign in text if sign.isalnum())
        for url in (text, f"redis://{text}", f"redis://:{secret}@h{text}", f"rediss://{secret}:{text}@h"):
            try:
                parse_store(url)
            except ValueError as error:
                self.assertNotIn("geheim", str(error))


class Configured(SynchronousTestCase):
    """``limits-store`` in the configuration."""

    def errors(self, text: str) -> str:
        """What is said of it."""
        return str(self.assertRaises(SettingsError, parse, text, "f.yaml", {}))

    def test_off(self) -> None:
        """There is none by default."""
        self.assertIsNone(parse("limits-store: null", "f.yaml", {}).limits_store)

    def test_value(self) -> None:
        """It is an address; what shows the settings shows no password."""
        settings = parse("limits-store: redis://:geheim@h/2", "f.yaml", {})
        self.assertEqual(settings.limits_store, parse_store("redis://:geheim@h/2"))
        self.assertNotIn("geheim", repr(settings))

    def test_wrong(self) -> None:
        """What is none is said with its place, without the password."""
        for url in ("http://h", "redis://:geheim@", "redis://:geheim@h:x", "redis://:geheim@h/x", "redis://:gehe#im@h"):
            said = self.errors(f"limits-store: '{url}'")
            self.assertTrue(said.startswith("f.yaml:1:15: limits-store:"), said)
            self.assertNotIn("gehe", said)

    def test_not_installed(self) -> None:
        """So is that a package is missing, and how to get it."""
        self.patch(importlib.util, "find_spec", lambda name: None)
        self.assertIn("pip install 'mailerq[redis]'", self.errors("limits-store: redis://h"))

    def test_by_address(self) -> None:
        """Queues by local address are for RabbitMQ."""
        self.assertIn("queues.by-address", self.errors("queues: {by-address: true}"))
        settings = parse("broker: amqp://h\nqueues: {by-address: true}", "f.yaml", {})
        self.assertTrue(settings.queues.by_address)


class KnownTest(SynchronousTestCase):
    """What stands in the state folder."""

    def setUp(self) -> None:
        """A folder of the test's own."""
        os.mkdir(folder := self.mktemp())
        self.path = os.path.join(folder, "limits-member")

    def test_stays(self) -> None:
        """The name stays, and the members are those that were written last."""
        known = read_known(self.path, "host", lambda: "x")
        self.assertEqual(known, Known("host/x", []))
        write_known(self.path, Known(known.me, ["host/x", "other/y"]))
        self.assertEqual(read_known(self.path, "host", lambda: "new"), Known("host/x", ["host/x", "other/y"]))

    def test_copied(self) -> None:
        """A folder that was copied to another host makes no second one of that name."""
        read_known(self.path, "host", lambda: "x")
        self.assertEqual(read_known(self.path, "other", lambda: "y").me, "other/y")

    @seeds(50)
    @given(st.binary())
    def test_damaged(self, content: bytes) -> None:
        """Whatever stands there, there is a name."""
        with open(self.path, "wb") as file:
            file.write(content)
        self.assertTrue(read_known(self.path, "host", lambda: "x").me.startswith("host/"))

    def test_no_disk(self) -> None:
        """Where it cannot be kept, that is said."""
        self.assertEqual(read_known("/nowhere/at/all", "host", lambda: "x").me, "host/x")
        self.flushLoggedErrors()
