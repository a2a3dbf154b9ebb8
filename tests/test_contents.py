"""The way of a mail whose message is made first: fetched from a store, changed by steps; and what is kept of it."""

from __future__ import annotations

import json
from gzip import compress, decompress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailerq.attempt import Type
from mailerq.content.chain import Chain
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {"dns": {"hosts": {"*": f"{HOST}:2525"}}, "delivery": {"retry-interval": "10s"}}
BODY = b"Subject: stored\r\n\r\nstored\r\n"


@implementer(IContentStep)
class Step:
    """Adds a line; raises what it is told to. Wanted by jobs with the property ``data``."""

    name = "played"

    def __init__(self, slow: bool = False, problem: Exception | None = None) -> None:
        self.slow = slow
        self.problem = problem

    def wanted(self, job: Job, described: bool) -> bool:
        return bool(job.known.data)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        if self.problem is not None:
            raise self.problem
        return b"X-Step: taken\r\n" + message


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, **config: Any) -> None:
        self.net = Net()
        settings = parse(json.dumps({**CONFIG, "store": {"address": "memory:", "retry": "2m"}, **config}), "test", {})
        self.engine = MemoryEngine(settings, {}, str(Path(self.mktemp()) / "journal"), self.net)
        self.mx: Mx = self.net.add(HOST, Mx())

    def put(self, *keys: str) -> None:
        assert self.engine.store is not None
        for key in keys:
            self.engine.store.put(key, BODY, None)

    @property
    def bodies(self) -> dict[str, bytes]:
        assert self.engine.store is not None
        return {key: body for key, (body, _) in self.engine.store.bodies.items()}

    def publish(self, **properties: Any) -> None:
        self.engine.publish(json.dumps({"recipient": "a@host.example", **properties}).encode())

    def send(self, seconds: float = 0.0, **properties: Any) -> None:
        self.publish(**properties)
        self.net.run(seconds)

    def take(self, queue: str = "results") -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.engine.take_all([queue])]


class Store(Case):
    """The contract, section 5."""

    def test_by_key(self) -> None:
        """A job with a key sends the body that lies there; the body is removed, and the result has no key."""
        self.put("k")
        self.send(10, key="k")
        self.assertEqual([mail.message for mail in self.mx.mails], [BODY])
        (result,) = self.take()
        self.assertNotIn("key", result)
        self.assertEqual(self.bodies, {})

    def test_kept(self) -> None:
        """With keepmime the body stays, and the result says where."""
        self.put("k")
        self.send(10, key="k", keepmime=1)
        (result,) = self.take()
        self.assertEqual(result["key"], "k")
        self.assertEqual(self.bodies, {"k": BODY})

    def test_inline_kept(self) -> None:
        """A message that came in the job is stored for keepmime: key instead of mime in the result."""
        self.send(10, mime="Subject: x\r\n\r\nx", keepmime=True)
        (result,) = self.take()
        self.assertNotIn("mime", result)
        self.assertEqual(self.bodies[result["key"]], b"Subject: x\r\n\r\nx")

    def test_inline_thrown_away(self) -> None:
        """Without keepmime neither mime nor key is in the result, and nothing is stored."""
        self.send(10, mime="Subject: x\r\n\r\nx")
        (result,) = self.take()
        self.assertFalse({"mime", "key"} & set(result))
        self.assertEqual(self.bodies, {})

    def test_no_store(self) -> None:
        """Without a store keepmime keeps the message in the result."""
        self.begin(store=None)
        self.send(10, mime="Subject: x\r\n\r\nx", keepmime=True)
        (result,) = self.take()
        self.assertEqual(result["mime"], "Subject: x\r\n\r\nx")

    def test_retry(self) -> None:
        """A job that goes back has a key instead of its message, so has its copy; once sent, nothing stays."""
        self.mx.script["rcpt"] = ["451 4.0.0 Later"]
        self.send(1, mime="Subject: x\r\n\r\nx\r\n")
        (copy,) = self.take("retry")
        self.assertNotIn("mime", copy)
        self.assertEqual(self.bodies, {copy["key"]: b"Subject: x\r\n\r\nx\r\n"})
        self.net.run(30)
        self.assertEqual([mail.message for mail in self.mx.mails], [b"Subject: x\r\n\r\nx\r\n"])
        (result,) = self.take()
        self.assertNotIn("key", result)
        self.assertEqual(self.bodies, {})

    def test_policy_none(self) -> None:
        """With policy none the message stays in the job that goes back."""
        self.begin(store={"address": "memory:", "policy": "none"})
        self.mx.script["rcpt"] = ["451 4.0.0 Later"]
        self.send(30, mime="Subject: x\r\n\r\nx\r\n")
        self.assertEqual(len(self.mx.mails), 1)
        self.assertEqual(self.bodies, {})

    def test_delete_own(self) -> None:
        """With delete own, what others have stored stays; what the engine stored goes."""
        self.begin(store={"address": "memory:", "delete": "own"})
        self.put("k")
        self.mx.script["rcpt"] = ["accept", "451 4.0.0 Later"]
        self.send(0, key="k")
        self.send(30, mime="x")
        self.assertEqual(len(self.take()), 2)
        self.assertEqual(self.bodies, {"k": BODY})

    def test_delete_none(self) -> None:
        """With delete none all stay, to be swept."""
        self.begin(store={"address": "memory:", "delete": "none"})
        self.mx.script["rcpt"] = ["451 4.0.0 Later"]
        self.send(30, mime="x")
        self.assertEqual(len(self.bodies), 1)

    def test_nodata(self) -> None:
        """What is not in the store is final, found out once the connection is up."""
        self.send(0, key="none")
        (result,) = self.take()
        (entry,) = result["results"]
        self.assertEqual((entry["type"], entry["state"], entry["to"]), ("nodata", "data", HOST))
        self.assertIn("'none'", entry["description"])
        self.assertEqual(self.mx.talk[1][:7], "C: EHLO")
        self.assertNotIn("MAIL", " ".join(self.mx.talk))

    def test_down(self) -> None:
        """A store that is down is not nodata: the job waits at the broker, and no attempt is counted."""
        self.put("k")
        assert self.engine.store is not None
        get = self.engine.store.get
        self.engine.store.get = lambda key: fail(ConnectionError("down"))  # type: ignore[method-assign]
        self.send(60, key="k")
        self.assertEqual(self.take(), [])
        self.engine.store.get = get  # type: ignore[method-assign]
        self.net.run(90)
        (result,) = self.take()
        self.assertEqual([entry["type"] for entry in result["results"]], ["success"])

    def test_down_and_expired(self) -> None:
        """A job does not wait for a store beyond its time."""
        assert self.engine.store is not None
        self.engine.store.get = lambda key: fail(ConnectionError("down"))  # type: ignore[method-assign]
        self.begin(delivery={"max-delivery-time": "3m"})
        self.engine.store.get = lambda key: fail(ConnectionError("down"))  # type: ignore[method-assign,union-attr]
        self.send(0, key="k")
        self.net.run(240)
        (result,) = self.take()
        self.assertEqual([entry["type"] for entry in result["results"]], ["expired"])

    def test_cannot_be_stored(self) -> None:
        """Where a body cannot be stored it stays in the job: nothing is lost."""
        assert self.engine.store is not None
        self.engine.store.put = lambda *_: fail(ConnectionError("full"))  # type: ignore[method-assign]
        self.mx.script["rcpt"] = ["451 4.0.0 Later"]
        self.send(30, mime="x", keepmime=1)
        (result,) = self.take()
        self.assertEqual(result["mime"], "x")
        self.assertEqual([entry["type"] for entry in result["results"]], ["error", "success"])


class Compressed(Case):
    """Jobs and results with gzip."""

    def test_there_and_back(self) -> None:
        """With compress, what goes back and what is published is gzip; a compressed job is read as any other."""
        self.begin(store=None, queues={"compress": "gzip"})
        self.mx.script["rcpt"] = ["451 4.0.0 Later"]
        self.engine.publish(compress(json.dumps({"recipient": "a@b.example", "mime": "x"}).encode()), "gzip")
        self.net.run(60)
        self.assertEqual(len(self.mx.mails), 1)
        ((_, body),) = self.engine.take_all(["results"])
        self.assertEqual(len(json.loads(decompress(body))["results"]), 2)

    def test_bomb(self) -> None:
        """What unpacks to more than a mail can be is no job; the process goes on."""
        self.begin(store=None)
        self.engine.publish(compress(b" " * (300 << 20), 9), "gzip")
        self.send(mime="x")
        self.assertEqual(len(self.mx.mails), 1)
        self.assertEqual(len(self.engine.take_all(["invalid"])), 1)


class Slow(Case):
    """While a body is fetched other things happen."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Deferred[bytes | None]] = []
        assert self.engine.store is not None
        self.engine.store.get = self.get  # type: ignore[method-assign]

    def get(self, key: str) -> Deferred[bytes | None]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def test_connection_waits(self) -> None:
        """Its connection waits for a body, longer than an idle one would be kept."""
        self.send(30, key="k")
        self.assertEqual(self.mx.open, 1)
        self.asked[0].callback(BODY)
        self.net.run()
        self.assertEqual(len(self.mx.mails), 1)
        self.assertEqual(len(self.mx.connections), 1)

    def test_fetched_before_its_turn(self) -> None:
        """The next body is fetched while the mail before it is on the wire; they go one after the other."""
        self.begin(limits=[{"domain": "*", "max-connections": 1}])
        assert self.engine.store is not None
        self.engine.store.get = self.get  # type: ignore[method-assign]
        self.mx.script["end"] = ["silence"]
        self.publish(mime="first")
        self.send(0, key="k")
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback(BODY)
        self.net.run(1)
        session = self.mx.connections[0]
        session.mute = False
        session.transport.write(b"250 2.0.0 Taken\r\n")
        self.net.run()
        self.assertEqual([mail.message for mail in self.mx.mails], [BODY])
        self.assertEqual(len(self.take()), 2)

    def test_peer_leaves(self) -> None:
        """A connection that goes while a body is fetched costs no attempt: the mail goes over another."""
        self.send(0, key="k")
        self.mx.connections[0].transport.loseConnection()
        self.net.run()
        self.assertEqual(len(self.asked), 2)
        self.asked[1].callback(BODY)
        self.net.run()
        (result,) = self.take()
        self.assertEqual(result["results"][-1]["type"], "success")
        self.assertEqual(len(self.mx.mails), 1)

    def test_stop(self) -> None:
        """Who stops while a body is fetched gives the job back, untried."""
        self.send(0, key="k")
        stopped = Deferred.fromCoroutine(self.engine.deliveries.stop())
        self.net.run(1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.mx.mails, [])
        (left,) = self.take("outbox")
        self.assertNotIn("results", left)

    def test_stop_removes(self) -> None:
        """The body of a mail that is settled while the engine stops is removed, too."""
        self.put("k")
        self.send(0, key="k")
        self.asked[0].callback(BODY)
        stopped = Deferred.fromCoroutine(self.engine.deliveries.stop())
        self.net.run(1)
        self.assertTrue(stopped.called)
        self.assertEqual(len(self.take()), 1)
        self.assertEqual(self.bodies, {})

    def test_too_late(self) -> None:
        """A body that comes when the mail's time is over is not sent."""
        self.begin(delivery={"max-delivery-time": "10s"})
        assert self.engine.store is not None
        self.engine.store.get = self.get  # type: ignore[method-assign]
        self.send(20, key="k")
        self.asked[0].callback(BODY)
        self.net.run()
        (result,) = self.take()
        self.assertEqual(result["results"][-1]["type"], "expired")
        self.assertEqual(self.mx.mails, [])


class Steps(Case):
    """What steps do, and what they cannot."""

    def chain(self, *steps: Step) -> None:
        self.engine.contents.chain = Chain(steps)

    def entry(self) -> dict[str, Any]:
        (result,) = self.take()
        entry: dict[str, Any] = result["results"][-1]
        return entry

    def test_taken(self) -> None:
        """The message goes out as the steps have made it; a job that does not ask for them goes as it is."""
        self.chain(Step())
        self.publish(mime="Subject: a\r\n\r\na\r\n")
        self.send(mime="Subject: b\r\n\r\nb\r\n", data={"a": 1})
        sent = sorted(mail.message for mail in self.mx.mails)
        self.assertEqual(sent, [b"Subject: a\r\n\r\na\r\n", b"X-Step: taken\r\nSubject: b\r\n\r\nb\r\n"])

    def test_slow(self) -> None:
        """A slow step runs elsewhere, and its mail goes out afterwards."""
        self.chain(Step(slow=True), Step())
        self.send(1, mime="Subject: b\r\n\r\nb\r\n", data={"a": 1})
        self.assertEqual(self.mx.mails[0].message.count(b"X-Step"), 2)

    def test_refused(self) -> None:
        """A property that cannot be used: final, named, and without hosts, for it would be so with any."""
        self.chain(Step(problem=ContentError("data.a: is wrong")))
        self.send(mime="x", data={"a": 1})
        entry = self.entry()
        self.assertEqual((entry["type"], entry["description"]), ("error", "the job cannot be used: data.a: is wrong"))
        self.assertFalse({"from", "to", "state", "code"} & set(entry))

    def test_responsive(self) -> None:
        """A message that cannot be composed: final, with its reasons."""
        self.chain(Step(problem=ContentError("two faults", type=Type.RESPONSIVE, reasons=("one", "two"))))
        self.send(mime="x", data={"a": 1})
        entry = self.entry()
        self.assertEqual((entry["type"], entry["reasons"]), ("responsive", ["one", "two"]))

    def test_passing(self) -> None:
        """What may be made later is tried later."""
        self.chain(Step(problem=ContentError("a download failed", type=Type.RESPONSIVE, passing=True)))
        self.send(1, mime="x", data={"a": 1})
        self.assertEqual(self.take(), [])
        (copy,) = self.take("retry")
        self.assertEqual(copy["results"][-1]["type"], "responsive")

    def test_bug(self) -> None:
        """A bug in a step costs an attempt of one mail, is logged, and nothing else happens."""
        self.chain(Step(problem=KeyError("bug")))
        self.publish(mime="x", data={"a": 1})
        self.send(1, mime="y")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.mx.mails), 1)
        (copy,) = self.take("retry")
        self.assertEqual(copy["results"][-1]["type"], "responsive")

    def test_many_in_a_row(self) -> None:
        """Mails that cannot be made do not keep a connection from those behind them."""
        self.chain(Step(problem=ContentError("data: is wrong")))
        for _ in range(500):
            self.publish(mime="x", data={"a": 1})
        self.send(1, mime="y")
        self.assertEqual(len(self.mx.mails), 1)
        self.assertEqual(len(self.take()), 501)
