"""One deadline after the other, with at most one timer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Deadline:
    """``expired`` is called when the time has come. A new deadline replaces the one before.

    The timer is not moved with each: it looks at the deadline when it fires, and is set again if there is time left.
    So a deadline costs no ``callLater``, as long as none is due sooner than ``period`` seconds, after which the timer
    fires anyway.
    """

    __slots__ = ("_at", "_clock", "_expired", "_period", "_timer", "_timer_at")

    def __init__(self, clock: Any, period: float, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._period = period
        self._expired = expired
        self._at: float | None = None
        self._timer: Any = None
        self._timer_at = 0.0

    def within(self, seconds: float) -> float:
        """From now on it is in ``seconds``; returns what time is now."""
        now: float = self._clock.seconds()
        self._at = at = now + seconds
        if self._timer is None:
            self._arm(now, seconds)
        elif at < self._timer_at:
            self._timer.reset(seconds)
            self._timer_at = at
        return now

    def none(self) -> None:
        """There is none; the timer may fire once more, and do nothing."""
        self._at = None

    def cancel(self) -> None:
        """There is none, and no timer either."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float, seconds: float) -> None:
        seconds = min(seconds, self._period)
        self._timer_at = now + seconds
        self._timer = self._clock.callLater(seconds, self._fired)

    def _fired(self) -> None:
        self._timer = None
        if self._at is None:
            return
        now = max(self._clock.seconds(), self._timer_at)
        if self._at > now:
            self._arm(now, self._at - now)
        else:
            self._at = None
            self._expired()
