"""Due times that survive: restarts, kills, a clock that goes back, files that are damaged or not ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailerq.paces_file import PacesFile, PacesInUse
from mailerq.throttle import Pace

NOW = 1_700_000_000.0
ROOT = Path(__file__).parent.parent
NAME = ("mx.example.org", "messages_per_minute", None, None, None)

TAKING = """
import sys, time
from mailerq.paces_file import PacesFile
from mailerq.throttle import Pace
file = PacesFile(sys.argv[1], time.time)
paces = [Pace(7.0, file.slot(("site", number))) for number in range(50)]
while True:
    for number, pace in enumerate(paces):
        pace.take(time.time())
        print(number, repr(pace.due), flush=True)
"""


class Killed(Exception):
    """The end of a process."""


class Dying:
    """The words of a file, until so many of them have been written."""

    def __init__(self, words: memoryview[float], stores: int) -> None:
        self.words = words
        self.stores = stores

    def __getitem__(self, index: int) -> float:
        return self.words[index]

    def __setitem__(self, index: int, word: float) -> None:
        if not self.stores:
            raise Killed
        self.stores -= 1
        self.words[index] = word


class PacesFileTests(SynchronousTestCase):
    """One file, several lives."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "paces"
        self.now = NOW
        self.said: list[LogEvent] = []
        observer = cast(ILogObserver, self.said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def open(self) -> PacesFile:
        """As a new process does."""
        return PacesFile(str(self.path), lambda: self.now)

    def due(self, name: tuple[object, ...] = NAME) -> float:
        """What the next life knows of a pace."""
        file = self.open()
        try:
            return Pace(6.0, file.slot(name)).due
        finally:
            file.close()

    def take(self, units: float = 1.0, per_minute: float = 6.0) -> float:
        """A life in which something is taken; when the next may go."""
        file = self.open()
        pace = Pace(per_minute, file.slot(NAME))
        pace.take(self.now, units)
        file.close()
        return pace.due

    def test_remembered(self) -> None:
        """What was used up in one life is used up in the next."""
        self.assertEqual(self.take(), NOW + 10)
        self.assertEqual(self.due(), NOW + 10)
        self.assertEqual(self.due(("another", *NAME[1:])), 0.0)

    def test_other_rate(self) -> None:
        """A debt is paid at the rate that holds now."""
        self.take(10.0, per_minute=60.0)
        self.assertAlmostEqual(self.due(), NOW + 100, 3)

    def test_exact(self) -> None:
        """At the same rate the due time comes back to the bit."""
        due = self.take(3.0, per_minute=7.0)
        file = self.open()
        self.assertEqual(Pace(7.0, file.slot(NAME)).due, due)
        file.close()

    def test_other_rate_after_rest(self) -> None:
        """Nor is it forgotten at which rate a debt was made, if the slot was taken back in between."""
        file = self.open()
        pace = Pace(60.0, file.slot(NAME))
        pace.take(self.now)
        self.now += 10
        for number in range(5000):
            Pace(6.0, file.slot(("site", number))).take(self.now)
        pace.take(self.now, 10)
        file.close()
        self.assertAlmostEqual(self.due(), self.now + 100, 3)

    def test_killed_in_the_middle(self) -> None:
        """Wherever in a take or a change the process is killed: what was owed before is owed afterwards."""
        for before, after in ((60.0, 6.0), (6.0, 60.0)):
            for stores in range(3):
                with self.subTest(f"{before} to {after} a minute, {stores} stores"):
                    self.path = Path(self.mktemp()).absolute() / "paces"
                    file = self.open()
                    pace = Pace(before, file.slot(NAME))
                    pace.take(self.now, 10)
                    words = file.words
                    file.words = cast("memoryview[float]", Dying(words, stores))
                    with contextlib.suppress(Killed):
                        pace.change(after, self.now)
                    file.words = words
                    file.close()
                    again = self.open()
                    self.assertGreaterEqual(Pace(after, again.slot(NAME)).due, self.now + 10 * 60 / after - 1e-3)
                    again.close()

    def test_past(self) -> None:
        """What is over is not remembered."""
        self.take()
        self.now += 10
        self.assertEqual(self.due(), 0.0)

    def test_clock_set_back(self) -> None:
        """If the clock was set back by hours, what is owed takes no longer than before."""
        self.take()
        self.now -= 7200
        self.assertAlmostEqual(self.due(), self.now + 10, 3)

    def test_absurd(self) -> None:
        """No debt is believed to last longer than a day, unless a single unit does."""
        self.take(1e9)
        self.assertLessEqual(self.due(), NOW + 86401)

    def test_in_use(self) -> None:
        """A second process is refused, with the path."""
        file = self.open()
        error = self.assertRaises(PacesInUse, self.open)
        self.assertIn(str(self.path), str(error))
        file.close()

    def test_foreign(self) -> None:
        """A file of something else is refused, and left as it is."""
        self.path.parent.mkdir()
        self.path.write_bytes(b"my.host.name\n")
        self.assertRaises(OSError, self.open)
        self.assertEqual(self.path.read_bytes(), b"my.host.name\n")
        self.path.unlink()
        self.assertEqual(self.due(), 0.0)  # and the lock is not kept

    def test_foreign_with_zeros(self) -> None:
        """One that begins with zeros may be something else: it is put aside, whole."""
        self.path.parent.mkdir()
        content = bytes(4096) + b"something" + bytes(32 - 9)
        self.path.write_bytes(content)
        self.assertEqual(self.due(), 0.0)
        self.assertEqual((self.path.parent / f"paces.broken-{NOW:.0f}").read_bytes(), content)

    def test_begun(self) -> None:
        """An empty file, or one of zeros, is one that was begun."""
        self.path.parent.mkdir()
        for content in (b"", bytes(4096)):
            self.path.write_bytes(content)
            self.assertEqual(self.take(), NOW + 10)
            self.assertEqual(self.due(), NOW + 10)

    def test_cut(self) -> None:
        """One of ours that was cut in the middle of a slot is put aside."""
        self.take()
        os.truncate(self.path, 100_001)
        self.assertEqual(self.due(), 0.0)
        self.assertTrue((self.path.parent / f"paces.broken-{NOW:.0f}").exists())

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(16, 131071), st.integers(0, 255)), max_size=40))
    def test_damaged(self, damage: list[tuple[int, int]]) -> None:
        """Whatever is in its slots, it is read, and what it says is bounded."""
        self.path = Path(self.mktemp()).absolute() / "paces"
        self.take()
        content = bytearray(self.path.read_bytes())
        for place, byte in damage:
            content[place] = byte
        self.path.write_bytes(content)
        self.assertTrue(0.0 <= self.due() <= NOW + 86401)

    def test_many(self) -> None:
        """It grows with what is due at the same time, and takes back the room of what is over."""
        file = self.open()
        for number in range(20_000):
            Pace(6.0, file.slot(("site", number))).take(self.now)
        large = self.path.stat().st_size
        self.now += 20
        for number in range(20_000, 40_000):
            Pace(6.0, file.slot(("site", number))).take(self.now)
        file.close()
        self.assertEqual(self.path.stat().st_size, large)
        self.assertEqual(self.due(("site", 100)), 0.0)
        self.assertEqual(self.due(("site", 39_999)), self.now + 10)

    def test_no_room(self) -> None:
        """Where the disk is full paces go on, and those that had room are remembered."""
        file = self.open()
        paces = [Pace(6.0, file.slot(("site", number))) for number in range(5000)]
        self.patch(os, "posix_fallocate", self.full)
        for pace in paces:
            pace.take(self.now)
        self.assertEqual({pace.due for pace in paces}, {NOW + 10})
        self.assertTrue(file.full)
        self.now += 1
        file.tick()
        Pace(6.0, file.slot(("one", "more"))).take(self.now)
        formats = [str(event.get("log_format")) for event in self.said]
        self.assertEqual(len([each for each in formats if "not remembered" in each]), 1)
        file.close()
        self.patch(os, "posix_fallocate", lambda *arguments: None)
        self.assertEqual(self.due(("site", 0)), NOW + 10)

    @staticmethod
    def full(*arguments: object) -> None:
        """No space is left."""
        raise OSError(28, "No space left on device")

    def test_killed(self) -> None:
        """A process that is killed has kept all that it had taken."""
        process = subprocess.Popen(
            [sys.executable, "-c", TAKING, str(self.path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        told: dict[int, float] = {}
        for _ in range(500):
            number, due = process.stdout.readline().split()
            told[int(number)] = float(due)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be torn
                number, due = line.split()
                told[int(number)] = float(due)
        process.wait()
        process.stdout.close()
        self.now = min(told.values()) - 1
        file = self.open()
        for site, last in told.items():
            self.assertGreaterEqual(Pace(7.0, file.slot(("site", site))).due, last)
        file.close()
