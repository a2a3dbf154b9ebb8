"""Jobs that come again to another worker than the one that had them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailerq import handovers as handovers_module
from mailerq import journal as journal_module
from mailerq.fellows import Waits, open_journal
from mailerq.handovers import Handovers
from mailerq.verdict import DELIVERED, Retry
from mailerq.worker import ALONE, Worker

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
PATIENCE = 600.0


class One:
    """The process of one worker."""

    def __init__(self, base: str, worker: Worker, seconds: Any, life: str) -> None:
        self.journal, fellows = open_journal(base, worker, seconds, life, PATIENCE)
        self.fellows: Any = fellows
        self.seconds = seconds
        self.dead = False

    def look(self, digest: bytes, waits: Waits | None = None) -> Any:
        """What is known of a job that has come again."""
        return self.fellows.look(digest, self.seconds(), waits)

    def kill(self) -> None:
        """It ends without a word."""
        if not self.dead:
            self.dead = True
            self.journal._map.close()
            os.close(self.journal._file)
            os.close(self.journal._lock)
            if self.fellows is not None:
                self.fellows.close()

    def end(self) -> None:
        """It ends properly."""
        self.dead = True
        self.journal.close()
        if self.fellows is not None:
            self.fellows.close()


class Case(SynchronousTestCase):
    """Workers of a machine."""

    def setUp(self) -> None:
        """A folder, a clock."""
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.addCleanup(shutil.rmtree, self.folder)
        self.base = str(self.folder / "journal")
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.lives = 0
        self.patch(journal_module, "ROOM", 20_000)

    def one(self, index: int, count: int = 2) -> One:
        """A worker begins."""
        self.lives += 1
        worker = Worker(index, count) if count > 1 else ALONE
        one = One(self.base, worker, self.clock.seconds, f"{self.lives:x}")
        self.addCleanup(one.kill)
        return one

    def mail(self, identity: str = "1-1", digest: bytes = A) -> Any:
        """As much of a mail as is looked at."""
        return SimpleNamespace(identity=identity, digest=digest, came=self.clock.seconds())


class Dead(Case):
    """The worker that had the job is dead."""

    def test_dotted(self) -> None:
        """Its final dot was sent: the job is in doubt, for one of the others, once."""
        dead, other, third = (self.one(index, 3) for index in range(3))
        dead.journal.dot("1-1", A, "192.0.2.1", "192.0.2.2", "mx")
        dead.kill()
        found = other.look(A)
        self.assertEqual((found.identity, found.verdict, found.target), ("1-1", None, "192.0.2.2"))
        self.assertIsInstance(third.look(A), Waits)  # it may be an equal one that the other has in hand
        other.journal.settled("1-1")
        for one in (other, third, self.one(0, 3)):
            self.assertIsNone(one.look(A))

    def test_decided(self) -> None:
        """Its verdict comes back exactly."""
        dead, other = self.one(0), self.one(1)
        dead.journal.decided("1-1", A, Retry(5.25), 1.5, [b'{"a":1}'])
        dead.kill()
        found = other.look(A)
        self.assertEqual((found.verdict, found.seen, found.entries), (Retry(5.25), 1.5, [b'{"a":1}']))

    def test_restarted(self) -> None:
        """What the next life of the dead one has taken is no one else's, and the other way round."""
        for first in (0, 1):
            workers = [self.one(0), self.one(1)]
            workers[0].journal.dot("1-1", A, None, None, None)
            workers[0].kill()
            workers[0] = self.one(0)
            self.assertIsNotNone(workers[first].look(A))
            workers[first].journal.settled("1-1")
            self.assertIsNone(workers[1 - first].look(A))
            for worker in workers:
                worker.kill()
            shutil.rmtree(self.folder)
            self.folder.mkdir()

    def test_again_and_again(self) -> None:
        """Whoever has taken it may be killed, too: it goes on to the next, as it was or as it became."""
        dead, second, third = (self.one(index, 3) for index in range(3))
        dead.journal.dot("1-1", A, None, None, None)
        dead.kill()
        self.assertIsNone(second.look(A).verdict)
        second.kill()
        self.assertIsNone(third.look(A).verdict)
        third.journal.decided("1-1", A, Retry(5.0), 0.0, [])
        third.kill()
        first = self.one(0, 3)
        self.assertEqual(first.look(A).verdict, Retry(5.0))
        first.kill()
        self.assertEqual(self.one(1, 3).look(A).verdict, Retry(5.0))

    def test_next_try(self) -> None:
        """A job that was taken over, and put back, may be taken over again in its next try."""
        first, second = self.one(0), self.one(1)
        first.journal.decided("1-1", A, Retry(5.0), 0.0, [])
        first.kill()
        self.assertEqual(second.look(A).verdict, Retry(5.0))
        second.journal.settled("1-1")
        second.journal.dot("1-1", B, None, None, None)
        second.kill()
        self.assertIsNone(self.one(0).look(A))
        self.assertIsNotNone(self.one(1).look(B))

    def test_settled(self) -> None:
        """Of one whose acknowledgement may be lost that is known; of several equal ones it is not believed."""
        first, second = self.one(0), self.one(1)
        first.journal.decided("1-1", A, DELIVERED, 0.0, [])
        first.journal.acknowledged("1-1", 0)
        first.journal.decided("1-2", B, DELIVERED, 0.0, [])
        first.journal.acknowledged("1-2", 0)
        second.journal.decided("2-1", B, DELIVERED, 0.0, [])
        second.journal.acknowledged("2-1", 0)
        first.kill()
        self.assertTrue(second.look(A).settled)
        second.kill()
        again = self.one(0)
        self.assertIsNone(again.look(B))

    def test_killed_while_it_is_taken(self) -> None:
        """Killed after it was noted by who takes it, and before that was said: it is taken by the next, once."""
        first, second, third = (self.one(index, 3) for index in range(3))
        first.journal.dot("1-1", A, None, None, None)
        first.kill()
        with patch.object(Handovers, "take", side_effect=SystemExit):
            self.assertRaises(SystemExit, second.look, A)
        second.kill()
        self.assertIsNotNone(third.look(A))
        third.journal.settled("1-1")
        self.assertIsNone(third.look(A))
        self.assertIsNone(self.one(1, 3).look(A))


class Living(Case):
    """The worker that had the job lives."""

    def setUp(self) -> None:
        """Two of them."""
        super().setUp()
        self.first, self.second = self.one(0), self.one(1)

    def test_on_its_way(self) -> None:
        """While its message is on its way the other waits; what it came to decides, once the broker is known to be
        lost."""
        self.first.journal.dot("1-1", A, None, None, None)
        waits = self.second.look(A)
        self.assertIsInstance(waits, Waits)
        self.first.journal.all_adrift()
        waits = self.second.look(A, waits)
        self.assertIsInstance(waits, Waits)
        self.first.journal.decided("1-1", A, DELIVERED, 0.0, [])
        self.assertEqual(self.second.look(A, waits).verdict, DELIVERED)
        self.assertTrue(self.first.fellows.has_gone(self.mail()))
        self.assertFalse(self.first.fellows.still_ours(self.mail()))

    def test_equal(self) -> None:
        """Where the living one was sending an equal job, and goes on to settle it, this one is begun; others that it
        begins meanwhile are not waited for."""
        self.first.journal.dot("1-1", A, None, None, None)
        waits = self.second.look(A)
        self.first.journal.dot("1-2", A, None, None, None)
        self.first.journal.decided("1-1", A, DELIVERED, 0.0, [])
        self.first.journal.acknowledged("1-1", 1)
        waits = self.second.look(A, waits)
        self.assertIsInstance(waits, Waits)
        self.first.journal.tick()
        self.first.journal.tick()
        self.assertIsNone(self.second.look(A, waits))

    def test_acknowledged(self) -> None:
        """What it had settled, and of which the acknowledgement may be lost since it has lost the broker, is over."""
        self.first.journal.decided("1-1", A, DELIVERED, 0.0, [])
        self.first.journal.acknowledged("1-1", 0)
        waits = self.second.look(A)
        self.assertIsInstance(waits, Waits)
        self.first.journal.all_adrift()
        self.assertTrue(self.second.look(A, waits).settled)
        self.assertTrue(self.first.fellows.may_be_equal(A))

    def test_dies(self) -> None:
        """One that is killed while the other waits for it leaves its job in doubt."""
        self.first.journal.dot("1-1", A, None, None, None)
        waits = self.second.look(A)
        self.first.kill()
        self.assertIsNone(self.second.look(A, waits).verdict)

    def test_stuck(self) -> None:
        """One that never says what came of it is not waited for without end: the job is in doubt."""
        self.first.journal.dot("1-1", A, None, None, None)
        waits = self.second.look(A)
        self.clock.advance(PATIENCE + 1)
        self.assertIsNone(self.second.look(A, waits).verdict)
        self.assertTrue(self.first.fellows.has_gone(self.mail()))

    def test_before_the_dot(self) -> None:
        """A job that another has taken meanwhile is not sent by the one that had it, one that came later is."""
        mail = self.mail()
        self.clock.advance(0.5)
        self.assertFalse(self.first.fellows.withholds(mail))
        self.assertIsNone(self.second.look(A))
        self.assertTrue(self.first.fellows.withholds(mail))
        self.assertFalse(self.first.fellows.still_ours(mail))
        self.assertFalse(self.first.fellows.withholds(self.mail(digest=B)))
        self.clock.advance(0.5)
        self.assertFalse(self.first.fellows.withholds(self.mail()))
        self.assertFalse(self.second.fellows.withholds(mail))

    def test_back(self) -> None:
        """A job that comes back to the one that has lost the broker is its own, and the others wait again."""
        self.first.journal.dot("1-1", A, None, None, None)
        self.first.journal.all_adrift()
        self.first.journal.decided("1-1", A, DELIVERED, 0.0, [])
        self.assertTrue(self.first.fellows.still_ours(self.mail()))
        self.assertIsInstance(self.second.look(A), Waits)

    def test_copies(self) -> None:
        """Of a job that was put on the outbox twice the second is known, by whomever; what comes again is not taken for
        it."""
        for copy, redelivered in ((False, False), (True, False), (False, True)):
            if not redelivered and not copy:
                self.assertFalse(self.first.fellows.is_copy(C, False))
                self.second.fellows.published_again(C)
            self.assertEqual(self.first.fellows.is_copy(C, redelivered), copy)
        self.assertTrue(self.second.fellows.is_copy(C, False))

    def test_made_anew(self) -> None:
        """A journal that is made anew while others read it is read on."""
        self.first.journal.dot("1-open", B, None, None, None)
        self.assertIsNone(self.second.look(A))
        for number in range(1000):
            self.first.journal.dot(f"1-{number}", C, None, None, None)
            self.first.journal.settled(f"1-{number}")
        self.first.journal.dot("1-last", A, None, None, None)
        self.first.kill()
        self.assertEqual(self.second.look(A).identity, "1-last")
        self.assertEqual(self.second.look(B).identity, "1-open")
        self.assertIsNone(self.second.look(C))


class Numbers(Case):
    """The number of workers changes."""

    def left(self, count: int) -> None:
        """Each worker leaves a job in doubt."""
        workers = [self.one(index, count) for index in range(count)]
        for index, worker in enumerate(workers):
            worker.journal.dot(f"1-{index}", bytes([65 + index]) * 16, None, None, None)
        for worker in workers:
            worker.kill()

    def names(self) -> set[str]:
        """The files that there are."""
        return {path.name for path in self.folder.iterdir() if not path.name.endswith(".lock")}

    def test_changes(self) -> None:
        """Whatever it was before: all that was left open is known, once, and no file stays that nobody writes."""
        for before in (1, 2, 3):
            for after in (1, 2, 3):
                self.left(before)
                workers = [self.one(index, after) for index in range(after)]
                found: list[str] = []
                for number in range(before):
                    digest = bytes([65 + number]) * 16
                    for worker in workers:
                        one = worker.journal.recall(digest) if worker.fellows is None else worker.look(digest)
                        if one is not None and not isinstance(one, Waits):
                            found.append(one.identity)
                self.assertEqual(sorted(found), [f"1-{number}" for number in range(before)], (before, after))
                journals = {"journal"} if after == 1 else {f"journal.{index}" for index in range(after)}
                self.assertEqual(self.names() - {"journal.handed"}, journals, (before, after))
                for worker in workers:
                    worker.end()
                shutil.rmtree(self.folder)
                self.folder.mkdir()

    def test_taken_before(self) -> None:
        """What one had taken from another is not taken again by the one that is left."""
        first, second = self.one(0), self.one(1)
        first.journal.dot("1-1", A, None, None, None)
        first.kill()
        second.look(A)
        second.journal.settled("1-1")
        second.kill()
        alone = self.one(0, 1)
        self.assertIsNone(alone.journal.recall(A))
        self.assertEqual(self.names(), {"journal"})

    def test_stranger(self) -> None:
        """A journal that another engine writes is left alone."""
        alone = self.one(0, 1)
        alone.journal.dot("1-1", A, None, None, None)
        worker = self.one(0)
        self.assertIsNone(worker.look(A))
        self.assertIn("journal", self.names())


class File(Case):
    """What is said among workers."""

    def test_full(self) -> None:
        """What is old makes room; what is not stays known to all."""
        self.patch(handovers_module, "SIZE", 4096)
        path = str(self.folder / "handed")
        first, second = (Handovers(path, name, self.clock.seconds) for name in "12")
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        for number in range(200):
            self.clock.advance(60)
            with first.locked():
                first.take(f"x-{number}", A)
        with second.locked():
            self.assertFalse(second.is_ours("x-199", A, "3"))
            self.assertTrue(second.is_ours("x-1", A, "3"))
        self.assertLess(len(second.takers), 80)
        with second.locked():
            second.move(B)
        self.assertTrue(first.news)
        with first.locked():
            self.assertIn(B, first.moved)
        self.assertFalse(first.news)
        self.assertEqual(second.moved, {})

    def test_damaged(self) -> None:
        """Lines that are none are of no effect."""
        path = self.folder / "handed"
        first = Handovers(str(path), "1", self.clock.seconds)
        self.addCleanup(first.close)
        for text in ("", "T", "T x 1 2", "T 5 1 zz 1", "M 5 2 \xff", "T 5.0 2 6161"):
            with first.locked():
                first._say("\n" + text, "\n")
        with first.locked():
            first.take("1-1", A)
        self.assertIn(("1-1", A), first.takers)
