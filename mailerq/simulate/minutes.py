"""What one provider saw, minute by minute.

Pure; times are seconds since the start.
"""

from __future__ import annotations

from array import array
from collections import Counter

from mailerq.simulate.wait_times import WaitTimes

COUNTED = ("accepted", "deferred", "refused", "turned_away", "connects")


class Minutes:
    """Arrays with an entry a minute: mails ``accepted``, ``deferred`` (4xx) and ``refused`` (5xx), connections
    ``turned_away`` and begun (``connects``), the most ``connections`` at once, jobs ``waiting`` at its end.

    ``results``: how the jobs ended, by type; ``attempts`` the same of all tries. ``limits``: what the first in the
    queue waited for, as (limit, line), once a minute for each site that was looked at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted = array("L")
        self.deferred = array("L")
        self.refused = array("L")
        self.turned_away = array("L")
        self.connects = array("L")
        self.connections = array("L")
        self.waiting = array("L")
        self.results: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.limits: list[Counter[tuple[str, int]]] = []
        self.waits = WaitTimes()
        self.arrived = 0
        self.ended = 0
        self.open = 0
        self.last_end: float | None = None
        self._minute = -1

    def enter(self, minute: int) -> None:
        """It is that minute now."""
        while self._minute < minute:
            self._minute += 1
            for name in COUNTED:
                getattr(self, name).append(0)
            if self.waiting:
                self.waiting[-1] = self.arrived - self.ended
            self.connections.append(self.open)
            self.waiting.append(self.arrived - self.ended)
            self.limits.append(Counter())

    def opened(self) -> None:
        """One more connection is there."""
        self.open += 1
        self.connections[-1] = max(self.connections[-1], self.open)

    def closed(self) -> None:
        """One is gone."""
        self.open -= 1

    def end(self, kind: str, waited: float, now: float) -> None:
        """A job has ended after it ``waited`` so many seconds in all."""
        self.ended += 1
        self.results[kind] += 1
        self.waits.add(waited)
        self.last_end = now

    def all_limits(self) -> Counter[tuple[str, int]]:
        """What was waited for, all minutes together."""
        return sum(self.limits, Counter())
