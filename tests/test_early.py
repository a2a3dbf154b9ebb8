"""A broker that gives messages early, as RabbitMQ does, loses no mail by it."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from mailerq.queues.memory import MemoryBroker
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {
    "dns": {"hosts": {"*": f"{HOST}:2525"}},
    "queues": {"success": None, "failure": None, "retry": None},
}


class EarlyBroker(MemoryBroker):
    """Queues in memory that are not transactional, and give what has a due time ``early`` seconds before."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.transactional = False
        self.early = 5.0

    def _make(self, taken: Any, publications: Any, now: float) -> bool:
        early = [one if one.due is None else replace(one, due=one.due - self.early) for one in publications]
        return super()._make(taken, early, now)


class EarlyTests(SynchronousTestCase):
    def ended(self, jobs: int, script: dict[str, Any], seconds: float, **settings: Any) -> list[str]:
        """Those of so many jobs that were delivered, by the local parts of their recipients."""
        engine = MemoryEngine(
            parse(json.dumps({**CONFIG, **settings}), "test", {}), {}, self.mktemp(), None, EarlyBroker
        )
        self.addCleanup(engine.journal.close)
        engine.net.rightNow += 0.3  # due times are not whole seconds, but what stands in jobs is
        mx = engine.net.add(HOST, Mx(script=script))
        for number in range(jobs):
            body = {"recipient": f"{number}@a.test", "envelope": "a@example.com", "mime": "Subject: x\r\n\r\nx\r\n"}
            engine.publish(json.dumps(body).encode())
        engine.net.run(seconds)
        found: list[str] = [mail.recipients[0].partition("@")[0] for mail in mx.mails]
        return sorted(found, key=int)

    def test_parked(self) -> None:
        """What is parked because of a pace, comes early and is parked once more, is delivered in the end."""
        limits = [{"domain": "*", "messages-per-minute": 60}]
        self.assertEqual(self.ended(60, {}, 80.0, limits=limits), [str(number) for number in range(60)])

    def test_retried(self) -> None:
        """What waits for its next try, comes early and has to wait once more, is delivered in the end."""
        delivery = {"retry-interval": "20s"}
        self.assertEqual(self.ended(1, {"rcpt": ["4xx"]}, 60.0, delivery=delivery), ["0"])
