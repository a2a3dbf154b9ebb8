"""The embedded queue in a process that is killed without warning."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailerq.queues.sqlite_file import QueueFile, row

ROOT = Path(__file__).parents[2]
JOBS = 2000


class Killed(SynchronousTestCase):
    """kill -9 in full flow."""

    def start(self) -> subprocess.Popen[str]:
        """An engine's worth of taking and settling."""
        command = [sys.executable, "-m", "tests.scenarios.sqlite_settler", self.path]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        self.addCleanup(child.stdout.close)
        return child

    def setUp(self) -> None:
        """A queue with jobs."""
        self.path = os.path.abspath(self.mktemp())
        self.fill()

    def fill(self) -> None:
        """Put the jobs into the outbox."""
        file = QueueFile(self.path)
        with file.transaction():
            file.insert([row("outbox", b"%d" % n, time.time()) for n in range(JOBS)])
        file.close()

    def settle(self, child: subprocess.Popen[str], count: int) -> None:
        """Wait until it has settled so many."""
        assert child.stdout is not None
        for _ in range(count):
            self.assertEqual(child.stdout.readline(), "settled\n")

    def lying(self, queue: str) -> tuple[int, int, int]:
        """Ready, waiting, in hand."""
        file = QueueFile(self.path)
        state = file.state(queue, time.time())
        file.close()
        assert state is not None
        return state[1:4]

    def test_no_job_lost_none_settled_twice(self) -> None:
        """However often the process is killed: in the end each job has one result, and nothing is left."""
        dice = random.Random(1)
        for _ in range(6):
            child = self.start()
            self.settle(child, dice.randrange(1, 400))
            child.kill()
            child.wait()
            self.assertEqual(sum(self.lying("outbox")) + sum(self.lying("results")), JOBS)
        child = self.start()
        end = time.monotonic() + 30
        while self.lying("results")[0] < JOBS and time.monotonic() < end:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), "settled\n")
        file = QueueFile(self.path)
        bodies = sorted(int(body) for _, _, _, body in file.peek("results"))
        file.close()
        self.assertEqual(bodies, list(range(JOBS)))
        self.assertEqual(self.lying("outbox"), (0, 0, 0))

    def test_second_process_is_refused(self) -> None:
        """A second engine says which process has the file; once that one is killed, another may start at once."""
        first = self.start()
        self.settle(first, 1)
        second = self.start()
        assert second.stdout is not None
        expected = f"{self.path}: in use by another engine (process {first.pid})\n"
        self.assertEqual(second.stdout.readline(), expected)
        first.kill()
        first.wait()
        self.fill()
        self.settle(self.start(), 1)
