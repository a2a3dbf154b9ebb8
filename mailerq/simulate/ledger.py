"""The ledger: where each job is. Each ends once, in one place, or something is wrong.

Pure. Jobs are known by a number that they carry.
"""

from __future__ import annotations

from array import array

_UNKNOWN, _OPEN, _ENDED = 0, 1, 2


class NotConserved(AssertionError):
    """A job was lost, or ended twice."""


class Ledger:
    """Jobs by their numbers, from 0. ``arrived`` and ``ended`` count them."""

    def __init__(self) -> None:
        self.arrived = 0
        self.ended = 0
        self._states = bytearray()
        self._providers = array("H")
        self._since = array("d")

    def arrive(self, number: int, provider: int, now: float) -> None:
        """A job is published."""
        while number >= len(self._states):
            self._states.append(_UNKNOWN)
            self._providers.append(0)
            self._since.append(0.0)
        if self._states[number] != _UNKNOWN:
            raise NotConserved(f"job {number} was published twice")
        self._states[number] = _OPEN
        self._providers[number] = provider
        self._since[number] = now
        self.arrived += 1

    def end(self, number: int) -> tuple[int, float]:
        """It has its final result. Returns its provider, and when it was published."""
        if not 0 <= number < len(self._states) or self._states[number] == _UNKNOWN:
            raise NotConserved(f"job {number} ended, and was never published")
        if self._states[number] == _ENDED:
            raise NotConserved(f"job {number} ended twice")
        self._states[number] = _ENDED
        self.ended += 1
        return self._providers[number], self._since[number]

    def is_open(self, number: int) -> bool:
        """Whether it was published and has not ended."""
        return number < len(self._states) and self._states[number] == _OPEN

    @property
    def open(self) -> int:
        """How many are on their way."""
        return self.arrived - self.ended
