"""Who waits for a pace goes in the order of coming, parked or not."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx

HOST = "127.1.1.1"


class TurnTests(SynchronousTestCase):
    def test_in_the_order_of_coming(self) -> None:
        """Those that are parked because of a pace come back in the order in which they came, the oldest first."""
        limits = [{"domain": "*", "messages-per-minute": 60}]
        config = {"dns": {"hosts": {"*": f"{HOST}:2525"}}, "limits": limits}
        engine = MemoryEngine(parse(json.dumps(config), "test", {}), {}, self.mktemp())
        self.addCleanup(engine.journal.close)
        mx = engine.net.add(HOST, Mx())
        for number in range(40):
            body = {"recipient": f"{number}@a.test", "envelope": "a@example.com", "mime": "Subject: x\r\n\r\nx\r\n"}
            engine.publish(json.dumps(body).encode())
        engine.net.run(60.0)
        came = [mail.recipients[0].partition("@")[0] for mail in mx.mails]
        self.assertEqual(came, [str(number) for number in range(40)])

