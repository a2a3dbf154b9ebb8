"""What runs have cost: one run, the spread of several, ratios of runs that took turns.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple


@dataclass(frozen=True)
class Run:
    """One run. CPU is seconds, memory megabytes; ``cpu``: all processes of the program; ``beside``: its broker, not
    part of ``cpu``; ``injector`` and ``sink`` are no part of either; ``publisher`` is part of ``cpu``."""

    round: int
    messages: int
    seconds: float
    cpu: float
    beside: float
    injector: float
    sink: float
    memory: float
    memory_beside: float
    publisher: float = 0.0

    def each(self, seconds: float) -> float:
        """CPU seconds of the run as microseconds a message."""
        return 1e6 * seconds / self.messages

    @property
    def micros(self) -> float:
        """CPU of the program, microseconds a message."""
        return self.each(self.cpu)

    @property
    def whole(self) -> float:
        """CPU of the program and its broker, microseconds a message."""
        return self.each(self.cpu + self.beside)

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


class Spread(NamedTuple):
    """The least, the middle and the most."""

    least: float
    middle: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more; ValueError for none."""
    return Spread(min(values), median(values), max(values))


def over(runs: Sequence[Run], of: Callable[[Run], float]) -> Spread:
    """The spread of a figure over runs."""
    return spread([of(run) for run in runs])


def ratios(runs: Sequence[Run], base: Sequence[Run], of: Callable[[Run], float]) -> Spread | None:
    """How many times the figure of ``base`` that of ``runs`` is, round by round, so that a slow minute of the machine
    counts little. None: they have no round in common."""
    bases = {run.round: of(run) for run in base}
    found = [of(run) / bases[run.round] for run in runs if bases.get(run.round)]
    return spread(found) if found else None
