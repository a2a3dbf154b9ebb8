"""AmqpBroker against a broker that is played in memory, on a ``Clock``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailerq.interfaces import BrokerRefused, Publication
from mailerq.queues import delays, frames, methods, tables
from mailerq.queues.amqp import AmqpBroker
from mailerq.queues.amqp_link import specification
from mailerq.queues.amqp_url import parse_address
from tests.contracts import Taker

ROOT = str(Path(__file__).parent.parent)


class Wire:
    """The transport of one connection, and the broker at its other end.

    It answers every method that has an answer, but for those in ``silent``; ``refuse`` maps a queue to the code and
    text with which its declaration is refused. ``piece``: bytes go to the client in pieces of that size.
    """

    disconnecting = False

    def __init__(self, clock: Clock, protocol: Any, rules: SimpleNamespace) -> None:
        self.clock = clock
        self.protocol = protocol
        self.rules = rules
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.published: list[tuple[str, dict[str, Any], bytes]] = []
        self.writes: list[bytes] = []
        self.channels: set[int] = set()
        self.confirmed = 0
        self.producer: Any = None
        self.lost = False
        self.aborted = False
        self._buffer = b""
        self._message: Any = None

    # -- what a transport does

    def write(self, raw: bytes) -> None:
        """The client speaks; it is answered in another turn."""
        self.writes.append(raw)
        self._buffer += raw
        if not self.rules.deaf:
            self.clock.callLater(0, self._read)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.clock.callLater(0, self.lose, ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self.clock.callLater(0, self.lose, ConnectionLost())

    def lose(self, reason: Exception) -> None:
        """The connection ends."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason))

    # -- what a broker does

    def _read(self) -> None:
        if self._buffer.startswith(b"AMQP"):
            assert self._buffer[:8] == b"AMQP\x00\x00\x09\x01"
            self._buffer = self._buffer[8:]
            self.say(0, "connection.start", 0, 9, {"product": "RabbitMQ"}, "AMQPLAIN PLAIN", "en_US")
        while len(self._buffer) >= 8:
            kind, channel = self._buffer[0], int.from_bytes(self._buffer[1:3], "big")
            end = 7 + int.from_bytes(self._buffer[3:7], "big")
            assert self._buffer[end] == 0xCE
            payload, self._buffer = self._buffer[7:end], self._buffer[end + 1 :]
            self._frame(kind, channel, payload)

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == frames.HEARTBEAT:
            self.heard.append(("heartbeat", {}))
        elif kind == frames.HEADER:
            self._message[1:] = [methods.decode_properties(payload[12:]), int.from_bytes(payload[4:12], "big"), b""]
        elif kind == frames.BODY:
            self._message[3] += payload
        else:
            method = (
                specification()
                .classes.byid[int.from_bytes(payload[:2], "big")]
                .methods.byid[int.from_bytes(payload[2:4], "big")]
            )
            values = methods.decode_arguments([field.type for field in method.fields], payload)
            self._method(
                channel, f"{method.klass.name}.{method.name}", dict(zip(method.fields.byname, values, strict=True))
            )
        if self._message is not None and len(self._message) == 4 and len(self._message[3]) == self._message[2]:
            queue, properties, _, body = self._message
            self._message = None
            self.published.append((queue, properties, body))

    def _method(self, channel: int, name: str, fields: dict[str, Any]) -> None:
        self.heard.append((name, fields))
        self.channels.add(channel)
        if name == "basic.publish":
            assert fields["mandatory"]
            self._message = [fields["routing-key"]]
        if name in self.rules.silent:
            return
        refused = self.rules.refuse.get(fields.get("queue", fields.get("virtual-host")))
        if name in ("queue.declare", "connection.open") and refused:
            self.say(channel, "channel.close" if channel else "connection.close", *refused, 50, 10)
            return
        answers: dict[str, Callable[[], Any]] = {
            "connection.start-ok": lambda: self.say(
                0, "connection.tune", 2047, self.rules.frame_max, self.rules.heartbeat
            ),
            "connection.open": lambda: self.say(0, "connection.open-ok", ""),
            "connection.close": lambda: self.say(0, "connection.close-ok"),
            "channel.open": lambda: self.say(channel, "channel.open-ok", ""),
            "channel.close": lambda: self.say(channel, "channel.close-ok"),
            "confirm.select": lambda: self.say(channel, "confirm.select-ok"),
            "queue.declare": lambda: self.say(channel, "queue.declare-ok", fields["queue"], 3, 0),
            "basic.qos": lambda: self.say(channel, "basic.qos-ok"),
            "basic.consume": lambda: self.say(channel, "basic.consume-ok", fields["consumer-tag"]),
            "basic.cancel": lambda: self.say(channel, "basic.cancel-ok", fields["consumer-tag"]),
            "basic.get": lambda: self.say(channel, "basic.get-empty", ""),
        }
        if name in answers:
            answers[name]()

    def say(self, channel: int, name: str, *values: Any, message: tuple[dict[str, Any], bytes] | None = None) -> None:
        """The broker says something."""
        klass, method = name.split(".")
        known = specification().classes.byname[klass].methods.byname[method]
        raw = methods.encode_method(channel, (known.klass.id, known.id), [field.type for field in known.fields], values)
        if message is not None:
            raw += b"".join(frames.content_frames(channel, methods.encode_properties(message[0]), message[1], 131072))
        self.raw(raw)

    def raw(self, raw: bytes) -> None:
        """Bytes to the client."""
        size = self.rules.piece or len(raw)
        for at in range(0, len(raw), size):
            if not self.lost:
                self.protocol.dataReceived(raw[at : at + size])

    def deliver(self, tag: int, body: bytes = b"{}", redelivered: bool = False, **properties: Any) -> None:
        """A message for the consumer."""
        self.say(1, "basic.deliver", "mailerq", tag, redelivered, "", "outbox", message=(properties, body))

    def confirm(self, tag: int, multiple: bool = False) -> None:
        """A publication is safe."""
        self.say(1, "basic.ack", tag, multiple)

    def names(self, *names: str) -> list[dict[str, Any]]:
        """What was heard under these names."""
        return [fields for name, fields in self.heard if name in names]

    @property
    def acks(self) -> list[tuple[int, bool]]:
        """The acknowledgements."""
        return [(fields["delivery-tag"], fields["multiple"]) for fields in self.names("basic.ack")]


class BrokerCase(SynchronousTestCase):
    """A broker on a clock."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.rules = SimpleNamespace(
            silent=set(), refuse={}, frame_max=131072, heartbeat=60, piece=0, deaf=False, connect=None
        )
        self.wires: list[Wire] = []
        self.attempts: list[tuple[float, str]] = []
        self.taker = Taker()
        self.answers: list[bool] = []
        self.events: list[str] = []

    def make(
        self, addresses: tuple[str, ...] = ("amqp://u:s3cret@one/",), heartbeat: float = 30, **queues: Any
    ) -> AmqpBroker:
        """A broker that is not started."""
        known: dict[str, Any] = {
            "outbox": "outbox", "inbox": "outbox", "results": "results", "success": None, "failure": None,
            "retry": None, "invalid": None, "dsn": None, "type": "classic", "declare": True, "durable": True,
            "persistent": True, "max_priority": None, "max_unconfirmed": 500,
        }  # fmt: skip
        settings = SimpleNamespace(
            broker=SimpleNamespace(addresses=addresses, ca=None, heartbeat=heartbeat),
            queues=SimpleNamespace(**{**known, **queues}),
        )
        self.broker = AmqpBroker(self.clock, settings, Random(1), lambda _, address, __: self._endpoint(address))
        return self.broker

    def _endpoint(self, address: Any) -> Any:
        self.attempts.append((self.clock.seconds(), address.host))

        def connect(factory: Any) -> Deferred[Any]:
            if self.rules.connect is not None:
                return fail(self.rules.connect)
            protocol = factory.buildProtocol(None)
            wire = Wire(self.clock, protocol, self.rules)
            self.wires.append(wire)
            protocol.makeConnection(wire)
            return succeed(protocol)

        return SimpleNamespace(connect=connect)

    def turns(self, count: int = 200) -> None:
        """Let the reactor turn without time passing."""
        for _ in range(count):
            self.clock.advance(0)

    def run_until_ready(self, window: int = 100, **more: Any) -> Wire:
        """A started broker, consuming."""
        self.make(**more)
        self.broker.consume("outbox", self.taker, window)
        self.broker.startService()
        self.turns()
        assert self.broker.connected
        return self.wires[-1]

    def settle(self, index: int, *bodies: bytes, queue: str = "results", **more: Any) -> None:
        """Settle what was taken with these results."""
        self.taker.jobs[index].settle([Publication(queue, body, **more) for body in bodies], self.answers.append)


class LoginTests(BrokerCase):
    """From the first byte to the consumer."""

    def test_says_what_it_can(self) -> None:
        """Capabilities are told, so that confirms, cancellations and blocking are told to us."""
        wire = self.run_until_ready()
        (start,) = wire.names("connection.start-ok")
        self.assertEqual(start["response"], b"\0u\0s3cret")
        self.assertTrue(all(start["client-properties"]["capabilities"].values()))
        self.assertIn("consumer_cancel_notify", start["client-properties"]["capabilities"])

    def test_order(self) -> None:
        """Confirms first, then the queues, then the window, then the consumer."""
        wire = self.run_until_ready(window=7)
        names = [name for name, _ in wire.heard]
        order = [names.index(name) for name in ("confirm.select", "queue.declare", "basic.qos", "basic.consume")]
        self.assertEqual(order, sorted(order))
        self.assertEqual(wire.names("basic.qos")[0]["prefetch-count"], 7)
        self.assertFalse(wire.names("basic.qos")[0]["global"])
        self.assertEqual([one["queue"] for one in wire.names("queue.declare")], ["outbox", "results"])

    def test_every_piece_size(self) -> None:
        """However the broker's bytes are cut, the login works and the jobs come."""
        for size in (1, 2, 3, 5, 7, 11, 64):
            self.setUp()
            self.rules.piece = size
            wire = self.run_until_ready()
            wire.deliver(1, "Jérôme".encode())
            self.assertEqual(self.taker.bodies, ["Jérôme".encode()])

    def test_refused_first(self) -> None:
        """A wrong password is refused at the first start: nothing more is tried, and the password is not told."""
        self.rules.refuse["/"] = (403, "ACCESS_REFUSED")
        self.make().startService()
        ready = self.broker.ready()
        self.turns()
        problem = self.failureResultOf(ready, BrokerRefused).value
        self.assertNotIn("s3cret", str(problem) + repr(self.broker._addresses))
        self.clock.advance(1000)
        self.assertEqual(len(self.attempts), 1)
        self.failureResultOf(self.broker.ready(), BrokerRefused)

    def test_refused_later(self) -> None:
        """Once it has worked, a refusal is only another reason to try again."""
        wire = self.run_until_ready()
        self.rules.refuse["/"] = (530, "NOT_ALLOWED - vhost / not found")
        wire.lose(ConnectionDone())
        for _ in range(20):
            self.clock.advance(5)
            self.turns(20)
        self.assertGreater(len(self.attempts), 3)
        self.rules.refuse.clear()
        self.clock.pump([30] + [0] * 200)
        self.assertTrue(self.broker.connected)

    def test_connection_limit(self) -> None:
        """A limit on connections is not final."""
        self.rules.refuse["/"] = (530, "NOT_ALLOWED - access to vhost refused: connection limit (1) is reached")
        self.make().startService()
        self.turns()
        ready = self.broker.ready()
        self.rules.refuse.clear()
        self.clock.pump([30] + [0] * 200)
        self.successResultOf(ready)

    def test_queue_of_other_arguments(self) -> None:
        """The queue and the difference are named."""
        self.rules.refuse["results"] = (406, "PRECONDITION_FAILED - inequivalent arg 'x-max-priority'")
        self.make().startService()
        ready = self.broker.ready()
        self.turns()
        text = str(self.failureResultOf(ready, BrokerRefused).value)
        self.assertIn("'results'", text)
        self.assertIn("x-max-priority", text)

    def test_quorum_arguments(self) -> None:
        """Queues and delay queues of the quorum type."""
        wire = self.run_until_ready(type="quorum", durable=False)
        wire.deliver(1)
        self.settle(0, b"r", queue="outbox", due=self.clock.seconds() + 40)
        self.turns()
        first, *_, delay = wire.names("queue.declare")
        self.assertEqual((first["arguments"], first["durable"]), ({"x-queue-type": "quorum"}, True))
        self.assertEqual(
            (delay["queue"], delay["arguments"]),
            (
                "outbox.delay.30s",
                {
                    "x-queue-type": "quorum", "x-message-ttl": 30000, "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": "outbox", "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
            ),
        )  # fmt: skip

    def test_bad_address(self) -> None:
        """An address that is none is refused, and the text has no password in it."""
        self.make(addresses=("amqp://u:s3/cret@host/",)).startService()
        text = str(self.failureResultOf(self.broker.ready(), BrokerRefused).value)
        self.assertNotIn("s3", text)

    def test_no_global_reactor(self) -> None:
        """Importing the module, and making a connection, installs no reactor."""
        program = (
            "import sys; from twisted.internet.task import Clock; import mailerq.queues.amqp as a;"
            "link = a.Link(Clock(), 30, a.Session(Clock(), __import__('unittest.mock').mock.Mock(), None));"
            "link._channel(1); assert 'twisted.internet.reactor' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env={**os.environ, "PYTHONPATH": ROOT})


class ReconnectTests(BrokerCase):
    """Brokers that are not there."""

    def test_for_ever_and_slower(self) -> None:
        """Tried again and again, later and later, the addresses in turn; told once."""
        told: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace", "").startswith("mailerq.queues.amqp"):
                told.append(event["log_format"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.rules.connect = ConnectionRefusedError()
        self.make(addresses=("amqp://one/", "amqp://two/")).startService()
        self.clock.pump([0.1] * 6000)
        self.assertEqual([host for _, host in self.attempts[:4]], ["one", "two", "one", "two"])
        pauses = [b[0] - a[0] for a, b in zip(self.attempts[1::2], self.attempts[2::2], strict=False)]
        self.assertLess(pauses[0], 2)
        self.assertGreater(max(pauses), 15)
        self.assertLess(max(pauses), 31)
        self.assertEqual(len(told), 1)
        self.rules.connect = None
        self.clock.pump([1] * 60)
        self.assertTrue(self.broker.connected)
        self.assertEqual(len(told), 2)

    def test_silent_broker(self) -> None:
        """A broker that takes the connection and says nothing is given up after a while."""
        self.rules.deaf = True
        self.make().startService()
        self.clock.pump([1] * 60)
        self.assertGreater(len(self.attempts), 1)
        self.assertTrue(self.wires[0].lost)

    def test_rpc_deadline(self) -> None:
        """A question that is not answered ends the connection."""
        wire = self.run_until_ready()
        self.rules.silent.add("queue.declare")
        states = self.broker.states(["outbox"])
        self.turns()
        self.clock.pump([1] * 31)
        self.failureResultOf(states)
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.taker.reasons), 1)

    def test_all_is_stale(self) -> None:
        """When the link is lost: stale first, then ``lost``, then ``done(False)``; nothing stale can be settled."""
        wire = self.run_until_ready()
        wire.deliver(1)
        wire.deliver(2)
        self.settle(0, b"r")
        self.patch(self.taker, "lost", lambda reason: self.answers.append(self.taker.jobs[1].stale))
        published: list[bool] = []
        self.broker.publish([Publication("results", b"x")], published.append)
        wire.lose(ConnectionLost())
        self.assertEqual((self.answers, published), ([True, False], [False]))
        self.settle(1, b"r")
        self.taker.jobs[1].give_back()
        self.assertEqual(self.answers, [True, False])
        self.turns(2)
        self.assertEqual(self.answers, [True, False, False])
        self.assertFalse(self.broker.connected)

    def test_comes_again(self) -> None:
        """After the reconnection the taker gets what was not settled, as a new Taken."""
        self.run_until_ready().deliver(1, b"job")
        self.wires[0].lose(ConnectionLost())
        self.clock.pump([1] + [0] * 100)
        self.wires[1].deliver(1, b"job", redelivered=True)
        self.assertEqual([(one.stale, one.redelivered) for one in self.taker.jobs], [(True, False), (False, True)])

    def test_channel_closed(self) -> None:
        """An error on the main channel is a lost link."""
        wire = self.run_until_ready()
        wire.say(1, "channel.close", 406, "PRECONDITION_FAILED - delivery acknowledgement timed out", 0, 0)
        self.turns()
        self.assertEqual(len(self.taker.reasons), 1)
        self.assertIn("timed out", self.taker.reasons[0])
        self.clock.pump([1] + [0] * 100)
        self.assertTrue(self.broker.connected)

    def test_nonsense(self) -> None:
        """Whatever the broker sends, the worst that happens is a reconnection."""
        cut_off = methods.encode_method(1, (60, 50), ("short", "shortstr"), (1, "x"))
        nonsense = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            methods.encode_method(1, (60, 99), (), ()),
            methods.encode_method(1, (77, 1), (), ()),
            methods.encode_method(1, (50, 11), ("shortstr", "long", "long"), ("q", 1, 1)),
            methods.encode_method(0, (10, 10), ("octet",), (0,)),
            b"\x03\x00\x01\x00\x00\x00\x01x\xce",
            b"\x01\x00\x01\x00\x00\x00\x00\xce",
            b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\xce",
            cut_off + b"".join(frames.content_frames(1, b"\0\0", b"a", 0)),
        ]  # fmt: skip
        for raw in nonsense:
            self.setUp()
            wire = self.run_until_ready()
            wire.raw(raw)
            self.turns()
            self.assertEqual(len(self.taker.reasons), 1, raw)
            self.clock.pump([1] + [0] * 100)
            self.assertTrue(self.broker.connected, raw)
            self.flushLoggedErrors()

    def test_late_answers(self) -> None:
        """Methods on a channel that is closed already are passed over."""
        wire = self.run_until_ready()
        wire.say(9, "queue.declare-ok", "q", 1, 1)
        self.assertEqual(self.taker.reasons, [])


class HeartbeatTests(BrokerCase):
    """Is anybody there?"""

    def test_negotiated(self) -> None:
        """The smaller wish counts; 0 is none."""
        for ours, theirs, result in ((30, 60, 30), (30, 10, 10), (0, 10, 10), (30, 0, 30), (0, 0, 0)):
            self.setUp()
            self.rules.heartbeat = theirs
            wire = self.run_until_ready(heartbeat=ours)
            self.assertEqual(wire.names("connection.tune-ok")[0]["heartbeat"], result)

    def test_sent_and_missed(self) -> None:
        """Beats go out while we say nothing; a broker silent for two intervals is given up."""
        wire = self.run_until_ready(heartbeat=10)
        for _ in range(20):
            self.clock.advance(1)
            wire.raw(frames.HEARTBEAT_FRAME)
        self.turns()
        self.assertGreaterEqual(len(wire.names("heartbeat")), 2)
        self.assertFalse(wire.lost)
        self.clock.pump([1] * 25)
        self.assertTrue(wire.aborted)
        self.assertIn("20 seconds", self.taker.reasons[0])


class SettleTests(BrokerCase):
    """Publish, confirmed, acknowledge."""

    def test_order(self) -> None:
        """The acknowledgement goes out when the last publication is confirmed, then ``done(True)`` comes."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0, b"a", b"b", message_id="m")
        self.turns()
        self.assertEqual([(queue, body) for queue, _, body in wire.published], [("results", b"a"), ("results", b"b")])
        self.assertEqual(
            wire.published[0][1], {"content_type": "application/json", "delivery_mode": 2, "message_id": "m"}
        )
        wire.confirm(2)
        self.turns()
        self.assertEqual((wire.acks, self.answers), ([], []))
        wire.confirm(1)
        self.turns()
        self.assertEqual((wire.acks, self.answers), ([(1, True)], [True]))

    def test_properties(self) -> None:
        """Headers, priority, encoding; not persistent; odd headers hinder nothing."""
        wire = self.run_until_ready(persistent=False)
        headers = {"a": "é", "n": 2**40, "huge": 2**70}
        self.broker.publish(
            [Publication("results", b"x", headers=headers, priority=300, encoding="gzip")], self.answers.append
        )
        self.turns()
        properties = wire.published[0][1]
        self.assertEqual(
            (properties["delivery_mode"], properties["priority"], properties["content_encoding"]), (1, 255, "gzip")
        )
        self.assertEqual(properties["headers"]["a"], "é")
        self.assertNotIn("message_id", properties)

    def test_one_write_a_turn(self) -> None:
        """All that is settled in one turn goes out in one write."""
        wire = self.run_until_ready()
        for tag in range(1, 51):
            wire.deliver(tag)
        self.turns()
        wire.writes.clear()
        for index in range(50):
            self.settle(index, b"r")
        self.turns(3)
        self.assertEqual(len(wire.writes), 1)
        self.turns()
        wire.writes.clear()
        wire.confirm(50, True)
        self.turns()
        self.assertEqual((len(wire.writes), wire.acks), (1, [(50, True)]))

    def test_gaps(self) -> None:
        """Up to the oldest in hand one acknowledgement is enough; above it each has its own, and none is held back."""
        wire = self.run_until_ready()
        for tag in range(1, 7):
            wire.deliver(tag)
        for index in (0, 1, 3, 5):
            self.settle(index)
        self.turns()
        self.assertEqual(sorted(wire.acks), [(2, True), (4, False), (6, False)])
        self.settle(2)
        self.turns()
        self.assertEqual(wire.acks[3:], [(3, True)])
        self.settle(4)
        self.turns()
        self.assertEqual(wire.acks[4:], [(5, True)])
        self.assertEqual(self.answers, [True] * 6)

    def test_max_unconfirmed(self) -> None:
        """No more than allowed are unconfirmed; the rest follows in order."""
        wire = self.run_until_ready(max_unconfirmed=3)
        self.broker.publish([Publication("results", b"%d" % n) for n in range(10)], self.answers.append)
        self.turns()
        self.assertEqual(len(wire.published), 3)
        for tag in range(1, 11):
            wire.confirm(tag)
            self.turns(3)
            self.assertEqual(len(wire.published), min(3 + tag, 10))
        self.assertEqual([body for _, _, body in wire.published], [b"%d" % n for n in range(10)])
        self.assertEqual(self.answers, [True])

    def test_large_bodies(self) -> None:
        """A body beyond frame_max goes out in several frames."""
        self.rules.frame_max = 4096
        wire = self.run_until_ready()
        body = bytes(range(256)) * 1000
        self.broker.publish([Publication("results", body)], self.answers.append)
        self.turns()
        self.assertEqual(wire.published[0][2], body)

    def test_refused_publication(self) -> None:
        """basic.nack: tried again, later."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0, b"r")
        self.turns()
        wire.say(1, "basic.nack", 1, False, False)
        self.turns()
        self.assertEqual(len(wire.published), 1)
        self.clock.pump([1, 0, 0])
        self.assertEqual(len(wire.published), 2)
        wire.confirm(2)
        self.turns()
        self.assertEqual((wire.acks, self.answers), ([(1, True)], [True]))

    def test_returned(self) -> None:
        """Returned and then confirmed: the queue is declared and it is published again; the one before it, to the same
        queue, was safe."""
        wire = self.run_until_ready()
        wire.deliver(1)
        wire.deliver(2)
        self.settle(0, b"safe")
        self.settle(1, b"homeless")
        self.turns()
        declared = len(wire.names("queue.declare"))
        wire.say(1, "basic.return", 312, "NO_ROUTE", "", "results", message=(wire.published[1][1], b"homeless"))
        wire.confirm(2, True)
        self.turns()
        self.assertEqual(self.answers, [True])
        self.assertEqual(len(wire.names("queue.declare")), declared + 1)
        self.assertEqual([body for _, _, body in wire.published], [b"safe", b"homeless", b"homeless"])
        wire.confirm(3)
        self.turns()
        self.assertEqual((self.answers, wire.acks), ([True, True], [(1, True), (2, True)]))

    def test_settled_twice(self) -> None:
        """A second settlement is none."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0)
        self.settle(0, b"x")
        self.turns()
        self.assertEqual((sorted(self.answers), wire.acks, wire.published), ([False, True], [(1, True)], []))

    def test_callbacks_that_fail(self) -> None:
        """A taker or a ``done`` that raises is logged, and hinders nobody else."""
        wire = self.run_until_ready()
        self.patch(self.taker, "taken", lambda taken: 1 / 0)
        wire.deliver(1)
        self.broker.publish([Publication("results", b"x")], lambda _: print(1 / 0))
        self.turns()
        wire.confirm(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.taker.reasons, [])

    def test_text_that_json_allows(self) -> None:
        """Lone surrogates in a header, an id or a queue name neither raise nor keep the job."""
        wire = self.run_until_ready()
        wire.deliver(1)
        odd = "\ud83d"
        self.taker.jobs[0].settle(
            [Publication("results", b"r", headers={"reason": odd}, message_id=odd), Publication(odd, b"x")],
            self.answers.append,
        )
        self.turns()
        self.assertEqual([properties["headers"] for _, properties, _ in wire.published], [{"reason": "?"}])
        wire.confirm(1)
        self.turns()
        self.assertEqual(self.answers, [True])

    def test_only_for_an_impossible_queue(self) -> None:
        """Even then ``done`` does not come before ``settle`` has returned."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0, b"r", queue="")
        self.assertEqual(self.answers, [])
        self.turns()
        self.assertEqual((self.answers, wire.acks), ([True], [(1, True)]))

    def test_many_queues_of_jobs(self) -> None:
        """Queues are declared a few at a time."""
        wire = self.run_until_ready()
        self.broker.publish([Publication(f"q{n}", b"") for n in range(300)], self.answers.append)
        self.turns(2000)
        self.assertEqual(len(wire.published), 300)
        self.assertLess(max(wire.channels), 20)

    def test_queue_that_cannot_be(self) -> None:
        """A job is kept for a queue that we may not declare; a bare publication is refused after a while."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.rules.refuse["theirs"] = (403, "ACCESS_REFUSED")
        self.settle(0, b"r", queue="theirs")
        refused: list[bool] = []
        self.broker.publish([Publication("theirs", b"bare")], refused.append)
        for _ in range(200):
            for number, (_, properties, body) in list(enumerate(wire.published, 1))[wire.confirmed :]:
                wire.say(1, "basic.return", 312, "NO_ROUTE", "", "theirs", message=(properties, body))
                wire.confirm(number)
                wire.confirmed = number
            self.clock.pump([1] + [0] * 20)
            wire.raw(frames.HEARTBEAT_FRAME)
        self.assertEqual((self.answers, refused), ([], [False]))
        self.assertLess(len(wire.published), 30)
        self.assertTrue(self.broker.connected)

    def test_queue_of_a_job(self) -> None:
        """A queue nobody has seen is declared once, before the first publication to it; order is kept."""
        wire = self.run_until_ready()
        self.broker.publish([Publication("new", b"%d" % n) for n in range(3)], self.answers.append)
        self.turns()
        self.assertEqual([one["queue"] for one in wire.names("queue.declare")].count("new"), 1)
        self.assertEqual([body for _, _, body in wire.published], [b"0", b"1", b"2"])


class ChanceTests(BrokerCase):
    """Any order of events."""

    def test_never_acknowledged_too_early(self) -> None:
        """Whatever the broker confirms, refuses or returns, in whatever order: a job is acknowledged once, and only
        when all its results lie in queues that exist; no other job is acknowledged with it; at the end all are."""
        for seed in range(60):
            self.setUp()
            self._play(Random(seed))

    def _play(self, dice: Random) -> None:
        wire = self.run_until_ready(max_unconfirmed=dice.choice([1, 3, 20]))
        jobs = dice.randint(1, 25)
        wanted = {tag: {b"%d.%d" % (tag, n) for n in range(dice.randint(0, 3))} for tag in range(1, jobs + 1)}
        safe: set[bytes] = set()
        open_tags: list[int] = []
        to_deliver, to_settle, acked, seen = list(wanted), list(wanted), set(), 0
        for _ in range(3000):
            step = dice.random()
            if to_deliver and step < 0.3:
                wire.deliver(to_deliver.pop(0))
            elif to_settle and step < 0.6:
                index = dice.randrange(len(self.taker.jobs) or 1)
                if index < len(self.taker.jobs) and index + 1 in to_settle:
                    to_settle.remove(index + 1)
                    self.settle(index, *sorted(wanted[index + 1]))
            elif open_tags:
                self._answer(wire, dice, open_tags, safe)
            self.clock.advance(dice.choice([0, 0, 0, 0.01]))
            open_tags += range(seen + 1, len(wire.published) + 1)
            seen = len(wire.published)
            acked = self._check(wire, wanted, safe)
            if len(acked) == jobs and len(self.answers) == jobs:
                break
            if not (to_deliver or to_settle or open_tags):
                self.clock.advance(3)
                wire.raw(frames.HEARTBEAT_FRAME)
        self.assertEqual(acked, set(wanted))
        self.assertEqual(self.answers, [True] * jobs)
        self.assertEqual(self.taker.reasons, [])

    def _answer(self, wire: Wire, dice: Random, open_tags: list[int], safe: set[bytes]) -> None:
        """The broker answers one publication, or all up to it."""
        fate = dice.random()
        tag = dice.choice(open_tags)
        if fate < 0.15:
            wire.say(1, "basic.nack", tag, False, False)
            open_tags.remove(tag)
            return
        if fate < 0.3:
            queue, properties, body = wire.published[tag - 1]
            wire.say(1, "basic.return", 312, "NO_ROUTE", "", queue, message=(properties, body))
            wire.confirm(tag)
            open_tags.remove(tag)
            return
        multiple = fate > 0.7
        tags = [one for one in open_tags if one <= tag] if multiple else [tag]
        for one in tags:
            safe.add(wire.published[one - 1][2])
            open_tags.remove(one)
        wire.confirm(tag, multiple)

    def _check(self, wire: Wire, wanted: dict[int, set[bytes]], safe: set[bytes]) -> set[int]:
        """The jobs that are acknowledged."""
        acked: set[int] = set()
        for tag, multiple in wire.acks:
            self.assertNotIn(tag, acked)
            acked |= set(range(1, tag + 1)) if multiple else {tag}
        for tag in acked:
            self.assertLessEqual(wanted[tag], safe)
        return acked


class FlowTests(BrokerCase):
    """Pausing, blocking, pressure, draining, stopping."""

    def test_blocked(self) -> None:
        """While the broker blocks us nothing is published and no job is given; then all goes on in order."""
        wire = self.run_until_ready()
        wire.deliver(1)
        wire.say(0, "connection.blocked", "low on memory")
        self.settle(0, b"r")
        wire.deliver(2, b"two")
        self.turns()
        self.assertEqual((len(self.taker.jobs), wire.published), (1, []))
        wire.say(0, "connection.unblocked")
        self.turns()
        self.assertEqual((self.taker.bodies[1:], len(wire.published)), ([b"two"], 1))

    def test_deadline_while_blocked(self) -> None:
        """A question that a blocked broker does not read fails alone; its late answer disturbs nothing."""
        wire = self.run_until_ready()
        self.rules.silent.add("channel.open")
        wire.say(0, "connection.blocked", "low on disk")
        states = self.broker.states(["outbox"])
        self.turns()
        for _ in range(31):
            self.clock.advance(1)
            wire.raw(frames.HEARTBEAT_FRAME)
        self.failureResultOf(states)
        wire.say(2, "channel.open-ok", "")
        self.assertFalse(wire.aborted)
        self.assertTrue(self.broker.connected)

    def test_pressure(self) -> None:
        """A transport with enough to write gets no more publications until it is free."""
        wire = self.run_until_ready()
        wire.producer.pauseProducing()
        self.broker.publish([Publication("results", b"r")], self.answers.append)
        self.turns()
        self.assertEqual(wire.published, [])
        wire.producer.resumeProducing()
        self.turns()
        self.assertEqual(len(wire.published), 1)

    def test_pause(self) -> None:
        """What was on its way to us when the consumer was cancelled goes back to the queue."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.broker.pause()
        wire.deliver(2)
        self.turns()
        self.assertEqual(len(self.taker.jobs), 1)
        self.assertEqual([one["delivery-tag"] for one in wire.names("basic.reject")], [2])
        self.broker.resume()
        self.turns()
        self.assertEqual(len(wire.names("basic.consume")), 2)
        wire.deliver(3)
        self.assertEqual(len(self.taker.jobs), 2)

    def test_pause_outlives_the_connection(self) -> None:
        """Paused stays paused after a reconnection."""
        wire = self.run_until_ready()
        self.broker.pause()
        self.turns()
        wire.lose(ConnectionLost())
        self.clock.pump([1] + [0] * 100)
        self.assertEqual(self.wires[1].names("basic.consume"), [])
        self.broker.resume()
        self.turns()
        self.assertEqual(len(self.wires[1].names("basic.consume")), 1)

    def test_few_at_first(self) -> None:
        """Few are asked for until their size is known; then the window, over another consumer."""
        wire = self.run_until_ready(window=1000)
        for tag in range(1, 17):
            wire.deliver(tag)
        self.turns()
        self.assertEqual([one["prefetch-count"] for one in wire.names("basic.qos")], [16, 984])
        self.assertEqual(len(wire.names("basic.cancel")), 1)
        wire.deliver(17)
        self.assertEqual(len(self.taker.jobs), 17)

    def test_bytes_in_hand(self) -> None:
        """Nothing is taken while the bodies in hand are larger than the bound; then the consumer is made anew."""
        wire = self.run_until_ready(window=1000)
        body = b"x" * (30 << 20)
        for tag in range(1, 4):
            wire.deliver(tag, body)
        self.turns()
        self.assertEqual((len(wire.names("basic.cancel")), len(wire.names("basic.consume"))), (1, 1))
        for index in range(2):
            self.settle(index)
            self.turns()
            self.assertEqual(len(wire.names("basic.consume")), 1 + index)
        self.assertEqual(wire.names("basic.qos")[-1]["prefetch-count"], 1)

    def test_consumer_cancelled(self) -> None:
        """A deleted queue is declared and consumed again."""
        wire = self.run_until_ready()
        wire.say(1, "basic.cancel", "mailerq-1", True)
        self.turns()
        self.assertEqual(len(wire.names("basic.consume")), 2)
        self.assertEqual([one["queue"] for one in wire.names("queue.declare") if not one["passive"]][-1], "outbox")

    def test_drain(self) -> None:
        """Fires after the last ``done``."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0, b"r")
        drained: list[Any] = []
        self.broker.drain().addCallback(lambda _: drained.append(list(self.answers)))
        self.turns()
        self.assertEqual(drained, [])
        wire.confirm(1)
        self.turns()
        self.assertEqual((drained, wire.acks), ([[True]], [(1, True)]))

    def test_drain_ends_with_the_link(self) -> None:
        """A lost link ends the wait."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0, b"r")
        drain = self.broker.drain()
        wire.lose(ConnectionLost())
        self.successResultOf(drain)

    def test_stop(self) -> None:
        """Acknowledgements first, then the orderly end; nothing is tried after it, no timer is left."""
        wire = self.run_until_ready()
        wire.deliver(1)
        self.settle(0)
        stopped = self.broker.stopService()
        self.turns()
        self.successResultOf(stopped)
        names = [name for name, _ in wire.heard]
        self.assertLess(names.index("basic.ack"), names.index("connection.close"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.broker.connected)

    def test_late_deliveries(self) -> None:
        """What comes while the connection is being closed is for nobody."""
        wire = self.run_until_ready()
        self.rules.silent.add("connection.close")
        stopped = self.broker.stopService()
        self.turns()
        wire.deliver(1)
        wire.say(0, "connection.unblocked")
        self.turns()
        self.assertEqual(self.taker.jobs, [])
        wire.say(0, "connection.close-ok")
        self.turns()
        self.successResultOf(stopped)

    def test_stop_deaf(self) -> None:
        """A broker that does not answer does not keep us."""
        self.run_until_ready()
        self.rules.deaf = True
        stopped = self.broker.stopService()
        self.clock.pump([1] * 8)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_connecting(self) -> None:
        """At any step of the login."""
        for turns in range(25):
            self.setUp()
            self.make().startService()
            self.turns(turns)
            stopped = self.broker.stopService()
            self.turns()
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [], turns)

    def test_stop_between_attempts(self) -> None:
        """While nobody is there."""
        self.rules.connect = ConnectionRefusedError()
        self.make().startService()
        ready = self.broker.ready()
        self.successResultOf(self.broker.stopService())
        self.failureResultOf(ready)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_get(self) -> None:
        """What lies ready, asked for in one go."""
        wire = self.run_until_ready()
        self.rules.silent.add("basic.get")
        got = self.broker.get("results", 3)
        self.turns()
        self.assertEqual(len(wire.names("basic.get")), 3)
        for tag in (1, 2):
            wire.say(1, "basic.get-ok", tag, False, "", "results", 1, message=({}, b"%d" % tag))
        wire.say(1, "basic.get-empty", "")
        self.assertEqual([taken.body for taken in self.successResultOf(got)], [b"1", b"2"])

    def test_get_given_up(self) -> None:
        """What comes after the caller has gone, or came before it went, is given back and never acknowledged."""
        wire = self.run_until_ready()
        self.rules.silent.add("basic.get")
        got = self.broker.get("results", 2)
        self.turns()
        wire.say(1, "basic.get-ok", 1, False, "", "results", 1, message=({}, b"1"))
        got.cancel()
        self.failureResultOf(got)
        wire.say(1, "basic.get-ok", 2, False, "", "results", 0, message=({}, b"2"))
        wire.deliver(3)
        self.settle(0)
        self.turns()
        self.assertEqual([one["delivery-tag"] for one in wire.names("basic.reject")], [1, 2])
        self.assertEqual([tag for tag, _ in wire.acks], [3])

    def test_not_connected(self) -> None:
        """Without a broker publishing says no, in another turn; questions fail."""
        self.make()
        self.broker.publish([Publication("results", b"x")], self.answers.append)
        self.assertEqual(self.answers, [])
        self.turns(1)
        self.assertEqual(self.answers, [False])
        self.failureResultOf(self.broker.get("outbox", 1))
        self.failureResultOf(self.broker.states(["outbox"]))


class DelayTests(BrokerCase):
    """The way to a due time."""

    def test_first_leg(self) -> None:
        """A retry in ten minutes takes the leg of ten minutes, and its due time with it."""
        wire = self.run_until_ready()
        wire.deliver(1)
        due = self.clock.seconds() + 599.9
        self.settle(0, b"again", queue="outbox", due=due)
        self.turns()
        queue, properties, _ = wire.published[0]
        self.assertEqual((queue, properties["headers"]), ("outbox.delay.10m", {"x-due": int(due * 1000)}))

    def test_next_leg(self) -> None:
        """What comes too early is published to its next leg, then acknowledged, and nobody sees it; all that belongs to
        it goes with it, but for the trace of its way and what would have it copied or refused."""
        wire = self.run_until_ready()
        due = int((self.clock.seconds() + 31) * 1000)
        headers = {"x-due": due, "x-death": [{"count": 1}], "x-first-death-queue": "q", "mine": 1, "CC": ["results"]}
        wire.deliver(1, b"body", headers=headers, message_id="m", priority=3, content_encoding="gzip", user_id="u")
        self.turns()
        self.assertEqual(self.taker.jobs, [])
        (published,) = wire.published
        self.assertEqual(
            published,
            (
                "outbox.delay.30s",
                {"headers": {"x-due": due, "mine": 1}, "message_id": "m", "priority": 3, "content_encoding": "gzip"},
                b"body",
            ),
        )
        self.assertEqual(wire.acks, [])
        wire.confirm(1)
        self.turns()
        self.assertEqual(wire.acks, [(1, True)])

    def test_last_leg(self) -> None:
        """What is due within five seconds is given to the taker, as is a message whose x-due is nonsense."""
        wire = self.run_until_ready()
        wire.deliver(1, headers={"x-due": int((self.clock.seconds() + 4.9) * 1000)})
        wire.deliver(2, headers={"x-due": "tomorrow", "x-death": [{"time": tables.Timestamp(1)}]})
        self.assertEqual(len(self.taker.jobs), 2)

    def test_legs(self) -> None:
        """The longest leg that ends in time; nothing is late by more than the slack, and no way is endless."""
        rows = ((0, None), (5, None), (5.1, "5s"), (29.5, "30s"), (100, "30s"), (3599.5, "1h"), (10**6, "6h"))
        for remaining, name in rows:
            self.assertEqual(delays.next_leg("o", remaining), name and f"o.delay.{name}", remaining)
        lengths = delays.delay_queues("o")
        for remaining in range(0, 90000, 7):
            left, count = float(remaining), 0
            while leg := delays.next_leg("o", left):
                left -= lengths[leg] / 1000
                count += 1
            self.assertGreaterEqual(left, -delays.SLACK)
            self.assertLessEqual(left, delays.HOLD)
            self.assertLess(count, 30)


class AddressTests(SynchronousTestCase):
    """URLs."""

    def test_parts(self) -> None:
        """Everything is percent-decoded; what is missing has RabbitMQ's defaults."""
        rows = {
            "amqp://us%40er:p%2Fw%3A@host:1234/v%2Fh": ("host", 1234, "us@er", "p/w:", "v/h", False),
            "amqps://host": ("host", 5671, "guest", "guest", "/", True),
            "amqp://u:p@[::1]/": ("::1", 5672, "u", "p", "/", False),
            "amqp://u:@h/%2F": ("h", 5672, "u", "", "/", False),
        }
        for url, expected in rows.items():
            address = parse_address(url)
            self.assertEqual(
                (address.host, address.port, address.user, address.password, address.vhost, address.tls), expected
            )

    def test_no_password(self) -> None:
        """Neither str nor repr has it."""
        address = parse_address("amqp://u:s3cret@h/")
        self.assertNotIn("s3cret", f"{address} {address!r}")

    def test_wrong(self) -> None:
        """What is no address is a ValueError without the password."""
        for url in ("http://u:s3cret@h/", "amqp://u:s3cret@h:port/", "amqp://u:s3cret@h/a/b", "amqp://u:s3cret@[h/"):
            self.assertNotIn("s3cret", str(self.assertRaises(ValueError, parse_address, url)))
