"""The queues in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailerq.interfaces import Publication
from mailerq.queues.memory import MemoryBroker, MemoryQueues
from tests.contracts import BrokerContract, Taker


class MemoryContract(BrokerContract, TestCase):
    """MemoryBroker keeps the promises of IBroker."""

    def setUp(self) -> None:
        """A clock that starts somewhere."""
        self.clock = Clock()
        self.clock.advance(1_700_000_000)

    async def make_broker(self, max_priority: int | None = None) -> MemoryBroker:
        """On queues of its own."""
        return MemoryBroker(self.clock, queues=MemoryQueues(max_priority))

    async def crash(self, broker: Any) -> MemoryBroker:
        """The queues stay."""
        broker.lose("killed")
        return MemoryBroker(self.clock, queues=broker.queues)

    async def advance(self, seconds: float) -> None:
        """Turn the clock."""
        self.clock.advance(seconds)

    async def now(self) -> float:
        """What the clock says."""
        return self.clock.seconds()

    async def until(self, condition: Callable[[], Any]) -> None:
        """A few turns."""
        for _ in range(20):
            if condition():
                return
            self.clock.advance(0)
        self.fail("it has not come")

    async def idle(self) -> None:
        """A few turns."""
        for _ in range(5):
            self.clock.advance(0)


class Losing(TestCase):
    """A broker in memory can be lost, for the tests of those who use it."""

    def setUp(self) -> None:
        """A started broker with one message in hand."""
        self.clock = Clock()
        self.broker = MemoryBroker(self.clock)
        self.taker = Taker()
        self.broker.consume("outbox", self.taker, 5)
        self.broker.startService()
        self.broker.publish([Publication("outbox", b"1")], lambda made: None)
        self.clock.pump([0, 0])

    def test_lost(self) -> None:
        """The taker is told; what is in hand is stale, cannot be settled, and comes again with the broker."""
        (taken,) = self.taker.jobs
        self.broker.lose("gone")
        self.assertEqual(self.taker.reasons, ["gone"])
        self.assertTrue(taken.stale)
        answers: list[bool] = []
        taken.settle([Publication("results", b"r")], answers.append)
        taken.give_back()
        self.clock.advance(0)
        self.assertEqual(answers, [False])
        self.broker.startService()
        self.clock.advance(0)
        self.assertEqual([(job.body, job.redelivered) for job in self.taker.jobs], [(b"1", False), (b"1", True)])

    def test_lost_on_the_way(self) -> None:
        """A settlement under way when the broker is lost is answered with False, and not made."""
        answers: list[bool] = []
        self.taker.jobs[0].settle([Publication("results", b"r")], answers.append)
        self.broker.lose("gone")
        self.assertEqual(answers, [])
        self.clock.advance(0)
        self.assertEqual(answers, [False])
        self.assertEqual(self.successResultOf(self.broker.states(["results"])), [])

    def test_publish_while_lost(self) -> None:
        """Publishing without a broker is answered with False."""
        self.broker.lose("gone")
        answers: list[bool] = []
        self.broker.publish([Publication("results", b"r")], answers.append)
        self.clock.advance(0)
        self.assertEqual(answers, [False])

    def test_settled_twice(self) -> None:
        """A second settlement publishes nothing."""
        answers: list[bool] = []
        for _ in range(2):
            self.taker.jobs[0].settle([Publication("results", b"r")], answers.append)
        self.clock.advance(0)
        self.assertEqual(answers, [True, False])
        (state,) = self.successResultOf(self.broker.states(["results"]))
        self.assertEqual(state.ready, 1)

    def test_stop_is_no_loss(self) -> None:
        """Stopping does not tell the taker of a loss."""
        self.successResultOf(self.broker.stopService())
        self.assertEqual(self.taker.reasons, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
