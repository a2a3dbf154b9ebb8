"""What workers share in memory: tables, counts, due times, in one process and in several, over kills at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.paces_file import PacesFile, PacesInUse
from mailerq.shared_limits import SharedLimits
from mailerq.shared_memory import clear_dead, in_memory, open_shared
from mailerq.throttle import Pace, SharedPace
from tests.worlds import seeds

NOW = 1_800_000_000.0
ROOT = Path(__file__).parent.parent
SITE = ("mx.example.org",)
OPEN = (*SITE, "open", None)

TAKING = """
import sys, time
from mailerq.shared_memory import open_shared
from mailerq.throttle import SharedPace
folder, index, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shared = open_shared(folder, index, 3, time.time)
pace = SharedPace(60_000.0, shared.cell(("site", "messages")), shared.lock, time.time())
others = [shared.cell(("filler", index, number)) for number in range(700)]
count = shared.count(("site", "open"))
print("ready", flush=True)
sys.stdin.readline()
for number in range(many):
    with shared.lock:
        now = time.time()
        if pace.due <= now:
            pace.take(now)
            print("took", repr(now), flush=True)
        others[number % 700].write(now + 100.0, 1.0)
        if count.mine < count.allowed(2):
            count.opened()
            print("open", count.mine + count.others(), flush=True)
    if count.mine and number % 3 == 2:
        count.closed()
"""


class SharedTests(SynchronousTestCase):
    """Workers in one process, over real files."""

    def setUp(self) -> None:
        self.folder = str(Path(self.mktemp()).absolute())
        self.now = NOW

    def open(self, index: int, workers: int = 2) -> SharedLimits:
        """One of them."""
        shared = open_shared(self.folder, index, workers, lambda: self.now)
        self.addCleanup(_close, shared)
        return shared

    def pace(self, shared: SharedLimits, per_minute: float = 60.0, name: Any = ("m",)) -> SharedPace:
        """Its pace of a name."""
        cell = shared.cell(name)
        assert cell is not None
        return SharedPace(per_minute, cell, shared.lock, self.now)

    def test_one_pace(self) -> None:
        """What one takes, the other has to wait for."""
        one, other = self.pace(self.open(0)), self.pace(self.open(1))
        one.take(self.now)
        self.assertEqual(other.next_time(self.now), self.now + 1.0)
        other.take(other.due)
        self.assertEqual(one.due, self.now + 2.0)

    def test_changed_once(self) -> None:
        """Where all change to another rate, what is owed is paid at the new one, once."""
        one, other = self.pace(self.open(0), 6.0), self.pace(self.open(1), 6.0)
        one.take(self.now, 10.0)
        for pace in (one, other):
            pace.change(60.0, self.now)
        self.assertAlmostEqual(other.due, self.now + 10.0, 3)
        self.assertGreaterEqual(other.due, self.now + 10.0)

    def test_growing(self) -> None:
        """A table that becomes too small is replaced; all find there what was in it, and what comes."""
        one, other = self.open(0), self.open(1)
        paces = [self.pace((one, other)[number % 2], 6.0, ("s", number)) for number in range(3000)]
        for pace in paces:
            pace.take(self.now)
        for number in range(3000):
            due = self.pace((other, one)[number % 2], 6.0, ("s", number)).due
            self.assertEqual(due, self.now + 10.0, number)
        self.assertEqual({pace.due for pace in paces}, {self.now + 10.0})

    def test_past_is_dropped(self) -> None:
        """Due times of the past make room; the table does not grow for them."""
        shared = self.open(0)
        for number in range(20_000):
            self.now += 0.01
            self.pace(shared, 60.0, ("s", number)).take(self.now)
        self.assertLessEqual(len(shared.paces.slots()), 2048)

    def test_kept_over_lives(self) -> None:
        """Due times outlive all workers, and go over to one process, and back."""
        shared = self.open(0)
        self.pace(shared, 6.0).take(self.now)
        shared.close()
        file = PacesFile(os.path.join(self.folder, "paces"), lambda: self.now)
        pace = Pace(6.0, file.slot(("m",)))
        self.assertEqual(pace.due, self.now + 10.0)
        pace.take(pace.due)
        file.close()
        self.assertEqual(self.pace(self.open(1, 3), 6.0).due, self.now + 20.0)

    def test_in_use(self) -> None:
        """An engine that is no worker, and workers of another number, are refused as long as one lives."""
        self.open(0)
        with self.assertRaises(PacesInUse):
            PacesFile(os.path.join(self.folder, "paces"), lambda: self.now)
        with self.assertRaises(PacesInUse):
            self.open(0, 3)
        self.open(1)

    def test_refused_by_one_process(self) -> None:
        """Workers are refused where one process has the paces."""
        os.makedirs(self.folder)
        file = PacesFile(os.path.join(self.folder, "paces"), lambda: self.now)
        self.addCleanup(file.close)
        with self.assertRaises(PacesInUse):
            self.open(0)

    def test_dead_has_nothing(self) -> None:
        """What a dead worker had is free when it is cleared, or begins again."""
        one, other = self.open(0), self.open(1)
        for shared in (one, other):
            with shared.lock:
                shared.count(OPEN).opened()
        clear_dead(self.folder, 1, 2)
        self.assertEqual((one.count(OPEN).mine, one.count(OPEN).others()), (1, 0))
        one.die()
        self.assertEqual((self.open(0).count(OPEN).mine, other.count(OPEN).others()), (0, 0))

    def test_others_are_told(self) -> None:
        """Which rules were found to hold is told to all, and to who comes later; a line that was cut is not there."""
        one, other = self.open(0), self.open(1)
        with one.lock:
            one.note_domain(SITE, "a.example")
        self.assertEqual(list(other.noted()), [(SITE, "a.example")])
        self.assertEqual(list(other.noted()), [])
        with open(os.path.join(self.folder, "named"), "ab") as file:
            file.write(b'[["mx.ex')
        other.die()
        with one.lock:
            one.note_domain(SITE, "b.example")
        self.assertEqual([domain for _, domain in self.open(1).noted()], ["a.example", "b.example"])

    def test_no_room(self) -> None:
        """On a full disk each worker keeps to its limits alone, and goes on."""
        one = self.open(0)
        with patch("os.posix_fallocate", side_effect=OSError("full")):
            paces = [self.pace(one, 6.0, ("s", number)) for number in range(1200)]
            for pace in paces:
                pace.take(self.now)
            counts = [one.count(("c", number)) for number in range(1200)]
            for count in counts:
                with one.lock:
                    count.opened()
        self.assertEqual({pace.due for pace in paces}, {self.now + 10.0})
        self.assertEqual({count.mine for count in counts}, {1})
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_foreign(self) -> None:
        """A file of something else is refused, with its name."""
        os.makedirs(self.folder)
        path = os.path.join(self.folder, "paces")
        Path(path).write_bytes(b"something else, which is not ours" * 10)
        with self.assertRaisesRegex(OSError, "no file of paces"):
            self.open(0)

    @seeds(40)
    @given(st.integers(0, 3))
    def test_killed_while_growing(self, step: int) -> None:
        """Whoever is killed while it replaces a table leaves one that is whole; nobody's due time is lost."""
        self.folder = str(Path(self.mktemp()).absolute())
        one, other = self.open(0), self.open(1)
        known = self.pace(other, 6.0)
        known.take(self.now)
        calls = iter(range(100))

        def killed(function: Any) -> Any:
            def called(*arguments: Any, **named: Any) -> Any:
                if next(calls) == step:
                    raise KeyboardInterrupt
                return function(*arguments, **named)

            return called

        with (
            patch("os.posix_fallocate", killed(os.posix_fallocate)),
            patch("os.replace", killed(os.replace)),
            patch("os.unlink", killed(os.unlink)),
        ):
            try:
                for number in range(4000):
                    self.pace(one, 6.0, ("s", number)).take(self.now)
            except KeyboardInterrupt:
                pass
        one.die()
        with other.lock:
            self.assertEqual(known.due, self.now + 10.0)
        self.assertEqual(self.pace(self.open(0), 6.0).due, self.now + 10.0)


class CountTests(SynchronousTestCase):
    """Who may have one more, and who lets one go."""

    def setUp(self) -> None:
        self.now = NOW
        self.workers = in_memory(3, lambda: self.now)
        self.counts = [worker.count(OPEN) for worker in self.workers]

    def refuse(self, index: int, limit: float) -> None:
        """A worker finds that it may not have one more."""
        self.workers[index].refused(SITE, [(self.counts[index], limit)], 5)

    def test_longest_first(self) -> None:
        """A place that is free is his who waits longest, of those with fewest."""
        self.counts[0].opened()
        self.refuse(1, 1)
        self.now += 0.1
        self.refuse(2, 1)
        self.workers[1].free_again()
        self.assertTrue(self.counts[0].gives_way())
        self.counts[0].closed()
        self.assertEqual([count.allowed(1) for count in self.counts], [-1, 1, 0])
        self.assertEqual(list(self.workers[1].free_again()), [SITE])
        self.assertEqual(list(self.workers[2].free_again()), [])

    def test_hung(self) -> None:
        """A worker that does not look again does not keep a place free."""
        self.counts[0].opened()
        self.refuse(1, 1)
        self.counts[0].closed()
        self.now += 2.0
        self.assertEqual(self.counts[0].allowed(1), 1)

    def test_even_is_enough(self) -> None:
        """Nobody gives way to one that has as many, or one less."""
        for index in (0, 0, 1):
            self.counts[index].opened()
        self.refuse(1, 3)
        self.assertFalse(self.counts[0].gives_way())
        self.counts[0].opened()
        self.assertTrue(self.counts[0].gives_way())

    def test_as_many_as_needed(self) -> None:
        """No more is let go than is wanted."""
        for _ in range(4):
            self.counts[0].opened()
        self.refuse(1, 4)
        self.assertTrue(self.counts[0].gives_way())
        self.counts[0].leaving += 1
        self.assertFalse(self.counts[0].gives_way())

    @seeds(100)
    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=80), st.integers(1, 4))
    def test_never_more(self, steps: list[tuple[int, int]], limit: int) -> None:
        """Whatever is asked for in whatever order, all together never have more than the limit."""
        self.setUp()
        for index, what in steps:
            self.now += 0.01
            count = self.counts[index]
            if what <= 1:
                if count.mine < count.allowed(limit):
                    count.opened()
                    self.workers[index].refused(SITE, (), 0)
                else:
                    self.refuse(index, limit)
            elif what == 2 and count.mine:
                count.closed()
            elif what == 3:
                self.workers[index].columns.clear(index)
                self.workers[index]._wanted.clear()
                count.sites.clear()
            self.assertLessEqual(sum(one.mine for one in self.counts), limit)


class ProcessTests(SynchronousTestCase):
    """Real processes at once on the same files."""

    def test_hammered(self) -> None:
        """No due time is passed, no count exceeded, while some of them are killed and begun again."""
        folder = str(Path(self.mktemp()).absolute())
        running = [self.begin(folder, index) for index in range(3)]
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [running[2].stdout.readline() for _ in range(50)]
        running[2].send_signal(signal.SIGKILL)
        said += running[2].communicate()[0].splitlines()
        clear_dead(folder, 2, 3)
        again = self.begin(folder, 2)
        for process in (again, *running[:2]):
            said += process.communicate("go\n")[0].splitlines()
            self.assertEqual(process.returncode, 0)
        whole = [line.split() for line in said if len(line.split()) == 2]
        taken = sorted(float(words[1]) for words in whole if words[0] == "took")
        self.assertGreater(len(taken), 30)
        self.assertGreaterEqual(min(b - a for a, b in pairwise(taken)), 0.001 - 1e-6)
        opened = [int(words[1]) for words in whole if words[0] == "open"]
        self.assertGreater(len(opened), 30)
        self.assertLessEqual(max(opened), 2)

    def begin(self, folder: str, index: int) -> Any:
        """One more process, ready to go."""
        process = subprocess.Popen(
            [sys.executable, "-c", TAKING, folder, str(index), "3000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(_end, process)
        self.assertEqual(process.stdout.readline(), "ready\n")  # type: ignore[union-attr]
        return process


def _end(process: Any) -> None:
    if process.poll() is None:
        process.kill()
        process.communicate()


def _close(shared: SharedLimits) -> None:
    with contextlib.suppress(OSError, ValueError):  # it died in the test
        shared.close()
