"""Put jobs on a queue: lines from standard input, one job a line, published as they are, valid or not."""

from __future__ import annotations

import argparse
import os
import select
import stat
import sys
from typing import Any

from mailerq.commands import Failed, queue_name
from mailerq.commands.access import Access, with_access
from mailerq.commands.status_line import StatusLine
from mailerq.queues import configured

CHUNK = 1 << 20
BATCH_BYTES = 4 << 20
BATCH_LINES = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """QUEUE."""
    parser.add_argument("queue", metavar="QUEUE", nargs="?", type=queue_name, help="default: the configured outbox")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Publish all lines; print how many they were."""
    try:
        progress = Progress(0)
    except OSError as error:
        raise Failed(f"standard input: {error.strerror or error}") from None
    queue = arguments.queue or settings.queues.outbox
    publisher = Publisher(queue, Lines(0), progress)
    known = queue in configured(settings.queues)
    try:
        with_access(settings, lambda access: publisher.run(access, known))
    except Failed as error:
        raise Failed(f"{error}; {publisher.account()}") from None
    print(f"{publisher.count} published", flush=True)
    return 0


class Lines:
    """The lines that a file descriptor gives, in batches: as many as are there, and no waiting for more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest: list[bytes] = []
        self._ended = False
        self.read = 0  # bytes
        self.number = 0  # of the last line given

    def batch(self) -> list[bytes] | None:
        """Lines without their line ends; empty ones are left out. None at the end."""
        lines: list[bytes] = []
        size = 0
        while not self._ended and size < BATCH_BYTES and len(lines) < BATCH_LINES:
            if lines and not select.select([self._descriptor], [], [], 0)[0]:
                break
            try:
                chunk = os.read(self._descriptor, CHUNK)
            except OSError as error:
                raise Failed(f"standard input: {error.strerror or error}") from None
            size += len(chunk)
            self.read += len(chunk)
            if not chunk:
                self._ended = True
                if self._rest:
                    lines.append(b"".join(self._rest))
            elif b"\n" not in chunk:
                self._rest.append(chunk)
            else:
                *whole, rest = b"".join([*self._rest, chunk]).split(b"\n")
                lines += whole
                self._rest = [rest] if rest else []
        if self._ended and not lines:
            return None
        self.number += len(lines)
        return [line for line in lines if line.strip()]


class Publisher:
    """Puts batch after batch on a queue. ``count``: how many are there for sure."""

    def __init__(self, queue: str, lines: Lines, progress: Progress) -> None:
        self.queue = queue
        self.count = 0
        self._lines = lines
        self._progress = progress
        self._certain = True
        self._sure = 0  # number of the last line that is published for sure

    async def run(self, access: Access, known: bool) -> None:
        """Until the end of the input."""
        if not known and not await access.states([self.queue]):
            print(f"mailerq: note: the queue {self.queue!r} is a new one", file=sys.stderr)
        self._certain = access.certain
        try:
            while (batch := await access.blocking(self._lines.batch)) is not None:
                if batch:
                    await access.put(self.queue, batch)
                self.count += len(batch)
                self._sure = self._lines.number
                self._progress.show(self.count, self._lines.read)
        finally:
            self._progress.end()

    def account(self) -> str:
        """What has come of it, after a failure."""
        first, last = self._sure + 1, self._lines.number
        if last < first:
            return f"{self.count} published"
        if self._certain:
            return f"{self.count} published, from line {first} on nothing"
        return f"{self.count} published; of lines {first} to {last} it is not known, after them nothing"


class Progress:
    """A bar on standard error, if that is a terminal and the size is known; else a count."""

    def __init__(self, source: int) -> None:
        self._line = StatusLine()
        about = os.fstat(source)
        self._size = about.st_size if stat.S_ISREG(about.st_mode) else 0

    def show(self, count: int, read: int) -> None:
        """At most ten times a second."""
        if not self._line.is_due():
            return
        text = f"{count} published"
        if self._size:
            part = min(read / self._size, 1.0)
            text = f"[{'#' * int(part * 40):40}] {part:4.0%}  {text}"
        self._line.show(text)

    def end(self) -> None:
        """Wipe it away."""
        self._line.end()
