"""Nothing is lost and nothing is doubled, whenever the process or the broker goes: hundreds of crashes in memory.

The broker played here is as RabbitMQ is: publications and their confirms, acknowledgements and their effect may each be
lost on the way. ``MAILERQ_SEEDS`` is how many plays there are of each kind.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq import journal
from mailerq.queues.memory import MemoryBroker
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {
    "delivery": {"retry-interval": "1s", "max-attempts": 50, "offline-time": "1s"},
    "dns": {"hosts": {"*": f"{HOST}:2525"}},
    "limits": [{"domain": "*", "max-connections": 4}],
    "queues": {"success": None, "failure": None},
}
SEEDS = int(os.environ.get("MAILERQ_SEEDS", "10"))
ACKNOWLEDGED = 0.02  # seconds until the broker has read an acknowledgement


class LossyBroker(MemoryBroker):
    """Queues in memory that are not transactional: what was settled lately may come again when the broker is lost."""

    dice = random.Random(1)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.transactional = False
        self.unread: list[tuple[float, Any]] = []

    def _make(self, taken: Any, publications: Any, now: float) -> bool:
        if taken is not None:
            if taken.stale:
                return False
            del self._in_hand[taken._message.age]
            self.unread.append((now, taken._message))
        for publication in publications:
            self.queues.put(publication, now)
        while self.unread and self.unread[0][0] < now - ACKNOWLEDGED:
            self.queues.remove(self.unread.pop(0)[1])
        return True

    def lose(self, reason: str) -> None:
        self._forget_what_was_said()
        super().lose(reason)

    def _forget_what_was_said(self) -> None:
        """Of what was on its way to the broker, each thing came there, or not."""
        now = self._clock.seconds()
        for taken, publications, _, possible in self._under_way:
            if possible and not (taken is not None and taken.stale) and self.dice.random() < 0.5:
                for publication in publications:
                    self.queues.put(publication, now)
        for _, message in self.unread:
            if self.dice.random() < 0.5:
                self.queues.remove(message)
            else:
                self.queues.give_back(message)
        self.unread.clear()


class DoubleTests(SynchronousTestCase):
    """Engines that follow each other over the same queues, the same journal and the same host."""

    def begin(self, before: MemoryEngine | None) -> MemoryEngine:
        """A life of the engine."""
        net = Net() if before is None else before.net
        engine = MemoryEngine(parse(json.dumps(CONFIG), "test", {}), {}, self.journal, net, LossyBroker)
        if before is not None:
            engine.broker.queues = before.broker.queues
        return engine

    def play(self, seed: int, *, kills: bool, losses: bool) -> Counter[str]:
        """Many jobs, some of them equal, in full flow, and something happens again and again."""
        self.patch(journal, "ROOM", 100_000)  # each life makes a new one
        dice = LossyBroker.dice = random.Random(seed)
        self.journal = str(Path(self.mktemp()) / "journal")
        engine = self.begin(None)
        net = engine.net
        script: dict[str, Any] = {
            "rcpt": lambda line: dice.choices(("accept", "4xx", "close"), (20, 2, 1))[0],
            "end": lambda line: dice.choices(("accept", "drip", "close", "4xx"), (10, 10, 1, 1))[0],
        }
        mx = net.add(HOST, Mx(script=script))
        names = [f"n{number}" for number in range(60) for _ in range(3 if number % 10 == 0 else 1)]
        for name in names:
            body = {"recipient": f"{name}@host.example", "name": name, "mime": f"Subject: {name}\r\n\r\nx"}
            engine.publish(json.dumps(body).encode())
        for _ in range(12):
            net.run(dice.choice((0.0, 0.001, 0.01, 0.05, 1.0)))
            if kills and (not losses or dice.random() < 0.5):
                engine.kill()
                engine = self.begin(engine)
            elif losses:
                engine.broker.lose("gone")
                net.run(dice.choice((0.0, 0.1)))
                engine.broker.startService()
        script.clear()
        net.run(90)
        engine.journal.close()
        self.assertFalse(engine.deliveries.in_hand)
        state = engine.broker.queues.state("outbox", net.seconds())
        self.assertEqual((state.ready, state.waiting), (0, 0))
        return self.judge(seed, names, engine, mx)

    def judge(self, seed: int, names: list[str], engine: MemoryEngine, mx: Mx) -> Counter[str]:
        """One result of each job, and of equal jobs at least as many as there were; no mail came more often than its
        results say."""
        copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in engine.broker.queues.take("results", 10_000):
            copies[message.publication.message_id].append(json.loads(message.publication.body))
        found = Counter(results[0]["name"] for results in copies.values())
        jobs = Counter(names)
        wrong = {
            name: (found[name], count)
            for name, count in jobs.items()
            if found[name] < count or (count == 1 and found[name] > 1)
        }
        details = [(key, results) for key, results in copies.items() if results[0]["name"] in wrong]
        self.assertEqual(wrong, {}, f"seed {seed}: {details}")
        allowed: Counter[str] = Counter()
        for results in copies.values():
            self.assertEqual(len({json.dumps(result) for result in results}), 1, f"seed {seed}: {results}")
            for entry in results[0]["results"]:
                allowed[results[0]["name"]] += entry["type"] == "success" or entry.get("in-doubt", False)
        sent = Counter(mail.recipients[0].partition("@")[0] for mail in mx.mails)
        for name in set(names):
            self.assertGreaterEqual(sent[name], found[name] if name in sent else 1, f"seed {seed}: {name} is missing")
        more = {name: (sent[name], allowed[name]) for name in sent if sent[name] > allowed[name]}
        again = sum(len(results) - 1 for results in copies.values())
        self.assertEqual(more, {}, f"seed {seed}")
        return Counter(twice=again, unexplained=sum(one - other for one, other in more.values()))

    def test_broker_lost(self) -> None:
        """The broker is lost again and again: no result and no mail comes twice."""
        for seed in range(SEEDS):
            self.assertEqual(self.play(seed, kills=False, losses=True)["unexplained"], 0, f"seed {seed}")

    def test_killed(self) -> None:
        """The process is killed again and again: no mail comes twice but those in doubt."""
        for seed in range(SEEDS):
            self.assertEqual(self.play(seed, kills=True, losses=False)["unexplained"], 0, f"seed {seed}")

    def test_both(self) -> None:
        """Both."""
        for seed in range(SEEDS):
            self.assertEqual(self.play(seed, kills=True, losses=True)["unexplained"], 0, f"seed {seed}")
