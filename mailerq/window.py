"""Window: how many connections a site is believed to bear, felt out as Postfix's queue manager does.

Pure. As long as nobody complains, each window's worth of deliveries allows one connection more (Postfix:
``default_destination_concurrency_positive_feedback = 1/concurrency``). Once the host has said that there are too many,
it is half as many, and only time allows more, one after the other.
"""

from __future__ import annotations

BURST = 1.0  # seconds in which several complaints are one
SHORTEST_PATIENCE = 60.0
LONGEST_PATIENCE = 3600.0
_NEVER = float("inf")


class Window:
    """``initial`` connections to begin with. Times are epoch seconds; ``most`` is what the configuration allows.

    After trouble up to ``ceiling``, the most that are known to work, comes back one a minute. What is beyond it is a
    probe after ``patience`` seconds: twice as long each time that a probe brings trouble, half as long when one holds.
    """

    __slots__ = ("_due", "_last_bad", "_most", "_proven", "ceiling", "patience", "size")

    def __init__(self, initial: float) -> None:
        self.size = max(1.0, initial)
        self.ceiling: int | None = None
        self.patience = SHORTEST_PATIENCE
        self._due = _NEVER  # when time allows one more; never before there was trouble
        self._last_bad = -_NEVER
        self._most = _NEVER
        self._proven = False  # something was delivered since the last change

    def allowed(self, most: float, now: float | None = None) -> int:
        """How many there may be: at least 1, at most ``most``. With ``now`` time is taken into account."""
        self._most = most
        if now is not None and now >= self._due:
            self._grow(now, most)
        return max(1, int(min(self.size, most)))

    def good(self, now: float, most: float) -> None:
        """A mail was delivered."""
        if self.ceiling is None:
            if self.size < most:
                self.size = min(most, self.size + 1.0 / self.size)
        else:
            self._proven = True
            if now >= self._due:
                self._grow(now, most)

    def bad(self, now: float, working: int = 0) -> bool:
        """The host said that there are too many, while ``working`` of them do work (0: unknown). False: that is known
        already."""
        if now < self._last_bad + BURST:
            return False
        self._last_bad = now
        before = max(1, int(min(self.size, self._most)))
        bears = min(working, before - 1) if working > 0 else before - 1
        if self.ceiling is not None and before > self.ceiling:
            self.patience = min(LONGEST_PATIENCE, self.patience * 2)
            self.size = min(self.ceiling, bears)  # those from before the probe still work
        else:
            self.size = min(before // 2, bears)
            self.ceiling = max(1, bears)
        self.size = float(max(1, self.size))
        self._wait(now)
        return True

    def full(self, now: float, working: int = 0) -> None:
        """Another engine was told that there are too many: those that work here may stay, and no more be opened before
        that is probed."""
        if now < self._last_bad + BURST:
            return
        self._last_bad = now
        before = max(1, int(min(self.size, self._most)))
        self.ceiling = min(working, before) or before
        self.size = float(self.ceiling)
        self._wait(now)

    def next_change(self, now: float) -> float | None:
        """When time alone allows one more; None: it does not."""
        return self._due if now < self._due < _NEVER else None

    def _grow(self, now: float, most: float) -> None:
        """The time has come for one more, if the configuration allows it."""
        if self.size + 1 > most:
            return
        assert self.ceiling is not None
        if self.size >= self.ceiling and self._proven:
            if self.size > self.ceiling:
                self.patience = max(SHORTEST_PATIENCE, self.patience / 2)
            self.ceiling = int(self.size)
        self.size += 1.0
        self._wait(now)

    def _wait(self, now: float) -> None:
        assert self.ceiling is not None
        self._proven = False
        self._due = now + (self.patience if self.size >= self.ceiling else SHORTEST_PATIENCE)

    def __repr__(self) -> str:
        if self.ceiling is None:
            return f"<Window {self.size:.1f}>"
        return f"<Window {self.size:g}, {self.ceiling} work, beyond that one more each {self.patience:g} s>"
