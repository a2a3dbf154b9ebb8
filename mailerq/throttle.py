"""Even pacing: at most so many a minute, one after the other, in absolute times (GCRA without burst).

Pure; the caller says what time it is.
"""

from __future__ import annotations


class Pace:
    """``interval`` seconds between two units. ``due`` is the time at which the next may go."""

    __slots__ = ("_units", "due", "interval")

    def __init__(self, per_minute: float) -> None:
        self.interval = 60.0 / per_minute
        self.due = 0.0
        self._units = 0.0

    def next_time(self, now: float) -> float:
        """When the next unit may go: ``now`` or later."""
        return self.due if self.due > now else now

    def take(self, now: float, units: float = 1.0) -> None:
        """Use up units. Time that nobody used is not saved up."""
        self.due = (self.due if self.due > now else now) + units * self.interval
        self._units = units

    def change(self, per_minute: float) -> None:
        """Another rate. What was used up last is paid for at the faster one of both."""
        interval = 60.0 / per_minute
        self.due -= max(0.0, self.interval - interval) * self._units
        self.interval = interval

    def __repr__(self) -> str:
        return f"<Pace {60 / self.interval:g}/min, next at {self.due:.3f}>"
