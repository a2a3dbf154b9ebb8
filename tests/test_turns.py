"""Who waits for a pace goes in the order of coming, parked or not; what changes reaches those that are parked."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import Settings, parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx

HOST = "127.1.1.1"


def settings(per_minute: float) -> Settings:
    """One limit for all."""
    limits = [{"domain": "*", "messages-per-minute": per_minute}]
    return parse(json.dumps({"dns": {"hosts": {"*": f"{HOST}:2525"}}, "limits": limits}), "test", {})


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = MemoryEngine(settings(60), {}, self.mktemp())
        self.addCleanup(self.engine.journal.close)
        self.mx = self.engine.net.add(HOST, Mx())

    def publish(self, jobs: int) -> None:
        """So many jobs, whose recipients are numbered."""
        for number in range(jobs):
            body = {"recipient": f"{number}@a.test", "envelope": "a@example.com", "mime": "Subject: x\r\n\r\nx\r\n"}
            self.engine.publish(json.dumps(body).encode())

    def test_in_the_order_of_coming(self) -> None:
        """Those that are parked because of a pace come back in the order in which they came, the oldest first."""
        self.publish(40)
        self.engine.net.run(60.0)
        came = [mail.recipients[0].partition("@")[0] for mail in self.mx.mails]
        self.assertEqual(came, [str(number) for number in range(40)])

    def test_raised(self) -> None:
        """A limit that is raised reaches those, too, that were parked under the lower one."""
        self.publish(400)
        self.engine.net.run(20.0)
        self.assertEqual(len(self.mx.mails), 21)
        self.engine.settings = settings(600)
        self.engine.scheduler.reload(self.engine.settings)
        self.engine.net.run(10.0)
        self.assertGreater(len(self.mx.mails), 21 + 40)  # ten would have gone at the old one

    def test_resumed(self) -> None:
        """A pause that is ended by hand ends for parked mail within seconds, however long it has lasted."""
        pause = self.engine.scheduler.pause(None, "", domain="a.test")
        self.publish(10)
        self.engine.net.run(3000.0)
        self.assertEqual(self.mx.mails, [])
        self.engine.scheduler.resume(pause.id)
        self.engine.net.run(20.0)
        self.assertEqual(len(self.mx.mails), 10)
