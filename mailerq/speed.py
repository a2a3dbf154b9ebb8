"""How fast a site is, measured while it is busy."""

from __future__ import annotations

STALE = 5.0  # seconds for which a speed is believed


class Speed:
    """Mails a second, lately."""

    __slots__ = ("_measured", "_sent", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        self._sent = 0
        self._measured = 0.0

    def sent_one(self, now: float) -> None:
        """A mail's talk is over, well or badly."""
        self._sent += 1
        self._since = self._since or now
        passed = now - self._since
        if passed >= 1.0:
            self._measured = self._sent / passed
            self._sent = 0
            self._since = now

    def at(self, now: float) -> float:
        """Mails a second; 0 where nothing was sent for a while."""
        passed = now - self._since
        return self._measured if self._measured and passed < STALE else self._sent / max(passed, 1.0)

    def forget_if_idle(self, now: float) -> None:
        """It had little to do, which says nothing of how fast it is."""
        if now - self._since > STALE:
            self._since, self._sent, self._measured = now, 0, 0.0
