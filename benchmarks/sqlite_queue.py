"""How much CPU the embedded queue needs a message: take, settle with one publication, in one process.

    python benchmarks/sqlite_queue.py [--count 50000] [--size 2000] [--result 600] [--window 5000] [--work 0]
        [--results 0] [--path DIRECTORY]

``--work``: µs of other Python that the reactor does for each message, as an engine would. ``--results``: how many
messages lie in the result queue beforehand. CPU is that of all threads, publishing the jobs beforehand not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor

from mailerq.interfaces import ITaken, Publication
from mailerq.queues.sqlite import SqliteBroker
from mailerq.queues.sqlite_file import QueueFile, row


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Settler:
    """Settles each message after some work, a slice a turn."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.left = arguments.count
        self.work = arguments.work * 1e-6
        self.result = b"r" * arguments.result
        self.waiting: list[ITaken] = []
        self.seconds: tuple[float, float] = (0.0, 0.0)
        self.start = (time.perf_counter(), cpu())

    def taken(self, taken: ITaken) -> None:
        """Settle it in a later turn."""
        if not self.waiting:
            reactor.callLater(0, self.settle)
        self.waiting.append(taken)

    def settle(self) -> None:
        """As many as an engine would finish in a turn."""
        some, self.waiting = self.waiting[:50], self.waiting[50:]
        for taken in some:
            end = time.perf_counter() + self.work
            while self.work and time.perf_counter() < end:
                pass
            taken.settle([Publication("results", self.result)], self.done)
        if self.waiting:
            reactor.callLater(0, self.settle)

    def done(self, made: bool) -> None:
        """Count it."""
        assert made
        self.left -= 1
        if not self.left:
            self.seconds = (time.perf_counter() - self.start[0], cpu() - self.start[1])
            reactor.stop()

    def lost(self, reason: str) -> None:
        """It must not be."""
        raise SystemExit(reason)


def fill(path: str, queue: str, count: int, body: bytes) -> None:
    """Put so many messages into a queue."""
    file = QueueFile(path, durable=False)
    now = time.time()
    for start in range(0, count, 10_000):
        with file.transaction():
            file.insert([row(queue, body, now)] * min(10_000, count - start))
    file.close()


def main() -> None:
    """Measure once, print one line."""
    parser = argparse.ArgumentParser()
    for name, default in (
        ("count", 50_000),
        ("size", 2000),
        ("result", 600),
        ("window", 5000),
        ("work", 0),
        ("results", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--path")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(dir=arguments.path)
    path = os.path.join(directory, "queue.db")
    try:
        fill(path, "results", arguments.results, b"r" * arguments.result)
        fill(path, "outbox", arguments.count, b"j" * arguments.size)
        names = SimpleNamespace(outbox="outbox", results="results", max_priority=None, persistent=True)
        settings: Any = SimpleNamespace(broker=SimpleNamespace(path=path), queues=names)
        broker = SqliteBroker(reactor, settings)
        settler = Settler(arguments)
        broker.consume("outbox", settler, arguments.window)
        broker.startService()
        reactor.addSystemEventTrigger("before", "shutdown", broker.stopService)
        reactor.run()
        wall, used = settler.seconds
        own = used / arguments.count * 1e6 - arguments.work
        rate = arguments.count / wall
        print(f"{own:.1f} us CPU a message beside {arguments.work} us of work, {rate:,.0f} messages/s")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
