"""The parent of several workers: what it starts and ends, and what it tells whom."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.files import lock
from mailerq.pauses import Pause, Scope
from mailerq.slowdown import SlowDown
from mailerq.worker import Worker
from mailerq.workers.changes import Crowded, Paused, Resumed, Slowed, Warmed
from mailerq.workers.messages import Begin, Ready, Refused, Reload, Reopen
from tests.family import NOW, Family

SLOW = SlowDown({"messages_per_minute": 60.0}, NOW + 3600, NOW, "450 too fast", 3)


class FamilyTest(SynchronousTestCase):
    """One family, both of whose workers take jobs."""

    def setUp(self) -> None:
        self.family = Family(self)
        self.parent, self.clock, self.processes = self.family.parent, self.family.clock, self.family.processes
        self.family.start()

    def tearDown(self) -> None:
        if self.parent._stopped is None:
            self.family.end()
        self.flushLoggedErrors()

    def lives(self) -> dict[int, int]:
        """The processes, by worker."""
        return {index: life.pid for index, life in self.parent.lives.items()}


class Lives(FamilyTest):
    """What is started, and started again."""

    def test_start(self) -> None:
        """All workers are started at once, each told which one it is and the configuration."""
        self.assertEqual([process.worker for process in self.processes.values()], [Worker(0, 2), Worker(1, 2)])
        for process in self.processes.values():
            self.assertEqual(process.heard, [Begin(self.family.text, self.family.text, "c.yaml")])

    def test_again(self) -> None:
        """What dies is started again: at once, then later and later; the others live on."""
        self.processes[1].end(by=signal.SIGKILL)
        self.clock.advance(0)
        self.assertEqual(self.lives(), {0: 1001, 1: 1003})
        self.processes[1].end(status=3)
        self.clock.advance(0.09)
        self.assertEqual(self.lives(), {0: 1001})
        self.clock.advance(0.02)
        self.assertEqual(self.lives(), {0: 1001, 1: 1004})
        self.assertEqual(self.parent.restarts, 2)

    def test_healthy(self) -> None:
        """After a minute of life a worker that dies is started again at once."""
        for wait in (0.0, 0.1, 0.2, 0.4):
            self.processes[1].end(by=signal.SIGSEGV)
            self.clock.advance(wait)
        self.clock.pump([1.0] * 60)
        self.processes[1].end(by=signal.SIGSEGV)
        self.clock.advance(0)
        self.assertIn(1, self.lives())

    def test_no_process(self) -> None:
        """Where the system gives no process, it is tried again."""
        self.family.fails = True
        self.processes[1].end()
        self.clock.advance(0)
        self.clock.advance(0.1)
        self.assertEqual(self.lives(), {0: 1001})
        self.family.fails = False
        self.clock.advance(1)
        self.assertIn(1, self.lives())

    def test_end_is_told(self) -> None:
        """How a process ended is known: by which signal, with which status."""
        lives = list(self.parent.lives.values())
        self.processes[0].end(by=signal.SIGKILL)
        self.processes[1].end(status=3)
        self.assertEqual([life.end for life in lives], ["was killed by SIGKILL", "ended with status 3"])

    def test_refused_later(self) -> None:
        """A worker that was well and cannot run when it is started again is tried again, while another runs."""
        self.processes[1].end(by=signal.SIGKILL)
        self.clock.advance(0)
        self.processes[1].say(Refused("journal: in use"))
        self.processes[1].end(status=1)
        self.clock.advance(1)
        self.assertIn(1, self.lives())
        self.assertFalse(self.clock.stopped)

    def test_none_can_run(self) -> None:
        """Where none runs and one cannot, that is the end: status 1."""
        self.processes[0].end(by=signal.SIGKILL)
        self.processes[1].say(Refused("the broker refuses the password"))
        self.processes[1].end(status=1)
        self.assertTrue(self.clock.stopped)
        self.assertEqual(self.clock.after, [("after", "shutdown", os._exit, 1)])


class Starts(SynchronousTestCase):
    """Before anything is well."""

    def test_refused(self) -> None:
        """A worker that cannot run from the start ends all, with its reason and status 1."""
        family = Family(self)
        family.parent.startService()
        family.processes[0].say(Ready())
        family.processes[1].say(Refused("the queue is in use"))
        family.processes[1].end(status=1)
        self.assertTrue(family.clock.stopped)
        self.assertEqual(family.clock.after, [("after", "shutdown", os._exit, 1)])
        family.end()

    def test_workers_of_another(self) -> None:
        """While workers of a parent that was killed still run, nothing is started; then all is."""
        family = Family(self)
        family.folder.mkdir()
        other = lock(family.folder / "workers")
        family.parent.startService()
        family.clock.pump([0.2] * 10)
        self.assertEqual(family.lives, 0)
        os.close(other)
        family.clock.advance(0.2)
        self.assertEqual(family.lives, 2)
        family.end()

    def test_another_lives(self) -> None:
        """Where they do not end, the process says so and ends with status 1."""
        family = Family(self)
        family.folder.mkdir()
        self.addCleanup(os.close, lock(family.folder / "workers"))
        family.parent.startService()
        family.clock.pump([0.2] * 260)
        self.assertTrue(family.clock.stopped)
        family.end()
        self.assertEqual((family.lives, family.clock.getDelayedCalls()), (0, []))

    def test_no_state(self) -> None:
        """A folder that cannot be used is a reason to end."""
        family = Family(self, folder=Path(self.mktemp()))
        family.folder.write_text("a file")
        family.parent.startService()
        self.assertTrue(family.clock.stopped)
        family.end()


class Stops(FamilyTest):
    """The end."""

    def test_drain(self) -> None:
        """All workers are told to end, and waited for; none is started again."""
        stopped = self.parent.stopService()
        self.assertEqual([process.signals for process in self.processes.values()], [["TERM"], ["TERM"]])
        self.processes[0].end()
        self.clock.advance(5)
        self.assertNoResult(stopped)
        self.processes[1].end()
        self.successResultOf(stopped)
        self.clock.advance(1000)
        self.assertEqual((self.lives(), self.clock.getDelayedCalls()), ({}, []))

    def test_killed(self) -> None:
        """One that does not end in delivery.drain and twenty seconds is killed."""
        stopped = self.parent.stopService()
        self.processes[0].end()
        self.clock.advance(50)
        self.assertEqual(self.processes[1].signals, ["TERM", "KILL"])
        self.processes[1].end(by=signal.SIGKILL)
        self.successResultOf(stopped)

    def test_none_left(self) -> None:
        """Those that are waiting to be started again are not."""
        for process in list(self.processes.values()):
            process.end(by=signal.SIGKILL)
        self.successResultOf(self.parent.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lock(self) -> None:
        """The state can be used by another afterwards."""
        self.family.end()
        os.close(lock(self.family.folder / "workers"))


class Reloads(FamilyTest):
    """SIGHUP."""

    def test_reload(self) -> None:
        """All are told the text as it is then, and one that is started later both: that of the start for what needs a
        restart."""
        first = self.family.text
        self.family.text += "\nworkers: 7"
        os.kill(os.getpid(), signal.SIGHUP)
        for process in self.processes.values():
            self.assertEqual(process.of(Reload), [Reload(self.family.text)])
        self.assertEqual(self.parent.settings.workers, 1)
        self.processes[0].end()
        self.clock.advance(0)
        self.assertEqual(self.processes[0].heard, [Begin(first, self.family.text, "c.yaml")])

    def test_wrong(self) -> None:
        """One with errors changes nothing; logs are opened anew."""
        first = self.family.text
        self.family.text += "\nnonsense: 7"
        self.parent.reload()
        self.processes[0].end()
        self.clock.advance(0)
        self.assertEqual(self.processes[0].heard, [Begin(first, first, "c.yaml")])
        self.assertEqual(self.processes[1].heard[1:], [Reopen()])


class Knows(FamilyTest):
    """What one finds out and all must know."""

    def noted(self) -> dict[str, Any]:
        """What is on the disk."""
        self.clock.advance(1)
        found: dict[str, Any] = json.loads((self.family.folder / "notes.json").read_text())
        return found

    def test_pauses(self) -> None:
        """A pause that one has made all hear, with one number for all; and its end."""
        for process, site in zip(self.processes.values(), ("mx.a.example", "mx.b.example"), strict=True):
            pause = Pause(1, NOW, NOW + 600, "550 go away", site=(site,), by="reply")
            process.say(Paused(pause))
        for process in self.processes.values():
            heard = {message.pause.id: message.pause.site for message in process.of(Paused)}
            self.assertEqual(heard, {1: ("mx.a.example",), 2: ("mx.b.example",)})
        self.processes[0].say(Resumed(Scope(site=("mx.a.example",))))
        self.assertEqual(self.processes[1].of(Resumed), [Resumed(Scope(site=("mx.a.example",)))])
        self.assertEqual([note["site"] for note in self.noted()["pauses"]], [["mx.b.example"]])

    def test_longer(self) -> None:
        """What a host asks for makes a pause longer, never shorter; who has it wrong is told."""
        for process, until in zip(self.processes.values(), (600, 60), strict=True):
            process.say(Paused(Pause(1, NOW, NOW + until, "", domain="a.example", by="reply")))
        self.assertEqual(self.processes[1].of(Paused)[-1].pause.until, NOW + 600)

    def test_slow(self) -> None:
        """Reduced limits, too; of two told at the same time the lower for the longer."""
        self.processes[0].say(Slowed(("mx",), None, SLOW))
        self.assertEqual(self.processes[1].of(Slowed), [Slowed(("mx",), None, SLOW)])
        other = SlowDown({"messages_per_minute": 30.0}, NOW + 60, NOW + 1, "450 slower", 4)
        self.processes[1].say(Slowed(("mx",), None, other))
        holds = self.processes[0].of(Slowed)[-1].slowdown
        self.assertEqual((dict(holds.values), holds.until), ({"messages_per_minute": 30.0}, NOW + 3600))
        self.assertEqual(self.processes[1].of(Slowed)[-1].slowdown, holds)

    def test_crowded(self) -> None:
        """That a host bears no more connections is passed on."""
        self.processes[0].say(Crowded(("mx",), None, NOW))
        self.assertEqual(self.processes[1].of(Crowded), [Crowded(("mx",), None, NOW)])

    def test_warm(self) -> None:
        """A day of a warm-up counts once, whoever has begun it; an older one changes nothing."""
        for process in self.processes.values():
            process.say(Warmed("rule from 192.0.2.1", 3, "2023-11-14"))
        self.processes[0].say(Warmed("rule from 192.0.2.1", 2, "2023-11-13"))
        self.assertEqual([len(process.of(Warmed)) for process in self.processes.values()], [1, 1])
        self.assertEqual(self.noted()["warm-up"], {"rule from 192.0.2.1": {"day": 3, "date": "2023-11-14"}})

    def test_started_again(self) -> None:
        """A worker that is started again, and one of the next parent, have all of it, before they take jobs."""
        changes = [
            Paused(Pause(1, NOW, None, "why", domain="a.example")),
            Slowed(("mx",), "192.0.2.1", SLOW),
            Warmed("rule from 192.0.2.1", 3, "2023-11-14"),
        ]
        for change in changes:
            self.processes[0].say(change)
        self.processes[1].end(by=signal.SIGKILL)
        self.clock.advance(0)
        self.assertEqual(self.processes[1].heard[:-1], changes)
        self.assertIsInstance(self.processes[1].heard[-1], Begin)
        self.family.end()
        again = Family(self, folder=self.family.folder)
        again.parent.startService()
        self.assertEqual(again.processes[0].heard[:-1], changes)
        again.end()

    def test_over(self) -> None:
        """What is over is forgotten."""
        self.processes[0].say(Paused(Pause(1, NOW, NOW + 5, domain="a.example")))
        self.processes[0].say(Slowed(("mx",), None, SLOW))
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.noted()["pauses"], [])
        self.clock.pump([3600.0] * 3)
        self.assertEqual(list(self.parent.memory.all()), [])

    def test_nonsense(self) -> None:
        """What makes no sense is left out, and hurts nobody."""
        self.processes[0].say(Warmed("a", 3, "yesterday"))
        self.processes[0].say(Warmed("a", -3, "2023-11-14"))
        self.processes[0].say(Slowed(("mx",), None, SlowDown({"messages_per_minute": -1.0}, NOW, NOW, "", 0)))
        self.processes[0].say(b"nonsense\n\xff\n{}\n" + b"x" * 20_000_000 + b"\n")
        self.processes[0].say(Warmed("a", 3, "2023-11-14"))
        self.assertEqual(self.processes[1].of(Warmed), [Warmed("a", 3, "2023-11-14")])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_whatever_comes(self, pieces: list[bytes]) -> None:
        """Whatever a worker says: the parent goes on."""
        for piece in pieces:
            self.processes[0].say(piece)
        self.assertEqual(sorted(self.lives()), [0, 1])
