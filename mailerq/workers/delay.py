"""Delay: how long to wait before what has died is started again. Pure."""

from __future__ import annotations

FIRST = 0.1  # seconds, the second time; the first time nothing
LONGEST = 30.0
HEALTHY = 60.0  # seconds: who has lived for so long has a new beginning


class Delay:
    """Of one worker."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait, where it has lived so long this time: 0, then 0.1 and twice as much each time, 30 at most;
        0 again after a minute of life."""
        wait = 0.0 if lived >= HEALTHY else self._next
        self._next = min(LONGEST, max(FIRST, 2 * wait))
        return wait
