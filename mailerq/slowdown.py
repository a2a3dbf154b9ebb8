"""SlowDown: reduced limits for a time, because a host asked for it; then back step by step.

Pure, and plain values: ``msgspec.to_builtins`` writes it down, ``from_note`` reads it again.
"""

from __future__ import annotations

import time as _time
from collections.abc import Mapping
from math import floor, isfinite

import msgspec
from msgspec import Struct

from mailerq.limits import Limits, Value

STEPS = 10  # between the reduced limits and the configured ones
SHORTEST_STEP = 30.0
BURST = 30.0  # seconds in which complaints are about what was in the air when it began
LEAST = 1 / 8  # of what the rule says, however often it is repeated
LONGEST_CAUSE = 80
_RATES = "_per_minute"  # all other values are counts
_LATEST = 253402300799.0  # the year 9999


class SlowDown(Struct, frozen=True):
    """``values`` are limits by key, which hold from ``began`` to ``until`` (epoch seconds) where the configured ones
    are not lower; ``cause`` is what the host said, ``line`` that of the rule. ``per_source``: for one local address.

    Then come ten steps, each at least 30 seconds and a tenth of the time, evenly up to what is configured. Where
    nothing is: to twice, three times … eleven times the reduced one, then it is lifted. Counts are whole, at least 1.
    """

    values: Mapping[str, float]
    until: float
    began: float
    cause: str
    line: int
    per_source: bool = False

    def overlay(self, limits: Limits, now: float) -> Limits:
        """The limits that hold now, where ``limits`` are configured. They are not changed."""
        if self.is_over(now):
            return limits
        step = self._step(now)
        found = dict(limits)
        for key, reduced in self.values.items():
            configured = limits.get(key)
            number = _on_the_way(key, reduced, configured, step)
            if configured is None or number < configured.number:
                found[key] = Value(number, self.line, self.per_source, cause=self._why(step))
        return found

    def next_change(self, now: float) -> float | None:
        """When other numbers hold; None: it is over."""
        step = self._step(now)
        return None if step > STEPS else self._ends(step)

    def is_over(self, now: float) -> bool:
        """Whether the configured limits hold again."""
        return now >= self._ends(STEPS)

    def again(
        self,
        values: Mapping[str, float],
        duration: float,
        now: float,
        cause: str,
        *,
        limits: Limits | None = None,
        line: int | None = None,
    ) -> SlowDown:
        """The host complains again; ``values`` and ``duration`` are what its rule says.

        Half of what holds now (``limits``: what is configured), at most what the rule says and at least an eighth of
        it. Complaints within half a minute are one.
        """
        line = self.line if line is None else line
        until = now + duration
        if self.is_over(now):
            return SlowDown(values, until, now, cause, line, self.per_source)
        step = self._step(now)
        new = dict(self.values)
        burst = now < self.began + BURST
        for key, rule in values.items():
            reduced = self.values.get(key)
            if reduced is None or burst:
                new[key] = rule if reduced is None else min(rule, reduced)
            else:
                holds = _on_the_way(key, reduced, (limits or {}).get(key), step)
                new[key] = min(rule, max(rule * LEAST, holds / 2))
        if burst and new == self.values:
            return self
        return SlowDown(new, max(until, self.until), self.began if burst else now, cause, line, self.per_source)

    def _ends(self, step: int) -> float:
        """When a step ends; 0: the reduced limits themselves."""
        return self.until + step * max(SHORTEST_STEP, (self.until - self.began) / STEPS)

    def _step(self, now: float) -> int:
        """0: reduced, 1 … 10: on the way back, 11: over."""
        return next((step for step in range(STEPS + 1) if now < self._ends(step)), STEPS + 1)

    def _why(self, step: int) -> str:
        said = " ".join(self.cause.split())
        said = said if len(said) <= LONGEST_CAUSE else said[: LONGEST_CAUSE - 1].rstrip() + "…"
        until = _time.strftime("%H:%M:%S", _time.gmtime(self.until))
        when = f"slowed until {until}" if step == 0 else f"slowed until {until}, step {step} of {STEPS} back"
        return f"{when}: {said}" if said else when


def _on_the_way(key: str, reduced: float, configured: Value | None, step: int) -> float:
    """The number of a step. A configured one that is lower holds anyway."""
    if configured is None:
        number = reduced * (1 + step)
    elif configured.number <= reduced:
        number = configured.number
    else:
        number = reduced + (configured.number - reduced) * step / (STEPS + 1)
    return number if key.endswith(_RATES) else float(max(1, floor(number)))


def from_note(note: object) -> SlowDown:
    """What was written down. Raises ``ValueError``, with a text for people."""
    try:
        slowdown = msgspec.convert(note, SlowDown)
    except (ValueError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if not 0 <= slowdown.began <= slowdown.until <= _LATEST:
        raise ValueError("a slow-down must begin before it ends")
    if not all(isfinite(number) and number > 0 for number in slowdown.values.values()):
        raise ValueError("a reduced limit must be above zero")
    return slowdown
