"""The way of a mail where something happens on the way: the broker goes, the process ends, our own code is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailerq import verdict
from mailerq.queues.memory import MemoryBroker
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {"dns": {"hosts": {"*": f"{HOST}:2525"}}, "smtp": {"timeouts": {"reply": "5s", "end": "5s"}}}


def job(name: str = "a", **properties: Any) -> bytes:
    return json.dumps({"recipient": f"{name}@host.example", "mime": "Subject: x\r\n\r\nx", **properties}).encode()


class OnTheWay(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = str(Path(self.mktemp()) / "journal")
        self.engine = self.begin()
        self.net = self.engine.net
        self.mx: Mx = self.net.add(HOST, Mx())

    def begin(self, before: MemoryEngine | None = None, **config: Any) -> MemoryEngine:
        """An engine; one that comes ``before`` it was killed, and left its queues, its journal and the network."""
        settings = parse(json.dumps(CONFIG | config), "test", {})
        net = before.net if before is not None else Net()
        engine = MemoryEngine(settings, {}, self.journal, net)
        if before is not None:
            engine.broker.queues = before.broker.queues
        return engine

    def results(self, engine: MemoryEngine | None = None) -> list[dict[str, Any]]:
        found = (engine or self.engine).take_all(["results"])
        return [json.loads(body) for _, body in found]

    def answer(self, reply: bytes = b"250 2.0.0 Late\r\n") -> None:
        """The host says at last what it kept silent about."""
        self.mx.connections[-1].transport.write(reply)
        self.net.run()

    # -- the broker goes

    def test_lost_on_the_wire(self) -> None:
        """A mail whose broker is lost while it is on the wire is sent once, and its result comes with the broker."""
        self.mx.script["end"] = ["silence"]
        self.engine.publish(job())
        self.net.run()
        self.engine.broker.lose("gone")
        self.answer()
        self.engine.broker.startService()
        self.net.run(1)
        (result,) = self.results()
        self.assertEqual([entry["type"] for entry in result["results"]], ["success"])
        self.assertEqual(len(self.mx.mails), 0)  # it kept silent about the one it has
        self.assertFalse(self.engine.deliveries.in_hand)

    def test_back_before_the_answer(self) -> None:
        """A job that comes again while its mail is on the wire is the same mail, not another."""
        self.mx.script["end"] = ["silence"]
        self.engine.publish(job())
        self.net.run()
        self.engine.broker.lose("gone")
        self.engine.broker.startService()
        self.net.run(1)
        self.assertEqual(len(self.engine.deliveries.in_hand), 1)
        self.answer()
        self.net.run(1)
        (result,) = self.results()
        self.assertEqual(result["results"][0]["description"], "Late")
        self.assertEqual(sum("DATA" in line for line in self.mx.talk), 1)

    def test_lost_while_it_waits(self) -> None:
        """A mail that only waits is let go with its broker: whoever gets it next sends it, once."""
        self.engine.kill()
        limit = {"domain": "*", "messages-per-minute": 20, "connection-max-idle": "10s"}
        engine = self.engine = self.begin(self.engine, limits=[limit])
        engine.publish(job("a"))
        engine.publish(job("b"))
        self.net.run(0.5)
        self.assertEqual(len(self.mx.mails), 1)
        engine.broker.lose("gone")
        self.assertFalse(engine.deliveries.in_hand)
        self.net.run(10)
        self.assertEqual(len(self.mx.mails), 1)
        engine.broker.startService()
        self.net.run(10)
        self.assertEqual(len(self.mx.mails), 2)
        self.assertEqual(len(self.results()), 2)

    # -- the process ends

    def test_killed_after_the_dot(self) -> None:
        """A mail whose final dot was sent when the process was killed is known to be in doubt."""
        self.mx.script["end"] = ["silence"]
        self.engine.publish(job(maxattempts=1))
        self.net.run()
        self.engine.kill()
        engine = self.begin(self.engine)
        self.net.run(1)
        (result,) = self.results(engine)
        (entry,) = result["results"]
        self.assertEqual(
            (entry["type"], entry["state"], entry["in-doubt"], entry["to"]), ("lost", "received", True, HOST)
        )

    def test_killed_before_the_dot(self) -> None:
        """A mail whose final dot was not sent when the process was killed is sent as if nothing had been."""
        self.mx.script["data"] = ["silence"]
        self.engine.publish(job())
        self.net.run()
        self.engine.kill()
        engine = self.begin(self.engine)
        self.net.run(1)
        (result,) = self.results(engine)
        self.assertEqual([entry["type"] for entry in result["results"]], ["success"])
        self.assertEqual(len(self.mx.mails), 1)

    def test_killed_after_the_answer(self) -> None:
        """A mail whose 250 was read when the process was killed is reported as the success it was, not sent again."""
        with patch.object(MemoryBroker, "_settle", lambda *arguments: None):
            self.engine.publish(job())
            self.net.run(1)
        self.assertEqual((len(self.mx.mails), self.results()), (1, []))
        self.engine.kill()
        engine = self.begin(self.engine)
        self.net.run(1)
        (result,) = self.results(engine)
        self.assertEqual([entry["type"] for entry in result["results"]], ["success"])
        self.assertEqual(len(self.mx.mails), 1)

    def test_same_message_id(self) -> None:
        """A result that is published again after a crash has the message-id that it had."""
        with patch.object(MemoryBroker, "_settle", lambda me, taken, publications, *rest: made.extend(publications)):
            made: list[Any] = []
            self.engine.publish(job())
            self.net.run(1)
            self.engine.kill()
            self.begin(self.engine)
            self.net.run(1)
        self.assertEqual(len(made), 4)
        self.assertEqual({one.message_id for one in made}, {made[0].message_id})
        self.assertEqual(made[0].body, made[2].body)

    def test_equal_jobs(self) -> None:
        """Of equal jobs as many are in doubt as had their final dot sent; the others are sent."""
        self.mx.script["end"] = ["silence"]
        for _ in range(3):
            self.engine.publish(job(maxattempts=1))
        self.net.run(0.01)
        dots = sum("DATA" in line for line in self.mx.talk)
        self.engine.kill()
        self.mx.talk.clear()
        engine = self.begin(self.engine)
        self.net.run(2)
        types = sorted(result["results"][0]["type"] for result in self.results(engine))
        self.assertEqual(len(types), 3)
        self.assertGreaterEqual(dots, types.count("lost"))
        self.assertEqual(types.count("success"), len(self.mx.mails))

    # -- our own code is wrong

    def test_poison(self) -> None:
        """A job on which our own code breaks is given back twice, then put aside; others are delivered."""
        decide = verdict.decide

        def broken(of: Any, *arguments: Any, **named: Any) -> Any:
            if of.known.recipient.startswith("bad"):
                raise ZeroDivisionError("a bug")
            return decide(of, *arguments, **named)

        with patch.object(verdict, "decide", broken):
            self.engine.publish(job("bad"))
            self.engine.publish(job("good"))
            self.net.run(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual([result["recipient"] for result in self.results()], ["good@host.example"])
        (body,) = [body for _, body in self.engine.take_all(["invalid"])]
        self.assertEqual(body, job("bad"))
        self.assertFalse(self.engine.deliveries.in_hand)

    # -- it waits

    def test_early(self) -> None:
        """What the broker gives before it is due is held, however short ``delivery.hold`` is: it does not go round."""

        class Early(MemoryBroker):
            """As RabbitMQ: what is due in five seconds is there at once."""

            def __init__(self, *arguments: Any, **keywords: Any) -> None:
                super().__init__(*arguments, **keywords)
                self.early = 5.0
                put = self.queues.put

                def put_early(publication: Any, now: float) -> None:
                    if publication.due is not None and publication.due - now <= 5:
                        publication = structs.replace(publication, due=None)
                    put(publication, now)

                self.queues.put = put_early  # type: ignore[method-assign]

        settings = parse(json.dumps(CONFIG | {"delivery": {"hold": "1s"}}), "test", {})
        engine = MemoryEngine(settings, {}, self.mktemp(), self.net, Early)
        engine.publish(job(nextattempt={"time": "2027-01-15 08:00:04"}))
        self.net.run(3)
        self.assertEqual((engine.events.counts.get("parked", 0), len(self.mx.mails)), (0, 0))
        self.net.run(2)
        self.assertEqual(len(self.mx.mails), 1)

    # -- it names the outbox

    def test_results_on_the_outbox(self) -> None:
        """A job whose results would go to the outbox, and be taken for a job, is a final error."""
        for name in ("results", "success", "failure", "failures", "retry"):
            for queue in ("outbox", "outbox.delay.5s"):
                self.engine.publish(job(queues={name: queue}))
                self.net.run(1)
                (result,) = self.results()
                (entry,) = result["results"]
                self.assertEqual(entry["type"], "error")
                self.assertIn(f"queues.{name}: is the outbox", entry["description"])
        self.engine.publish(job(queues={"dsn": "outbox"}))
        self.net.run(1)
        self.assertEqual(len(self.mx.mails), 1)

    # -- we stop

    def test_stop(self) -> None:
        """What is on the wire is finished, what waits is given back, and the end comes by itself."""
        self.mx.script["end"] = ["silence"]
        self.engine.publish(job("a"))
        self.net.run()
        self.engine.publish(job("later", nextattempt={"time": "2027-01-15 08:00:03"}))
        self.net.run(0.1)
        ended: list[None] = []
        Deferred.fromCoroutine(self.engine.deliveries.stop()).addCallback(ended.append)
        self.net.run(0.5)
        self.assertEqual(ended, [])
        self.answer()
        self.net.run(6)  # this host does not answer QUIT
        self.assertEqual(ended, [None])
        self.assertEqual(len(self.results()), 1)
        state = self.engine.broker.queues.state("outbox", self.net.seconds())
        assert state is not None
        self.assertEqual((state.ready, state.in_hand), (1, 0))
