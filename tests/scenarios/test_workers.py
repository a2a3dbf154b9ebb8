"""A parent and two workers as real processes over RabbitMQ, with hosts on real sockets."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from tests.mx import Mx
from tests.rabbit import rabbitmq_home
from tests.scenarios.harness import ROOT, Engine, rabbit, reactor, until

_numbers = itertools.count(1)
TAKES = re.compile(r"worker (\d+) takes jobs, process (\d+)")


class Slow(Mx):
    """A host that answers each message a while later."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(reactor)
        self.delay = delay
        self.begun = 0
        self.answered = 0

    def buildProtocol(self, addr: Any) -> Any:
        session = super().buildProtocol(addr)
        answer = session.perform

        def perform(said: Any, step: str, accepting: bytes) -> Any:
            if step != "end" or not self.delay:
                return answer(said, step, accepting)
            self.begun += 1
            session.mute = True
            reactor.callLater(self.delay, late, accepting)
            return "2"

        def late(accepting: bytes) -> None:
            if session.connected:
                session.mute = False
                self.answered += 1
                session.send(accepting)
                session.dataReceived(b"")

        session.perform = perform
        return session


class FamilyTest(TestCase):
    """One family for each test."""

    timeout = 120
    broker = "rabbit"

    async def setUp(self) -> None:
        if self.broker == "rabbit":
            if rabbitmq_home() is None:
                raise SkipTest("rabbitmq-server is not installed")
            rabbit()
        self.host = Slow()
        self.family = Engine(
            {
                "workers": 2,
                "smtp": {"port": "$PORT", "tls": "none"},
                "dns": {"hosts": {"*": "127.4.1.1"}},
                "delivery": {"drain": "10s", "in-doubt": "fail"},
            },
            self.broker,
            f"workers-{os.getpid()}-{next(_numbers)}.",
        )
        self.port = reactor.listenTCP(self.family.port, self.host, interface="127.4.1.1", backlog=100)
        self.family.start()
        await self.both()
        await self.family.connect()

    async def tearDown(self) -> None:
        pids = self.pids().values()
        await self.family.remove()
        await self.port.stopListening()
        await until(lambda: not any(map(_lives, pids)), 30, "the end of the workers")

    def pids(self) -> dict[int, int]:
        """The processes of the workers, as the log has named them last."""
        return {int(index): int(pid) for index, pid in TAKES.findall(self.family.log)}

    async def both(self, starts: int = 2) -> None:
        """Wait until workers have begun so often."""
        await self.within(lambda: len(TAKES.findall(self.family.log)) >= starts, "the workers")

    async def within(self, condition: Callable[[], Any], what: str) -> None:
        """Wait; where it takes too long, the log is shown."""
        try:
            await until(condition, 30, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.family.log[-6000:]}") from None

    async def mailerq(self, *arguments: str) -> list[str]:
        """What a command prints."""
        out, errors, status = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "mailerq", *arguments, "-c", str(self.family.config)],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            str(self.family.folder),
        )
        self.assertEqual(status, 0, errors)
        return [line for line in out.decode().splitlines() if line]

    async def publish(self, count: int, domain: str = "a.example") -> None:
        """Some jobs."""
        await self.family.publish(
            [
                json.dumps({"recipient": f"r{number}@{domain}", "envelope": "", "mime": "A: b\r\n\r\nc"}).encode()
                for number in range(count)
            ]
        )  # fmt: skip

    async def results(self, count: int) -> list[dict[str, Any]]:
        """So many results."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            await self.within(_Lying(self, "results"), "results")
            found += [json.loads(body) for body in await self.family.take("results")]
        return found

    async def ask(self, question: dict[str, Any]) -> list[bytes]:
        """The lines of an answer, read without holding up the hosts of this process."""
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('var/control');"
            "s.sendall(sys.argv[1].encode() + b'\\n'); sys.stdout.buffer.write(s.makefile('rb').read())"
        )
        out, errors, status = await getProcessOutputAndValue(
            sys.executable, ["-c", code, json.dumps(question)], os.environ, str(self.family.folder)
        )
        self.assertEqual(status, 0, errors)
        return [line for line in out.splitlines() if line]


class Lives(FamilyTest if TYPE_CHECKING else object):  # type: ignore[misc]
    """What the workers live through. No test case by itself."""

    async def test_both_deliver(self) -> None:
        """Both workers take jobs of the same outbox; each job is delivered once, and SIGTERM ends all."""
        await self.publish(400)
        found = await self.results(400)
        self.assertEqual(len({one["recipient"] for one in found}), 400)
        self.assertEqual(len(self.host.mails), 400)
        (stats,) = [json.loads(line) for line in [await self.ask({"ask": "stats"})][0][:-1]]
        self.assertEqual(stats["events"]["delivered"], 400)
        each = [one["events"].get("delivered", 0) for one in stats["workers"]]
        self.assertEqual(sum(each), 400)
        self.assertTrue(min(each) or self.broker == "sqlite", each)  # there one may have claimed so few jobs at once
        self.family.signal(signal.SIGTERM)
        await self.within(lambda: not self.family.alive, "the end")
        assert self.family.process is not None
        status = self.family.process.returncode
        self.assertEqual(status, -signal.SIGTERM)
        self.assertNotIn("killed", self.family.log)

    async def test_killed_worker(self) -> None:
        """A worker that is killed is started again, it is said, and its jobs are delivered."""
        self.host.delay = 0.3
        await self.publish(40)
        await self.within(lambda: self.host.begun >= 4, "messages")
        pid = self.pids()[1]
        os.kill(pid, signal.SIGKILL)
        await self.both(3)
        self.assertIn(f"worker 1, process {pid}, was killed by SIGKILL", self.family.log)
        self.assertNotEqual(self.pids()[1], pid)
        found = await self.results(40)
        self.assertEqual(len({one["recipient"] for one in found}), 40)

    async def test_killed_parent(self) -> None:
        """Where the parent is killed, the workers finish what is on the wire and end; the next one takes over."""
        pids = self.pids()
        self.host.delay = 1.0
        await self.publish(6)
        await self.within(lambda: self.host.begun >= 2, "messages")
        assert self.family.process is not None
        self.family.process.kill()
        self.family.process.wait(10)
        self.family.start()
        await self.within(lambda: not any(map(_lives, pids.values())), "the end of the workers")
        self.assertEqual(self.host.begun, self.host.answered, self.family.log[-6000:])
        await self.both(4)
        self.host.delay = 0.0
        await self.results(6)
        self.assertIn("waiting for their end", self.family.log)


class OverRabbit(Lives, FamilyTest):
    """On RabbitMQ."""


class OverSqlite(Lives, FamilyTest):
    """On the embedded queue."""

    broker = "sqlite"


class AsOne(FamilyTest):
    """What people ask and say."""

    async def test_drain(self) -> None:
        """SIGTERM: what is on the wire is finished, and then all end."""
        self.host.delay = 2.0
        await self.publish(10)
        await self.within(lambda: self.host.begun >= 2, "messages")
        await self.family.stop()
        self.assertEqual(self.host.begun, self.host.answered, self.family.log[-6000:])
        self.assertEqual(await self.family.lying("success"), self.host.answered)
        self.assertFalse(any(map(_lives, self.pids().values())))

    async def test_reload(self) -> None:
        """SIGHUP: all workers use the configuration as it is then; one with errors changes nothing and is told once."""
        config = {**self.family.settings, "limits": [{"domain": "a.example", "messages-per-minute": 60}]}
        self.family.write({**config, "nonsense": 1})
        self.family.signal(signal.SIGHUP)
        await self.within(lambda: "not reloaded" in self.family.log, "the error")
        self.family.write({**config, "workers": 3})
        self.family.signal(signal.SIGHUP)
        await self.within(lambda: self.family.log.count("] reloaded") >= 3, "the reload")
        self.assertEqual(self.family.log.count("not reloaded"), 1)
        self.assertEqual(self.family.log.count("needs a restart: workers"), 3)
        await self.publish(5)
        await self.within(lambda: self.host.mails, "a message")
        lines = await self.mailerq("explain", "a.example")
        self.assertTrue(any("messages-per-minute" in line and "60/min" in line for line in lines), lines)
        os.kill(self.pids()[0], signal.SIGKILL)
        await self.both(3)
        lines = await self.mailerq("explain", "c.example")
        self.assertEqual(lines[0], "c.example: no mail for it is in hand. What would hold:")

    async def test_as_one(self) -> None:
        """A pause holds in all workers, and in those that are started later; sites and explain are of all."""
        (line,) = await self.mailerq("pause", "--domain", "a.example", "--why", "test")
        self.assertIn("paused: domain a.example, until it is resumed (test), id 1", line)
        os.kill(self.pids()[0], signal.SIGKILL)
        await self.both(3)
        await self.publish(50)
        await self.publish(50, "b.example")
        await self.results(50)
        self.assertEqual(len(self.host.mails), 50)
        self.assertIn("domain a.example", "\n".join(await self.mailerq("pauses")))
        first, *rows = [json.loads(line) for line in await self.mailerq("sites", "--json")]
        self.assertEqual((first["sites"], len(rows)), (1, 1))
        self.assertEqual(rows[0]["parked"] + rows[0]["waiting"], 50)
        lines = await self.mailerq("explain", "a.example")
        self.assertTrue(any(line.startswith("> pause") for line in lines), lines)
        self.family.kill9()
        await self.within(lambda: not any(map(_lives, self.pids().values())), "the end of the workers")
        self.family.start()
        await self.both(5)
        (line,) = await self.mailerq("resume", "1")
        self.assertIn("resumed", line)
        await self.results(50)

    async def test_silent_worker(self) -> None:
        """A worker that hangs holds up no answer for longer than five seconds; it is said that its part is missing."""
        pid = self.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            lines = await self.mailerq("sites", "--once")
            self.assertIn("worker 0 does not answer", "\n".join(lines))
        finally:
            os.kill(pid, signal.SIGCONT)

    async def test_terminal(self) -> None:
        """SIGINT to all processes, as ^C on a terminal, ends all well; nothing is started again."""
        for pid in self.pids().values():
            os.kill(pid, signal.SIGINT)
        self.family.signal(signal.SIGINT)
        await self.within(lambda: not self.family.alive, "the end")
        self.assertNotIn("started again", self.family.log)
        self.assertNotIn("Traceback", self.family.log)

    async def test_terminated(self) -> None:
        """So does SIGTERM to all."""
        self.family.signal(signal.SIGTERM)
        for pid in self.pids().values():
            os.kill(pid, signal.SIGTERM)
        await self.within(lambda: not self.family.alive, "the end")
        self.assertNotIn("Traceback", self.family.log)


class _Lying:
    """Whether something lies in a queue; asked again and again."""

    def __init__(self, test: FamilyTest, queue: str) -> None:
        self._test = test
        self._queue = queue
        self._count = 0
        self._asks = False

    def __call__(self) -> int:
        if not self._asks:
            self._asks = True
            _ensure(self._ask())
        return self._count

    async def _ask(self) -> None:
        self._count = await self._test.family.lying(self._queue)
        self._asks = False


def _ensure(coroutine: Any) -> None:
    from twisted.internet.defer import Deferred

    Deferred.fromCoroutine(coroutine).addErrback(lambda _: None)  # the broker was closed meanwhile


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
