"""Who may be an engine of a queue file: one process alone, or the workers of one parent. Quick to import (no Twisted).

The lock is on a file beside the queue. One that is alone has it to itself. Of a group, whoever comes first has it to
itself for a moment: then it knows all earlier engines to be dead, and writes down the name of its group; all of the
group share it from then on. A killed process lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

OPENING = 15.0  # seconds that the first of our own group may need before it shares the lock
NAMING = 0.5  # and for which it is waited whether a holder is one of ours
LOOK_AGAIN = 0.02


class Group(NamedTuple):
    """The workers of one parent. ``name``: what no other group has, without a line end; ``number``: which of them we
    are, from 1; ``size``: of how many."""

    name: str
    number: int
    size: int = 2


class InUse(Exception):
    """A stranger has it. The text names its process, as far as it is known."""


class EngineLock:
    """Taken until ``close`` or death. Raises OSError where the file cannot be used."""

    def __init__(self, path: str, group: Group | None) -> None:
        self._group = group
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            self.first = self._take() if group is None else self._join(group)
        except BaseException:
            os.close(self._file)
            raise

    def _take(self) -> bool:
        """To ourselves, or not at all."""
        if not self._lock(fcntl.LOCK_EX):
            raise InUse(self._holder())
        with suppress(OSError):  # the disk may be full; the lock holds without
            self._write(f"{os.getpid()}\n")
        return True

    def _join(self, group: Group) -> bool:
        """To ourselves (True), or with others of our group."""
        began = time.monotonic()
        while True:
            if self._lock(fcntl.LOCK_EX):
                self._write(f"{os.getppid()}\n{group.name}\n")
                return True
            if self._lock(fcntl.LOCK_SH):
                if self._named() != group.name:
                    raise InUse(self._holder())
                return False
            patience = OPENING if self._named() == group.name else NAMING
            if time.monotonic() - began > patience:
                raise InUse(self._holder())
            time.sleep(LOOK_AGAIN)

    def share(self) -> None:
        """Let others of the group in. Raises InUse where a stranger came in between."""
        if self._group is None or not self.first:
            return
        self.first = False
        # To the system this is two steps, between which another may have it.
        if not self._lock(fcntl.LOCK_SH) or self._named() != self._group.name:
            raise InUse(self._holder())

    def close(self) -> None:
        """Let go."""
        os.close(self._file)

    def _lock(self, how: int) -> bool:
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _write(self, text: str) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def _lines(self) -> list[str]:
        return os.pread(self._file, 10000, 0).decode("utf-8", "replace").split("\n")

    def _named(self) -> str:
        lines = self._lines()
        return lines[1] if len(lines) == 3 else ""

    def _holder(self) -> str:
        return f"process {self._lines()[0] or 'unknown'}"


def started(pid: int) -> str | None:
    """When a process was started, in a form that only serves to tell it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def alive(pid: int, since: str | None) -> bool:
    """Whether the process of that number that was started then still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return started(pid) == since
