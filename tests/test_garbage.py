"""How often Python looks for rings of objects."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailerq import garbage

ROOT = str(Path(__file__).parent.parent)


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.me = self


HEAPS = """
import ctypes, re, sys, threading
from mailerq import garbage
if sys.argv[1] == "one":
    garbage.one_heap()
kept = []
threads = [threading.Thread(target=lambda: kept.append([bytes(5000 + n) for n in range(500)])) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(len(re.findall("<heap nr", open(sys.argv[2]).read())))
"""


class HeapTests(SynchronousTestCase):
    def heaps(self, how: str) -> int:
        """How many heaps a process with four threads has."""
        path = self.mktemp()
        run = subprocess.run(
            [sys.executable, "-c", HEAPS, how, path],
            capture_output=True,
            check=True,
            cwd=os.getcwd(),
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        return int(run.stdout)

    def test_one_heap(self) -> None:
        """Threads share one heap; without asking for it they have their own."""
        if platform.libc_ver()[0] != "glibc":
            raise SkipTest("this system has another malloc")
        self.assertEqual(self.heaps("one"), 1)
        self.assertGreater(self.heaps("many"), 1)


class GarbageTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        self.addCleanup(gc.unfreeze)

    def test_rings_are_found(self) -> None:
        """Rings are freed, and there are never many more than ``MORE`` of their objects."""
        garbage.settle()
        most = 0
        for _ in range(3 * garbage.MORE):
            Ring()
            most = max(most, gc.get_count()[0])
        self.assertLessEqual(most, garbage.MORE + 1)
        self.assertLess(sum(isinstance(one, Ring) for one in gc.get_objects()), garbage.MORE + 1)

    def test_what_was_there(self) -> None:
        """What is there at the start is not looked at again."""
        garbage.settle()
        self.assertGreater(gc.get_freeze_count(), 1000)
