"""What outlives a simulated process: paces and notes, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_json = msgspec.json.Encoder().encode


class MemorySlot:
    """Where the due time of one pace is kept (``throttle.Kept``)."""

    __slots__ = ("_due", "_interval", "_seconds")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._due = self._interval = 0.0

    def read(self) -> tuple[float, float, float]:
        """The due time (0: none, or past), the interval at which it was booked, and the time it is now."""
        now = self._seconds()
        return (self._due if self._due > now else 0.0), self._interval, now

    def write(self, due: float) -> None:
        """Keep another due time."""
        self._due = due

    def paced(self, due: float, interval: float) -> None:
        """Keep a due time that was booked at another interval."""
        self._due, self._interval = due, interval

    @property
    def is_over(self) -> bool:
        """Whether it says nothing any more."""
        return self._due <= self._seconds()


class MemoryPaces:
    """The methods of ``paces_file.PacesFile`` that a scheduler uses."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._slots: dict[tuple[object, ...], MemorySlot] = {}
        self._many = 10_000

    def slot(self, name: tuple[object, ...]) -> MemorySlot:
        """The slot of that name."""
        found = self._slots.get(name)
        if found is None:
            if len(self._slots) > self._many:
                self._slots = {name: slot for name, slot in self._slots.items() if not slot.is_over}
                self._many = max(10_000, 2 * len(self._slots))
            found = self._slots[name] = MemorySlot(self._seconds)
        return found


class MemoryNotes:
    """The methods of ``notes.Notes``: sections of what can be written as JSON."""

    def __init__(self) -> None:
        self._sections: dict[str, bytes] = {}

    def get(self, section: str) -> Any:
        """What was noted there; None: nothing was."""
        noted = self._sections.get(section)
        return None if noted is None else msgspec.json.decode(noted)

    def put(self, section: str, value: Any, at_once: bool = False) -> None:
        """Note it there, in place of what was: a value, or a function that gives it."""
        self._sections[section] = _json(value() if callable(value) else value)
