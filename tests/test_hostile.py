"""Hosts that do anything at any step, against engines in memory: each job has one end, and nothing is left."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import State, Type
from mailerq.settings import parse
from tests.hostile import Hostile
from tests.memory_engine import MemoryEngine
from tests.mx import Net

SEEDS = 300
BODIES = ("Subject: x\r\n\r\nhello\r\n", "Subject: x\r\n\r\nGrüße\r\n", "x" * 150_000, ".\r\n" * 300, "")
TIMES = {"connect": "1s", "reply": "1s", "end": "1s", "tls": "1s"}


def settings(dice: random.Random) -> dict[str, Any]:
    """Some."""
    limits = {
        "max-connections": dice.choice((1, 2, 20)),
        "connection-max-idle": dice.choice(("300ms", "2s")),
        "connection-max-messages": dice.choice((1, 2, 100)),
        "max-queue": dice.choice((3, 1000)),
    }
    if dice.random() < 0.3:
        limits["messages-per-minute"] = 240
    return {
        "delivery": {
            "retry-interval": "1s",
            "offline-time": "700ms",
            "max-attempts": dice.choice((1, 2, 4)),
            "in-doubt": dice.choice(("retry", "fail")),
            "hold": dice.choice(("200ms", "5s")),
        },
        "smtp": {
            "port": 25,
            "tls": dice.choice(("none", "opportunistic")),
            "max-connections": dice.choice((1, 2, 1000)),
            "tls-forget": "500ms",
            "timeouts": TIMES,
        },
        "limits": [{"domain": "*", **limits}],
    }


class Hostiles(SynchronousTestCase):
    def play(self, seed: int) -> None:
        dice = random.Random(seed)
        net = Net(dice.choice((0, 0, 7, 5000)))
        bodies = [body for body in BODIES if net.chop != 7 or len(body) < 1000]
        zone: dict[str, list[str]] = {}
        hosts = []
        for number in range(2):
            for at in range(dice.randrange(1, 3)):
                address = f"127.0.{number}.{at + 1}"
                host = Hostile(net, random.Random(dice.random()), dice.choice((0.5, 0.8, 0.9, 0.97)))
                hosts.append(net.add(address, host))
                zone[f"mx{at}.d{number}.test"] = [f"A {address}"]
                zone.setdefault(f"d{number}.test", []).append(f"MX {at * 10} mx{at}.d{number}.test")
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps(settings(dice))
            engine = MemoryEngine(parse(text, "hostile", {}), zone, str(Path(folder) / "journal"), net)
            names = [f"r{number}@d{number % 2}.test" for number in range(8)]
            for name in names:
                job = {"envelope": "a@b.example", "recipient": name, "mime": dice.choice(bodies)}
                engine.publish(json.dumps(job).encode())
            found = self.results(engine, len(names))
            net.run(15)
            found += self.results(engine, 0)
            self.check(engine, names, hosts, found)
            engine.journal.close()
        self.assertEqual(self.flushLoggedErrors(), [])

    def results(self, engine: MemoryEngine, wanted: int) -> list[dict[str, Any]]:
        """What comes within some minutes of the clock."""
        found: list[dict[str, Any]] = []
        for _ in range(1200):
            found += [json.loads(body) for _, body in engine.take_all(["results"])]
            if len(found) >= wanted:
                break
            engine.net.run(0.5)
        return found

    def check(self, engine: MemoryEngine, names: list[str], hosts: list[Hostile], found: list[dict[str, Any]]) -> None:
        self.assertEqual(Counter(job["recipient"] for job in found), Counter(names), engine.scheduler)
        for job in found:
            for entry in job["results"]:
                Type(entry["type"])
                self.assertTrue(State(entry["state"]) and entry["from"] and entry["to"])
                self.assertTrue(not entry.get("in-doubt") or entry["state"] == "received", entry)
            if any(job["recipient"] in host.taken for host in hosts):
                told = [entry for entry in job["results"] if entry["type"] == "success" or entry.get("in-doubt")]
                self.assertTrue(told, f"{job['recipient']} was taken, and nobody was told: {job['results']}")
        self.assertEqual([host.open for host in hosts], [0] * len(hosts))
        engine.net.run(7200)  # what was learned of a site is kept for a while
        self.assertEqual((engine.scheduler.room(), engine.scheduler.sites), (engine.settings.smtp.max_connections, {}))
        self.assertEqual(engine.deliveries.in_hand, set())
        self.assertEqual(engine.net.links, [])

    def test_anything_at_any_step(self) -> None:
        """Each job has one final result whose entries are those of the contract, what a host took is a success or in
        doubt, no error is logged, and no connection, site or mail is left."""
        for seed in range(SEEDS):
            try:
                self.play(seed)
            except Exception as wrong:
                raise AssertionError(f"seed {seed}: {wrong}") from wrong
