"""The store within the service that makes messages: started, swept, stopped."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.service import SWEEP, ContentService
from mailerq.settings import parse


class Sweeping(SynchronousTestCase):
    """On a clock, with a store in memory."""

    def setUp(self) -> None:
        """A service that runs."""
        self.clock = Clock()
        self.service = ContentService(self.clock, parse("store: 'memory:'", "test", {}))
        self.service.startService()
        self.store: Any = self.service.contents.store
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def tearDown(self) -> None:
        """Stop it."""
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def said(self) -> list[str]:
        """What was logged of bodies."""
        return [f"{event.get('count')}" for event in self.events if "removed from" in str(event.get("log_format"))]

    def test_all_of_them(self) -> None:
        """A sweep goes on until nothing is left whose time is over, and is one line in the log."""
        for number in range(2 * self.store.batch + 5):
            self.store.put(f"over-{number}", b"body", SWEEP / 2)
        self.store.put("later", b"body", 2 * SWEEP)
        self.clock.advance(SWEEP)
        self.assertEqual(list(self.store.store.bodies), ["later"])
        self.assertEqual(self.said, ["2005"])
        self.clock.pump([SWEEP, SWEEP])
        self.assertEqual(self.said, ["2005", "1"])
        self.clock.advance(SWEEP)
        self.assertEqual(self.said, ["2005", "1"])

    def test_down(self) -> None:
        """A store that is down is swept again the next time."""
        sweep, self.store.store.sweep = self.store.store.sweep, lambda now: fail(ConnectionError("down"))
        self.store.put("over", b"body", SWEEP / 2)
        self.clock.advance(SWEEP)
        self.store.store.sweep = sweep
        self.clock.advance(SWEEP)
        self.assertEqual(self.store.store.bodies, {})
