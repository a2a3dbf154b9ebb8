"""Which machine has a local address, and what becomes of jobs that need it."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq.elsewhere import AT_MOST, REMEMBER, Elsewhere
from mailerq.interfaces import QueueState
from mailerq.job import Job, read
from mailerq.journal_lines import _verdict, _word
from mailerq.queues.amqp_queues import AmqpQueues
from mailerq.queues.beside import PATIENCE, queue_of
from mailerq.result import publications
from mailerq.settings import Queues, parse
from mailerq.verdict import Parked


class FakeBroker:
    """Has some queues, and counts how often it is asked."""

    def __init__(self, *there: str) -> None:
        self.there = set(there)
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def states(self, queues: Any) -> Deferred[Any]:
        self.asked.append(list(queues))
        if self.error is not None:
            return fail(self.error)
        return succeed([QueueState(name, 0) for name in queues if name in self.there])


class Finds(SynchronousTestCase):
    """``Elsewhere.find``"""

    def setUp(self) -> None:
        """A broker with the queues of two addresses."""
        self.clock = Clock()
        self.broker = FakeBroker("outbox.ip-192.0.2.7", "outbox.ip-2001:db8::7")
        self.elsewhere = Elsewhere(self.broker, "outbox", self.clock.seconds)  # type: ignore[arg-type]

    def find(self, *addresses: str) -> tuple[str | None, bool]:
        """What is found."""
        found: list[tuple[str | None, bool]] = []
        self.elsewhere.find(addresses, lambda *answer: found.append(answer))
        (answer,) = found
        return answer

    def test_another_has_it(self) -> None:
        """Its queue, however the address is written; it is asked for once in a while only."""
        self.assertEqual(self.find("192.0.2.7"), ("outbox.ip-192.0.2.7", False))
        self.assertEqual(self.find("2001:0DB8:0::7"), ("outbox.ip-2001:db8::7", False))
        self.find("192.0.2.7")
        self.assertEqual(len(self.broker.asked), 2)
        self.clock.advance(REMEMBER + 1)
        self.broker.there.clear()
        self.assertEqual(self.find("192.0.2.7"), (None, False))

    def test_nobody_has_it(self) -> None:
        """Then there is nothing to be found; so it is for what is no address."""
        self.assertEqual(self.find("192.0.2.99", "none"), (None, False))

    def test_each_in_turn(self) -> None:
        """Of several, each in its turn."""
        found = {self.find("192.0.2.7", "2001:db8::7")[0] for _ in range(2)}
        self.assertEqual(found, self.broker.there)

    def test_ours(self) -> None:
        """What comes over our own queue, and cannot leave from here, does not go back there at once."""
        self.assertEqual(self.elsewhere.queues(["192.0.2.7"]), ["outbox.ip-192.0.2.7"])
        self.assertEqual(self.find("192.0.2.7"), (None, True))

    def test_cannot_be_asked(self) -> None:
        """Then it is tried later."""
        self.broker.error = OSError("no")
        self.assertEqual(self.find("192.0.2.7"), (None, True))

    def test_many(self) -> None:
        """A long list costs so many questions at most."""
        self.find(*(f"10.0.{number // 250}.{number % 250}" for number in range(1000)))
        self.assertEqual(len(self.broker.asked[0]), AT_MOST)


class HandedOver(SynchronousTestCase):
    """A job on its way to another machine."""

    def test_what_goes(self) -> None:
        """The job with its first pick-up and its history, at once, to that queue."""
        job = read(b'{"recipient":"a@b.example","mime":"x","results":[{"attempt":1}]}', None)
        assert isinstance(job, Job)
        verdict = Parked(1000.0, 900.0, 0.0, "outbox.ip-192.0.2.7")
        (publication,) = publications(job, verdict, Queues(), "identity", 900.0)
        self.assertEqual((publication.queue, publication.due), ("outbox.ip-192.0.2.7", None))
        body = msgspec.json.decode(publication.body)
        self.assertEqual((len(body["results"]), "seen" in body, body["mime"]), (1, True, "x"))

    def test_journal(self) -> None:
        """It is known after a crash where it was to go."""
        for queue in ("", "out box@.ip-2001:db8::7"):
            verdict = Parked(1000.0, None, 2.5, queue)
            self.assertNotIn(" ", _word(verdict))
            self.assertEqual(_verdict(_word(verdict)), verdict)

    def test_comes_back(self) -> None:
        """From a machine that does not take it, it goes back to the outbox."""
        queues = AmqpQueues(parse("", "x", {}).queues)
        arguments = queues.arguments(queue_of("outbox", "192.0.2.7"))
        self.assertEqual(arguments["x-message-ttl"], PATIENCE * 1000)
        self.assertEqual(arguments["x-dead-letter-routing-key"], "outbox")
        self.assertTrue(queues.declared_by_us(queue_of("outbox", "192.0.2.7")))
