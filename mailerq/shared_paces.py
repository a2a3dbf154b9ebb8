"""Due times that the workers of one machine share: the slots of ``paces_file.py``, found by digest, written under a
lock.

The file is the same; its head says whether slots stand where their digest wants them (several processes) or anywhere
(one process). Whoever opens it in the other way puts that right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mailerq.paces_file import ORDERED, believed, interval_of, look_at_what_is_there, rate_bits
from mailerq.shared_table import FileTable, Lock, Table, words_of

HEAD = 4  # words: one slot
WIDTH = 4  # words: digest, due, interval and check
_DUE, _RATE = 2, 3


class PaceCell:
    """One of them (``commons.Cell``). Where there is no room for it, it is this worker's own."""

    __slots__ = ("_at", "_bits", "_digest", "_generation", "_interval", "_lock", "_own", "_table")

    def __init__(self, table: Table, lock: Lock, name: tuple[object, ...], seconds: Callable[[], float]) -> None:
        self._table = table
        self._lock = lock
        self._digest = words_of(name)
        self._generation = -1
        self._at = 0
        self._bits = 0
        self._interval = 0.0
        self._own = (0.0, 0.0)

    def _where(self) -> int:
        with self._lock:
            self._at = self._table.place(self._digest)
            self._generation = self._table.generation
        return self._at

    def read(self) -> tuple[float, float]:
        """The due time as it is now, and the interval at which it was booked (0: unknown)."""
        table = self._table
        at = self._at if self._generation == table.generation and self._at else self._where()
        if not at:
            return self._own
        bits = table.integers[at + _RATE]
        if bits != self._bits:
            self._bits = bits
            self._interval = interval_of(bits)
        return table.words[at + _DUE], self._interval

    def write(self, due: float, interval: float) -> None:
        """Keep another due time, booked at this interval; under the lock. Killed between the two, more is owed, never
        less."""
        _, before = self.read()
        at, table = self._at, self._table
        if not at:
            self._own = (due, interval)
            return
        bits = self._bits
        if abs(before - interval) > 1e-7 * interval:
            bits = rate_bits(self._digest, interval)
        if bits == self._bits:
            table.words[at + _DUE] = due
        elif interval < before:
            table.integers[at + _RATE] = bits
            table.words[at + _DUE] = due
        else:
            table.words[at + _DUE] = due
            table.integers[at + _RATE] = bits


def open_paces(path: Path, now: float, seconds: Callable[[], float], *, is_first: bool) -> FileTable:
    """The file of paces, to be used by several. ``is_first``: no other uses it yet, and what an earlier life left there
    is put in order. Under the lock."""

    def is_alive(words: memoryview[float], at: int) -> bool:
        return words[at + _DUE] > seconds()

    left = []
    if is_first:
        look_at_what_is_there(path, now)
        if path.exists():
            left = believed(path.read_bytes(), now)
            path.unlink()
    table = FileTable(path, ORDERED, is_alive, head=HEAD, width=WIDTH)
    for digest, due, bits in left:
        at = table.place(digest)
        if at:
            table.words[at + _DUE] = due
            table.integers[at + _RATE] = bits
    return table
