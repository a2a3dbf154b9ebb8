"""Even pacing: at most so many a minute, one after the other, in absolute times (GCRA without burst).

Pure; the caller says what time it is. ``docs/decisions/pacing.md`` has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf, nextafter
from typing import Protocol

from mailerq.commons import Cell

SAME = 1e-6  # of two intervals, if they differ by less: they are kept in single precision


class Kept(Protocol):
    """Where a due time is kept over a restart: a slot of ``paces_file.py``."""

    def read(self) -> tuple[float, float, float]:
        """The due time (0: none), the interval at which it was booked, and the time it is now."""

    def write(self, due: float) -> None:
        """Keep another due time."""

    def paced(self, due: float, interval: float) -> None:
        """Keep a due time that was booked at another interval."""


class Due:
    """The time at which the next may go, for one pace or for several that share it.

    ``carry`` is what rounding added to or took from ``due`` (never later than it), so that nothing drifts; ``since`` is
    when the debt was last looked at, ``by`` the pace that ran it up.
    """

    __slots__ = ("by", "carry", "due", "kept", "restored", "since")

    def __init__(self, kept: Kept | None = None) -> None:
        self.due = self.carry = self.since = 0.0
        self.by: Pace | None = None
        self.kept = kept
        self.restored = 0.0  # the interval at which a remembered debt was booked; 0 once a pace has taken it over
        if kept is not None:
            self.due, self.restored, self.since = kept.read()


class Pace:
    """At most ``per_minute`` units a minute, evenly; ``interval`` seconds between two units, ``due``: the next may go.

    A unit is a message, a connection or a byte. The promises, if units are only taken when ``next_time(now) <= now``:

    - Of the units taken in any stretch of time, all but those of its last ``take`` together are at most the rate times
      its length; where the rate changed (``change`` with the time), at most the sum of that over its parts. So at a
      constant rate ``r`` at most ``floor(W * r / 60) + 1`` messages pass in ``W`` seconds, wherever these begin.
    - Who asks at ``due`` each time is neither faster nor slower than the rate, however long: rounding is carried on
      (``due`` itself is rounded up, so it is late by 0.3 microseconds at most).
    - Time that nobody used is not saved up.

    Paces that share a ``Due`` (limits for one remote address, as several sites have them) use up one another's time:
    each unit occupies it for the interval of the pace that took it. So each pace holds its own rate, and all together
    the highest of them.
    """

    __slots__ = ("cell", "interval")

    def __init__(self, per_minute: float, kept: Kept | None = None, shared: Due | None = None) -> None:
        self.cell = cell = Due(kept) if shared is None else shared
        self.interval = 60.0 / per_minute
        if cell.restored:  # a debt of an earlier life is paid from now on at the rate of this one
            booked, cell.restored, cell.by = cell.restored, 0.0, self
            if abs(booked - self.interval) > SAME * booked:
                self.interval = booked
                self.change(per_minute, cell.since)

    @property
    def due(self) -> float:
        """When the next unit may go, if that is in the future."""
        return self.cell.due

    def next_time(self, now: float) -> float:
        """When the next unit may go: ``now`` or later."""
        due = self.cell.due
        return due if due > now else now

    def take(self, now: float, units: float = 1.0) -> None:
        """Use up units, kept before this returns. What is taken before its time is owed in addition."""
        cell = self.cell
        due = cell.due
        if now > due:
            due = now
            step = units * self.interval
        else:
            step = units * self.interval + cell.carry
        later = due + step
        carry = step - (later - due)
        if carry > 0.0:  # never before its time, not by a rounding either
            later = nextafter(later, inf)
            carry = step - (later - due)
        cell.due = later
        cell.carry = carry
        cell.since = now
        kept = cell.kept
        if cell.by is self:
            if kept is not None:
                kept.write(later)
        else:
            cell.by = self
            if kept is not None:
                kept.paced(later, self.interval)

    def change(self, per_minute: float, now: float | None = None) -> None:
        """Another rate from ``now`` on: what is still owed then (in units) is paid for at the new rate.

        Without ``now``: from the last ``take`` or ``change`` on, which lets a faster rate forgive some of a debt that
        is older. A debt that another pace made in a shared ``Due`` stays as it is.
        """
        interval = 60.0 / per_minute
        if interval == self.interval:
            return
        cell = self.cell
        if cell.by is self:
            start = cell.since if now is None or now < cell.since else now
            debt = cell.due - start
            if debt > 0.0:
                cell.due = nextafter(start + debt * (interval / self.interval), inf)
                cell.carry = 0.0
                cell.since = start
            if cell.kept is not None:
                cell.kept.paced(cell.due, interval)
        self.interval = interval

    def __repr__(self) -> str:
        return f"<Pace {60 / self.interval:g}/min, next at {self.cell.due:.3f}>"


class SharedDue(Due):
    """A due time that other engines move, too: it is read anew at each look. ``carry`` holds as long as nobody has."""

    __slots__ = ("last", "place")

    def __init__(self, place: Cell) -> None:
        self.carry = self.since = self.restored = self.last = 0.0
        self.by = self.kept = None
        self.place = place

    @property
    def due(self) -> float:  # type: ignore[override]
        """As it is at this moment."""
        return self.place.read()[0]


class SharedPace(Pace):
    """A pace that several engines use up together. Who asks and takes what was found to be free does both under the
    lock; ``take`` and ``change`` enter it themselves."""

    __slots__ = ("_lock",)

    cell: SharedDue

    def __init__(
        self,
        per_minute: float,
        place: Cell,
        lock: AbstractContextManager[object],
        now: float,
        *,
        among_sites: bool = False,
    ) -> None:
        self.cell = SharedDue(place)
        self._lock = lock
        self.interval = 60.0 / per_minute
        with lock:
            due, booked = place.read()
        slower = self.interval > booked or not among_sites  # sites have rates of their own at one remote address
        if due > now and booked and slower and abs(booked - self.interval) > SAME * booked:
            self.interval = booked  # what an earlier life owes is paid from now on at the rate of this one
            self.change(per_minute, now)

    def take(self, now: float, units: float = 1.0) -> None:
        """Use up units, for all engines, before this returns."""
        cell = self.cell
        with self._lock:
            due, _ = cell.place.read()
            step = units * self.interval
            if now > due:
                due = now
            elif due == cell.last:
                step += cell.carry
            later = due + step
            carry = step - (later - due)
            if carry > 0.0:
                later = nextafter(later, inf)
                carry = step - (later - due)
            cell.place.write(later, self.interval)
        cell.last, cell.carry, cell.since = later, carry, now

    def change(self, per_minute: float, now: float | None = None) -> None:
        """Another rate from ``now`` on. What is owed is paid at the new one, by the first of the engines that changes;
        a debt that was booked at another rate than the one before stays as it is."""
        interval = 60.0 / per_minute
        if interval == self.interval:
            return
        with self._lock:
            due, booked = self.cell.place.read()
            start = self.cell.since if now is None or now < self.cell.since else now
            if due > start and abs(booked - self.interval) <= SAME * booked:
                due = nextafter(start + (due - start) * (interval / self.interval), inf)
                self.cell.place.write(due, interval)
        self.interval = interval


class Withheld(Pace):
    """A rate of which this engine has no part yet: nothing may go, and it is asked again each second."""

    __slots__ = ("_seconds",)

    def __init__(self, per_minute: float, seconds: Callable[[], float]) -> None:
        super().__init__(per_minute)
        self._seconds = seconds

    @property
    def due(self) -> float:
        """In a second, whenever that is asked."""
        return self._seconds() + 1.0

    def next_time(self, now: float) -> float:
        """In a second."""
        return max(now, self._seconds()) + 1.0
