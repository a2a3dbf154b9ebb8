"""AmqpBroker against a real RabbitMQ, which is stopped, killed, filled and told to close connections meanwhile.

One node for all tests of this module; each test has queues of its own names.
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import itertools
import time
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from mailerq.interfaces import BrokerRefused, Publication
from mailerq.queues import amqp_queues, delays
from mailerq.queues.amqp import AmqpBroker
from tests.contracts import BrokerContract, Taker
from tests.rabbit import Rabbit, rabbitmq_home

reactor: Any = real_reactor
_rabbit: Rabbit | None = None
_numbers = itertools.count(1)
QUICK = 20  # how much faster the delays run


def rabbit() -> Rabbit:
    """The node of this module."""
    global _rabbit
    if rabbitmq_home() is None:
        raise SkipTest("rabbitmq-server is not installed")
    if _rabbit is None:
        _rabbit = Rabbit(tls=True)
        atexit.register(_rabbit.remove)
        _rabbit.start()
        _rabbit.wait_ready()
    return _rabbit


class QuickReactor:
    """The reactor, with a clock that runs fast: what waits a minute on the broker waits seconds."""

    def __init__(self) -> None:
        self._base = reactor.seconds()

    def seconds(self) -> float:
        """Epoch seconds, in a hurry."""
        now: float = reactor.seconds()
        return self._base + (now - self._base) * QUICK

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class RabbitTest(TestCase):
    """Brokers of the node, stopped at the end."""

    timeout = 60

    def setUp(self) -> None:
        """Queue names of this test only."""
        self.rabbit = rabbit()
        self.prefix = f"t{next(_numbers)}"
        self.outbox, self.results, self.failure = (f"{self.prefix}.{name}" for name in ("outbox", "results", "failure"))
        self.brokers: list[AmqpBroker] = []
        self.clock: Any = reactor

    async def tearDown(self) -> None:
        """Stop all."""
        for broker in self.brokers:
            await broker.stopService()

    def settings(self, url: str | tuple[str, ...] | None = None, ca: str | None = None, **queues: Any) -> Any:
        """Settings with the queues of this test."""
        known: dict[str, Any] = {
            "outbox": self.outbox, "inbox": self.outbox, "results": self.results, "success": None,
            "failure": self.failure, "retry": None, "invalid": None, "dsn": None, "type": "classic", "declare": True,
            "durable": True, "persistent": True, "max_priority": None, "max_unconfirmed": 500,
        }  # fmt: skip
        addresses = url if isinstance(url, tuple) else (url or self.rabbit.url(),)
        return SimpleNamespace(
            broker=SimpleNamespace(addresses=addresses, ca=ca, heartbeat=30),
            queues=SimpleNamespace(**{**known, **queues}),
        )

    def broker(self, **more: Any) -> AmqpBroker:
        """A broker, not started."""
        broker = AmqpBroker(self.clock, self.settings(**more), Random(1))
        self.brokers.append(broker)
        return broker

    async def ready(self, **more: Any) -> AmqpBroker:
        """A broker that can be used."""
        broker = self.broker(**more)
        broker.startService()
        await broker.ready()
        return broker

    async def sleep(self, seconds: float) -> None:
        """Real seconds."""
        await deferLater(reactor, seconds, lambda: None)

    async def until(self, condition: Callable[[], Any], within: float = 30) -> None:
        """Wait until it is true."""
        end = time.monotonic() + within
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it did not become so in time")
            await self.sleep(0.01)

    async def put(self, broker: Any, *bodies: bytes, queue: str | None = None, **more: Any) -> None:
        """Publish and await the confirms."""
        answers: list[bool] = []
        broker.publish([Publication(queue or self.outbox, body, **more) for body in bodies], answers.append)
        await self.until(lambda: answers)
        self.assertEqual(answers, [True])

    async def ctl(self, *arguments: str) -> str:
        """rabbitmqctl, while the reactor goes on."""
        output: str = await deferToThread(self.rabbit.ctl, *arguments)
        return output

    async def declare(self, broker: AmqpBroker, queue: str, **arguments: Any) -> None:
        """A queue that somebody else declared."""
        assert broker._session is not None
        channel = await broker._session.link.open_channel()
        await channel.queue_declare(queue=queue, durable=True, arguments=arguments)
        await broker._session.link.close_channel(channel)

    async def delete(self, broker: AmqpBroker, queue: str) -> None:
        """Somebody deletes a queue."""
        assert broker._session is not None
        channel = await broker._session.link.open_channel()
        await channel.queue_delete(queue=queue)
        await broker._session.link.close_channel(channel)


class ContractTests(BrokerContract, RabbitTest):
    """What is promised of every broker."""

    knows_waiting = False

    def setUp(self) -> None:
        """Delays in a hurry."""
        super().setUp()
        quick(self)

    async def make_broker(self, max_priority: int | None = None) -> Any:
        """On queues of this test."""
        return self.broker(max_priority=max_priority)

    async def crash(self, broker: Any) -> Any:
        """The connection is cut, and nobody connects again."""
        session = broker._session
        if session is not None:
            broker.running = 0
            session.link.abort("crash")
            await self.sleep(0.2)
        return self.broker(max_priority=broker._settings.queues.max_priority)

    async def advance(self, seconds: float) -> None:
        """In a hurry."""
        await self.sleep(seconds / QUICK)

    async def until(self, condition: Callable[[], Any], within: float = 10) -> None:
        """Real time."""
        await RabbitTest.until(self, condition, within)

    async def idle(self) -> None:
        """Long enough for a message to come."""
        await self.sleep(0.1)

    async def now(self) -> float:
        """In a hurry."""
        now: float = self.clock.seconds()
        return now


def quick(case: RabbitTest) -> None:
    """Let the delays of this test run fast."""
    case.clock = QuickReactor()
    case.patch(
        amqp_queues,
        "delay_queues",
        lambda outbox: {name: ttl // QUICK for name, ttl in delays.delay_queues(outbox).items()},
    )


class Settler:
    """Turns each job into a result, some time later."""

    def __init__(self, results: str, spread: float) -> None:
        self.results = results
        self.spread = spread
        self.random = Random(2)
        self.losses: list[str] = []
        self.sure = 0
        self.unsure = 0

    def taken(self, taken: Any) -> None:
        """Settle it soon."""
        reactor.callLater(self.random.random() * self.spread, self.settle, taken)

    def settle(self, taken: Any) -> None:
        """One result, with an id that is the same whenever the job comes again."""
        identity = hashlib.md5(taken.body).hexdigest()
        taken.settle([Publication(self.results, taken.body, message_id=identity)], self.done)

    def done(self, sure: bool) -> None:
        """Count."""
        if sure:
            self.sure += 1
        else:
            self.unsure += 1

    def lost(self, reason: str) -> None:
        """Keep why."""
        self.losses.append(reason)


class Reader:
    """Reads results; remembers each body's ids."""

    def __init__(self) -> None:
        self.ids: dict[bytes, set[Any]] = {}
        self.count = 0

    def taken(self, taken: Any) -> None:
        """Away with it."""
        self.count += 1
        self.ids.setdefault(taken.body, set()).add(taken.properties().get("message_id"))
        taken.settle([])

    def lost(self, reason: str) -> None:
        """It comes again."""


class FlowTests(RabbitTest):
    """Five thousand jobs, and a broker that goes away meanwhile."""

    COUNT = 5000

    async def flow(self, disturb: Callable[[], Any], **queues: Any) -> Settler:
        """Every job has a result at the end, doubles have the same id, and the outbox is empty."""
        broker = await self.ready(**queues)
        bodies = [b'{"recipient":"%d@example.org"}' % n for n in range(self.COUNT)]
        await self.put(broker, *bodies)
        settler = Settler(self.results, 0.6)
        broker.consume(self.outbox, settler, 500)
        await self.until(lambda: settler.sure > 100)
        await disturb()
        reader = Reader()
        other = self.broker(**queues)
        other.startService()
        other.consume(self.results, reader, 500)
        await self.until(lambda: len(reader.ids) == self.COUNT)
        self.assertEqual(set(reader.ids), set(bodies))
        self.assertEqual({len(ids) for ids in reader.ids.values()}, {1})
        self.assertTrue(settler.losses, "the disturbance came too late")
        # What comes twice: results whose confirm or whose job's ack was on its way when the link ended.
        self.assertLessEqual(reader.count - self.COUNT, 1000 * len(settler.losses))
        await self.until(lambda: broker._session is not None and not broker._session.under_way)
        await broker.drain()
        await self.empty(broker, self.outbox)
        return settler

    async def empty(self, broker: AmqpBroker, queue: str) -> None:
        """Nothing lies in the queue."""
        end = time.monotonic() + 10
        while [state.ready for state in await broker.states([queue])] != [0]:
            self.assertLess(time.monotonic(), end)
            await self.sleep(0.1)

    async def restart_app(self) -> None:
        """A broker that is restarted in order."""
        await self.ctl("stop_app")
        await self.ctl("start_app")

    async def test_connections_closed(self) -> None:
        """An operator closes all connections."""
        await self.flow(lambda: self.ctl("close_all_connections", "test"))

    async def test_restarted_quorum(self) -> None:
        """The broker is restarted; quorum queues."""
        await self.flow(self.restart_app, type="quorum")

    async def test_killed(self) -> None:
        """The broker is killed; classic queues."""

        async def kill() -> None:
            await deferToThread(self.rabbit.kill9)
            self.rabbit.start()
            await deferToThread(self.rabbit.wait_ready)

        await self.flow(kill)
        self.assertFalse(gc.garbage)


class TroubleTests(RabbitTest):
    """What brokers do besides."""

    async def test_outbox_deleted(self) -> None:
        """A deleted outbox is declared and consumed again."""
        broker = await self.ready()
        taker = Taker()
        broker.consume(self.outbox, taker, 10)
        await self.put(broker, b"1")
        await self.until(lambda: taker.jobs)
        await self.delete(broker, self.outbox)
        answers: list[bool] = []
        taker.jobs[0].settle([], answers.append)
        await self.until(lambda: answers)
        await self.put(broker, b"2")
        await self.until(lambda: taker.bodies == [b"1", b"2"])
        self.assertEqual(taker.reasons, [])

    async def test_results_deleted(self) -> None:
        """A result for a queue that was deleted is not lost: the queue is declared again."""
        broker = await self.ready()
        taker = Taker()
        broker.consume(self.outbox, taker, 300)
        await self.put(broker, *(b"%d" % n for n in range(200)))
        await self.until(lambda: len(taker.jobs) == 200)
        await self.delete(broker, self.results)
        answers: list[bool] = []
        for taken in taker.jobs:
            taken.settle([Publication(self.results, taken.body), Publication(self.failure, b"same")], answers.append)
        await self.until(lambda: len(answers) == 200)
        self.assertTrue(all(answers))
        found = await broker.get(self.results, 300)
        self.assertEqual(sorted(taken.body for taken in found), sorted(taker.bodies))
        self.assertEqual(len(await broker.get(self.failure, 300)), 200)

    async def test_queues_named_by_jobs(self) -> None:
        """A queue that a job names is made; one of other arguments is used as it is; an impossible name hinders
        nothing."""
        broker = await self.ready()
        await self.declare(broker, f"{self.prefix}.other", **{"x-max-priority": 3})
        names = [f"{self.prefix}.é", f"{self.prefix}.other", "n" * 300, "", self.results]
        await self.put(broker, b"job")
        (taken,) = await broker.get(self.outbox, 1)
        answers: list[bool] = []
        taken.settle([Publication(name, b"r") for name in names], answers.append)
        await self.until(lambda: answers)
        self.assertEqual(answers, [True])
        for name in (names[0], names[1], names[4]):
            self.assertEqual([taken.body for taken in await broker.get(name, 5)], [b"r"])
        self.assertTrue(self.flushLoggedErrors() == [])

    async def test_missing_and_not_to_be_declared(self) -> None:
        """With ``declare: false`` a job is kept until its result queue is there; a bare publication is refused."""
        helper = await self.ready()
        await self.put(helper, b"job")
        await self.delete(helper, self.results)
        broker = await self.ready(declare=False)
        (taken,) = await broker.get(self.outbox, 1)
        answers: list[bool] = []
        refused: list[bool] = []
        taken.settle([Publication(self.results, b"r")], answers.append)
        broker.publish([Publication(self.results, b"r")], refused.append)
        await self.until(lambda: refused)
        self.assertEqual((answers, refused), ([], [False]))
        await self.declare(helper, self.results)
        await self.until(lambda: answers)
        self.assertEqual(answers, [True])
        self.assertEqual(len(await broker.get(self.results, 5)), 1)

    async def test_outbox_missing_and_not_to_be_declared(self) -> None:
        """With ``declare: false`` a missing outbox is waited for."""
        self.patch(__import__("mailerq.queues.amqp_consumer", fromlist=["x"]), "PAUSE", 0.2)
        broker = await self.ready(declare=False)
        taker = Taker()
        broker.consume(self.outbox, taker, 5)
        await self.sleep(0.3)
        helper = await self.ready()
        await self.put(helper, b"1")
        await self.until(lambda: taker.bodies == [b"1"])

    async def test_full_queue(self) -> None:
        """A publication that a full queue rejects (basic.nack) is tried again until it is taken."""
        broker = await self.ready()
        full = f"{self.prefix}.full"
        await self.declare(broker, full, **{"x-max-length": 1, "x-overflow": "reject-publish"})
        await self.put(broker, b"first", queue=full)
        await self.put(broker, b"job")
        (taken,) = await broker.get(self.outbox, 1)
        answers: list[bool] = []
        taken.settle([Publication(full, b"second")], answers.append)
        await self.sleep(0.3)
        self.assertEqual(answers, [])
        (first,) = await broker.get(full, 1)
        first.settle([])
        await self.until(lambda: answers)
        self.assertEqual(answers, [True])

    async def test_memory_alarm(self) -> None:
        """While the broker takes no publications no job is taken; nothing is lost, and it goes on by itself."""
        broker = await self.ready()
        helper = await self.ready()
        taker = Taker()
        broker.consume(self.outbox, taker, 10)
        await self.put(broker, b"1")
        await self.until(lambda: taker.jobs)
        await self.ctl("set_vm_memory_high_watermark", "0.0000001")
        answers: list[bool] = []
        try:
            taker.jobs[0].settle([Publication(self.results, b"r1")], answers.append)
            broker.publish([Publication(self.results, b"r2")], answers.append)
            await self.until(lambda: broker._session and broker._session.link.is_blocked)
            helper.publish([Publication(self.outbox, b"2")], answers.append)
            self.assertTrue(broker.connected)
        finally:
            await self.ctl("set_vm_memory_high_watermark", "0.4")
        await self.until(lambda: len(answers) == 3)
        self.assertEqual(answers, [True] * 3)
        await self.until(lambda: taker.bodies == [b"1", b"2"])
        self.assertEqual(taker.reasons, [])

    async def test_stop_while_alarmed(self) -> None:
        """A broker that reads nothing does not keep us from stopping."""
        self.patch(__import__("mailerq.queues.amqp", fromlist=["x"]), "QUIT_DEADLINE", 0.5)
        broker = await self.ready()
        answers: list[bool] = []
        await self.ctl("set_vm_memory_high_watermark", "0.0000001")
        try:
            broker.publish([Publication(self.results, b"r")], answers.append)
            await self.until(lambda: broker._session and broker._session.link.is_blocked)
            await broker.stopService()
            self.assertEqual(answers, [False])
        finally:
            await self.ctl("set_vm_memory_high_watermark", "0.4")

    async def test_vhost_gone(self) -> None:
        """A vhost that vanishes once all worked is waited for."""
        await self.ctl("add_vhost", self.prefix)
        await self.ctl("set_permissions", "-p", self.prefix, "guest", ".*", ".*", ".*")
        broker = await self.ready(url=self.rabbit.url(vhost=self.prefix))
        taker = Taker()
        broker.consume(self.outbox, taker, 10)
        await self.ctl("delete_vhost", self.prefix)
        await self.until(lambda: taker.reasons and not broker.connected)
        await self.ctl("add_vhost", self.prefix)
        await self.ctl("set_permissions", "-p", self.prefix, "guest", ".*", ".*", ".*")
        await broker.ready()
        await self.put(broker, b"1")
        await self.until(lambda: taker.bodies == [b"1"])


class StartTests(RabbitTest):
    """What is refused, and what is not."""

    async def refusal(self, **more: Any) -> str:
        """Why the broker refuses."""
        broker = self.broker(**more)
        broker.startService()
        failure = await self.assertFailure(broker.ready(), BrokerRefused)
        self.assertFalse(broker.connected)
        return str(failure)

    async def test_wrong_password(self) -> None:
        """Said at once, without the password."""
        text = await self.refusal(url=self.rabbit.url(password="s3cret"))
        self.assertIn("guest", text)
        self.assertIn("ACCESS_REFUSED", text)
        self.assertNotIn("s3cret", text)

    async def test_wrong_vhost(self) -> None:
        """The vhost is named."""
        self.assertIn("no/where", await self.refusal(url=self.rabbit.url(vhost="no/where")))

    async def test_other_arguments(self) -> None:
        """The queue and the difference are named; with ``declare: false`` it is used as it is."""
        helper = await self.ready(outbox=f"{self.prefix}.x", inbox=None)
        await self.declare(helper, self.outbox, **{"x-max-priority": 5})
        text = await self.refusal()
        self.assertIn(self.outbox, text)
        self.assertIn("x-max-priority", text)
        broker = await self.ready(declare=False)
        await self.put(broker, b"1")
        self.assertEqual([taken.body for taken in await broker.get(self.outbox, 1)], [b"1"])

    async def test_cluster(self) -> None:
        """Of several addresses the one that can be reached is used."""
        broker = await self.ready(url=("amqp://127.0.0.1:1/", "amqp://nobody.invalid/", self.rabbit.url()))
        self.assertTrue(broker.connected)

    async def test_tls(self) -> None:
        """With the right CA and name all is well."""
        broker = await self.ready(url=self.rabbit.url(tls=True), ca=self.rabbit.ca)
        await self.put(broker, *(b"x" * 300_000 for _ in range(5)))
        self.assertEqual(len(await broker.get(self.outbox, 10)), 5)

    async def test_tls_not_verified(self) -> None:
        """A name that is not in the certificate, or a CA nobody knows: never connected, tried on."""
        for more in ({"url": self.rabbit.url(tls=True, host="127.0.0.1"), "ca": self.rabbit.ca}, {"ca": None}):
            broker = self.broker(**{"url": self.rabbit.url(tls=True), **more})
            broker.startService()
            await self.until(lambda broker=broker: broker._failures >= 2)
            self.assertFalse(broker.connected or broker._worked or broker._refused)

    async def test_bad_ca_file(self) -> None:
        """A CA file that is none is said at once."""
        self.assertIn("/no/such", await self.refusal(url=self.rabbit.url(tls=True), ca="/no/such"))


class DelayTests(RabbitTest):
    """The way over the delay queues."""

    async def legs(self, **queues: Any) -> None:
        """Several legs, and all that belongs to the message arrives, in time."""
        quick(self)
        broker = await self.ready(**queues)
        taker = Taker()
        broker.consume(self.outbox, taker, 10)
        due = self.clock.seconds() + 75  # 30s, 30s, 5s, 5s, and the rest is held by the taker
        more = {"message_id": "m", "encoding": "gzip", "priority": 2, "headers": {"a": "b"}}
        await self.put(broker, b"late", due=due, **more)
        await self.put(broker, b"later", due=due + 4000)
        await self.put(broker, b"soon", due=self.clock.seconds() + 4)
        await self.until(lambda: taker.bodies == [b"soon"])
        (state,) = await broker.states([self.outbox])
        self.assertEqual((state.ready, state.waiting), (0, 2))
        await self.until(lambda: len(taker.jobs) == 2)
        self.assertLess(abs(self.clock.seconds() - due), 10)
        properties = taker.jobs[1].properties()  # type: ignore[attr-defined]
        self.assertEqual(
            (properties["message_id"], properties["content_encoding"], properties["priority"]), ("m", "gzip", 2)
        )
        self.assertEqual(properties["headers"]["a"], "b")
        self.assertEqual(len(properties["headers"].get("x-death", [0])), 1)
        assert broker._session is not None
        await self.until(lambda: not broker._session.under_way)

    async def test_classic(self) -> None:
        """Classic queues."""
        await self.legs()

    async def test_quorum(self) -> None:
        """Quorum queues, dead-lettered at least once."""
        await self.legs(type="quorum")
