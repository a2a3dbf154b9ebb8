"""The script and the connection against a real Redis."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet import reactor as real_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from mailerq.limits_store.address import parse_store
from mailerq.limits_store.client import LimitsStore, redis_protocol
from mailerq.shares.division import Claim
from mailerq.shares.exchange import Answer, Line, Question, read_answer
from mailerq.shares.member import GRACE, Member
from tests.rabbit import make_certificates
from tests.redis import Redis, redis_server
from tests.shares_store import SharesStore
from tests.shares_world import COUNT, SITE

reactor: Any = real_reactor
NEAR = 0.5  # seconds by which two clocks may differ: the machine is busy


class StoreTest(TestCase):
    """A Redis of the test's own."""

    timeout = 60

    def setUp(self) -> None:
        """It has to be installed."""
        if redis_server() is None:
            raise SkipTest("redis-server is not installed")
        self.redis: Redis | None = None
        self.stores: list[LimitsStore] = []

    async def tearDown(self) -> None:
        """Nothing stays."""
        for store in self.stores:
            await store.stopService()
        if self.redis is not None:
            self.redis.remove()

    def begin(self, **options: Any) -> Redis:
        """A Redis that runs."""
        self.redis = Redis(**options)
        self.redis.start()
        return self.redis

    def store(self, name: str, url: str = "") -> LimitsStore:
        """A member with its connection, which has begun."""
        assert self.redis is not None
        member = Member(name, f"{reactor.seconds():017.6f}", reactor.seconds)
        store = LimitsStore(reactor, parse_store(url or self.redis.url), member, Random(1))
        self.stores.append(store)
        store.startService()
        return store

    async def until(self, condition: Any, within: float = 20.0) -> None:
        """Wait until it is true."""
        end = time.monotonic() + within
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it did not come about in time")
            await deferLater(reactor, 0.02, lambda: None)


class Script(StoreTest):
    """``shares.lua`` is what ``SharesStore`` is."""

    async def test_as_the_model(self) -> None:
        """Whatever members say, in whatever order, both answer the same."""
        redis = self.begin()
        connection = await self.connect(redis)
        dice, model = Random(4), SharesStore(time.time)
        for number in range(600):
            question, keys = _question(dice, number)
            expected = model.ask(question, keys)
            found = await self.ask(connection, question, keys)
            self.assertEqual(_exactly(found), _exactly(expected), (number, question))
            for one, other in zip(found.told, expected.told, strict=True):
                self.assertLess(abs(one.due - other.due), NEAR)
                self.assertLess(abs(one.since - other.since), NEAR)
        connection.transport.loseConnection()
        await connection.whenDisconnected()

    async def test_lease(self) -> None:
        """What a member held that is silent for longer than its lease is free, and its keys go by themselves."""
        connection = await self.connect(self.begin())
        line = Line(0, 3, 3, 3, 60.0, 0.0, 7.0)
        first = Question("a", "1", 1, 0.2, 0.0, False, [line])
        self.assertEqual((await self.ask(connection, first, ["k"])).told[0].held, 3)
        await deferLater(reactor, 0.3, lambda: None)
        answer = await self.ask(connection, Question("b", "1", 1, 0.2, 0.0, False, [line]), ["k"])
        self.assertEqual(answer.members, ["b"])
        self.assertEqual(answer.told[0].held, 3)
        self.assertTrue(6.0 < answer.told[0].due <= 7.0)
        keys = await connection.keys("mailerq:*")
        self.assertTrue(all([await connection.ttl(key) >= 0 for key in keys]), keys)
        connection.transport.loseConnection()
        await connection.whenDisconnected()

    async def connect(self, redis: Redis) -> Any:
        """A connection of our own."""
        from twisted.internet.endpoints import HostnameEndpoint
        from twisted.internet.protocol import Factory

        endpoint = HostnameEndpoint(reactor, "127.0.0.1", redis.port)
        return await endpoint.connect(Factory.forProtocol(redis_protocol))  # type: ignore[arg-type]

    async def ask(self, connection: Any, question: Question, keys: list[str]) -> Answer:
        """What the script answers."""
        script = LimitsStore(reactor, parse_store("redis://h"), Member("x", "1", time.time), Random(1))._script
        names = ["mailerq:members", "mailerq:since", *keys]
        return read_answer(await connection.eval(script, names, [msgspec.json.encode(question).decode()]))


def _question(dice: Random, number: int) -> tuple[Question, list[str]]:
    keys = dice.sample(["k1", "k2", "k3"], dice.randrange(4))
    lines = []
    for _ in keys:
        claim, ask, want = dice.randrange(4), dice.randrange(8), dice.randrange(8)
        rate = dice.choice((0.0, 60.0))
        due, pay = dice.choice((0.0, 2.0, 50.0)), dice.choice((0.0, 30.0)) if rate else 0.0
        lines.append(Line(claim, ask, want, dice.choice((3, 6)), rate, due, pay))
    life, seq = str(1 + number // 150), dice.choice((number % 150 + 1, number % 150 + 1, 1))
    grace = 0.0 if dice.random() < 0.9 else 1000.0
    return Question(dice.choice("abc"), life, seq, 1000.0, grace, dice.random() < 0.03, lines), keys


def _exactly(answer: Answer) -> Any:
    told = [(one.held, sorted(map(_claim, one.others))) for one in answer.told]
    return answer.members, told


def _claim(claim: Claim) -> tuple[Any, ...]:
    return claim.member, claim.held, claim.want, claim.rate, claim.number


class Connection(StoreTest):
    """The way to Redis and back."""

    async def test_shares(self) -> None:
        """Two members get all of a limit, together; one that stops leaves its part at once."""
        self.begin()
        one, two = self.store("a"), self.store("b")
        counts = [store.member.count(COUNT) for store in (one, two)]
        self._want(one, two)
        await self.until(lambda: sum(count.allowed(6) for count in counts) == 6 and all(c.allowed(6) for c in counts))
        await one.stopService()
        self.stores.remove(one)
        two.member.refused(SITE, [(counts[1], 6)], 1000)
        await self.until(lambda: counts[1].allowed(6) == 6, GRACE)

    async def test_password_and_flush(self) -> None:
        """A password is sent; scripts that Redis forgets are sent again."""
        redis = self.begin(password="geheim/:@")
        store = self.store("a", f"redis://:geheim%2F%3A%40@127.0.0.1:{redis.port}/3")
        self._want(store)
        count = store.member.count(COUNT)
        await self.until(lambda: count.allowed(6) == 6)
        await store._protocol.script_flush()
        await self._answered_again(store)
        self.assertNotIn("geheim", repr(store) + repr(store._address))

    async def test_tls(self) -> None:
        """With TLS the certificate is verified, and its name; one that is not trusted is refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        make_certificates(folder)
        redis = self.begin(tls=(str(folder.absolute() / "server.pem"), str(folder.absolute() / "server.key")))
        store = self.store("a", redis.url)
        await self.until(lambda: store._failures > 1)
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(folder.absolute() / "ca.pem")
        try:
            await self._answered_again(store)
        finally:
            if before is None:
                del os.environ["SSL_CERT_FILE"]
            else:
                os.environ["SSL_CERT_FILE"] = before

    async def test_wrong_password(self) -> None:
        """It is said once, without the password, and it is tried on."""
        redis = self.begin(password="other")
        self.store("a", f"redis://:geheim@127.0.0.1:{redis.port}")
        from twisted.logger import globalLogPublisher

        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        try:
            await self.until(lambda: any("is gone" in str(event.get("log_format")) for event in said))
        finally:
            globalLogPublisher.removeObserver(said.append)
        self.assertNotIn("geheim", str(said))

    async def test_killed(self) -> None:
        """After it was killed and has begun again, empty, all is as before."""
        redis = self.begin()
        store = self.store("a")
        self._want(store)
        count = store.member.count(COUNT)
        await self.until(lambda: count.allowed(6) == 6)
        redis.kill9()
        await deferLater(reactor, 0.5, lambda: None)
        self.assertEqual(count.allowed(6), 6)
        redis.start()
        await self._answered_again(store)
        self.assertEqual(count.allowed(6), 6)

    def _want(self, *stores: LimitsStore) -> None:
        for store in stores:
            count = store.member.count(COUNT)
            self.assertEqual(count.allowed(6), 0)
            store.member.refused(SITE, [(count, 6)], 1000)

    async def _answered_again(self, store: LimitsStore) -> None:
        before = store._answered_at
        await self.until(lambda: store._answered_at > before + 0.01)
