"""Hosts that do anything at any step, against a whole engine: it lives on, and each job has one end."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from typing import Any

from twisted.trial.unittest import TestCase

from mailerq.attempt import State, Type
from tests.certificates import make
from tests.dns import TestDns
from tests.hostile import Hostile
from tests.scenarios.harness import Engine, reactor, sleep, until

DOMAINS = 30
JOBS = 420
WITHOUT_STATE = ("bind", "nohosts", "expired")
BODIES = ("Subject: x\r\n\r\nhello\r\n", "Subject: x\r\n\r\nGrüße\r\n", "x" * 150_000, ".\r\n" * 30_000, "")
SETTINGS: dict[str, Any] = {
    "delivery": {"retry-interval": "1s", "offline-time": "700ms", "max-attempts": 2},
    "smtp": {
        "port": "$PORT",
        "hostname": "mail.example.com",
        "tls-forget": "500ms",
        "timeouts": {"connect": "500ms", "reply": "400ms", "end": "500ms", "tls": "400ms"},
    },
    "limits": [
        {"domain": "*", "connection-max-idle": "300ms"},
        {"domain": "d1.test", "messages-per-minute": 300},
        {"domain": "d2.test", "max-connections": 1},
        {"domain": "d3.test", "connection-max-messages": 2},
    ],
}


class Hostiles(TestCase):
    timeout = 60
    workers = 1

    def tearDown(self) -> Any:
        return sleep(2.1)  # what hosts do late

    async def test_anything_at_any_step(self) -> None:
        """The engine logs no error, each job has one final result whose entries are those of the contract, what a host
        took is a success or in doubt, memory is bounded, and at the end no connection is open."""
        dice = random.Random(int(os.environ.get("SEED", "1")))
        server = TestDns(reactor)
        self.addCleanup(server.stop)
        dns = {"servers": [f"127.0.0.1:{server.listen()}"]}
        engine = Engine({**SETTINGS, "workers": self.workers, "dns": dns}, "sqlite")
        self.addCleanup(engine.remove)
        hosts = self.listen(engine.port, server, dice)
        engine.start()
        await engine.running()
        await engine.connect()
        names = await self.publish(engine, dice)
        found = await self.results(engine)
        await until(lambda: not any(host.open for host in hosts), 12, "the end of all connections")
        self.assertTrue(engine.alive)
        memory = engine.peak()
        self.assertEqual(await engine.lying("outbox"), 0)
        self.assertIn(await engine.stop(), (0, -15))
        for word in ("Traceback", "Unhandled", "could not be worked on", "failed\n"):
            self.assertNotIn(word, engine.log)
        self.assertEqual(Counter(job["recipient"] for job in found), Counter(names))
        for job in found:
            self.check(job, [host for host in hosts if job["recipient"] in host.taken])
        self.assertLess(memory, 200_000_000)

    def listen(self, port: int, server: TestDns, dice: random.Random) -> list[Hostile]:
        """One to three hosts for each domain; some domains share theirs."""
        certificate = make("hostile.test")
        hosts = []
        for number in range(DOMAINS):
            lines = []
            for at in range(dice.randrange(1, 4)):
                seed = random.Random(dice.random())
                host = Hostile(reactor, seed, dice.choice((0.5, 0.8, 0.9, 0.97)), certificate)
                address = f"127.3.{number}.{at + 1}"
                listening = reactor.listenTCP(port, host, interface=address)
                self.addCleanup(listening.stopListening)
                hosts.append(host)
                server.zone[f"mx{at}.d{number}.test"] = [f"A {address}"]
                lines.append(f"MX {at * 10} mx{at}.d{number}.test")
            server.zone[f"d{number}.test"] = lines
        return hosts

    async def publish(self, engine: Engine, dice: random.Random) -> list[str]:
        names = [f"r{number}@d{number % DOMAINS}.test" for number in range(JOBS)]
        jobs = [{"envelope": "a@b.example", "recipient": name, "mime": dice.choice(BODIES)} for name in names]
        for job in jobs:
            job["maxdelivertime"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 14))
        await engine.publish([json.dumps(job).encode() for job in jobs])
        return names

    async def results(self, engine: Engine) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        end = time.monotonic() + 22
        while len(found) < JOBS and time.monotonic() < end:
            found += [json.loads(body) for body in await engine.take("results")]
            await sleep(0.2)
        await sleep(0.3)
        return found + [json.loads(body) for body in await engine.take("results")]

    def check(self, job: dict[str, Any], took: list[Hostile]) -> None:
        entries = job["results"]
        self.assertEqual([entry["attempt"] for entry in entries], list(range(1, len(entries) + 1)))
        for entry in entries:
            Type(entry["type"])
            self.assertTrue(entry["type"] == "success" or entry["description"], entry)
            self.assertTrue(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", entry["time"]))
            if entry["type"] in WITHOUT_STATE:
                self.assertNotIn("state", entry)
            else:
                State(entry["state"])
                self.assertTrue(entry["from"] and entry["to"], entry)
            self.assertEqual(entry["state"] == "accept" if "state" in entry else False, entry["type"] == "success")
            self.assertTrue(100 <= entry.get("code", 250) <= 599, entry)
            self.assertTrue(entry["type"] != "idle" or entry["state"] == "idle", entry)
            self.assertTrue(not entry.get("in-doubt") or entry["state"] == "received", entry)
        counted = [entry for entry in entries if entry["type"] not in ("idle", "expired")]
        self.assertLessEqual(len(counted), 2)
        self.assertNotIn("success", [entry["type"] for entry in entries[:-1]])
        if took:
            told = [entry for entry in entries if entry["type"] == "success" or entry.get("in-doubt")]
            self.assertTrue(told, f"{job['recipient']} was taken, and nobody was told: {entries}")


class HostilesOfTwo(Hostiles):
    """Met by two workers."""

    workers = 2
