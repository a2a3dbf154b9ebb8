"""Memory: the pauses, slow-downs and warm-up days that all workers know alike. Pure.

The parent's is the one that counts: what a worker has found out is merged into it, and what comes of that all are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

import msgspec

from mailerq.pauses import Pause, Pauses
from mailerq.slowdown import BURST, SlowDown, from_note
from mailerq.warmup import Warmup
from mailerq.workers.changes import Change, Crowded, Paused, Resumed, Slowed, Warmed

PAUSED, SLOWED, WARMED = "pauses", "slow-downs", "warm-up"  # the sections of the notes
MOST_SLOWED = 100_000  # sites and addresses that are slowed at once


class Memory:
    """``noted`` gives a section of what was noted (``notes.py``); what of it cannot be used stands in ``problems``."""

    def __init__(self, noted: Callable[[str], Any] = lambda section: None) -> None:
        self.pauses, self.problems = Pauses.from_notes(noted(PAUSED) or [])
        self.warmup = Warmup((), noted(WARMED) or {})
        self.problems += self.warmup.problems
        self._slowed: dict[tuple[tuple[str, ...], str | None], SlowDown] = {}
        slowed, problems = slowed_of(noted(SLOWED))
        self.problems += problems
        for one in slowed:
            self._slow(one)

    def sections(self) -> dict[str, Callable[[], Any]]:
        """What is to be noted, made when it is written."""
        return {PAUSED: self.pauses.as_notes, SLOWED: self._slowed_notes, WARMED: lambda: self.warmup.counts}

    def _slowed_notes(self) -> list[dict[str, Any]]:
        return [slowed_note(*key, slowdown) for key, slowdown in self._slowed.items()]

    def all(self) -> Iterator[Change]:
        """All that holds, for a worker that knows nothing."""
        yield from map(Paused, self.pauses)
        yield from (Slowed(site, source, slowdown) for (site, source), slowdown in self._slowed.items())
        yield from (Warmed(name, count["day"], count["date"]) for name, count in self.warmup.counts.items())

    # -- what changes ------------------------------------------------------------------------------------------------

    def learn(self, change: Change, now: float) -> Change | None:
        """A worker has found this out. Returns what all are to hear, the worker as well; None: that is nothing new.
        Raises ValueError where it makes no sense."""
        if isinstance(change, Paused):
            return self._pause(change.pause, now)
        if isinstance(change, Resumed):
            return change if self.pauses.drop(change.scope) else None
        if isinstance(change, Slowed):
            return self._slow(change)
        if isinstance(change, Crowded):
            return change if isfinite(change.at) else None
        return change if self.warmup.learn(change.name, change.day, change.date) else None

    def _pause(self, pause: Pause, now: float) -> Change | None:
        """With the number that it has everywhere; what a host asked for only makes a pause longer."""
        if not isfinite(pause.since) or not isfinite(pause.until or 0.0):
            raise ValueError("a time is no time")
        parts = {name: value for name, value in msgspec.structs.asdict(pause.scope).items() if value is not None}
        before = self.pauses.version
        holds = self.pauses.add(now, pause.until, pause.why, pause.by, **parts)
        return Paused(holds) if self.pauses.version != before or holds != pause else None

    def _slow(self, change: Slowed) -> Change | None:
        slowdown = from_note(msgspec.to_builtins(change.slowdown))
        key = (change.site, change.source)
        before = self._slowed.get(key)
        holds = slowdown if before is None else stricter(before, slowdown)
        if holds == before or (before is None and len(self._slowed) >= MOST_SLOWED):
            return None
        self._slowed[key] = holds
        return Slowed(change.site, change.source, holds)

    def pause(self, now: float, until: float | None, why: str, **scope: str) -> Paused:
        """Somebody begins a pause."""
        return Paused(self.pauses.add(now, until, why, **scope))

    def forget_old(self, now: float) -> bool:
        """Whether something is over; it is no longer known. Workers see that by themselves."""
        over = [key for key, slowdown in self._slowed.items() if slowdown.is_over(now)]
        for key in over:
            del self._slowed[key]
        return self.pauses.forget_old(now) or bool(over)


def stricter(one: SlowDown, other: SlowDown) -> SlowDown:
    """What holds where two workers were told so, each not knowing of the other: the later one where it began after the
    other's burst, else the lower limits for the longer time."""
    first, last = sorted((one, other), key=lambda slowdown: slowdown.began)
    if last.began >= first.began + BURST:
        return last
    keys = {**first.values, **last.values}
    values = {key: min(first.values.get(key, value), last.values.get(key, value)) for key, value in keys.items()}
    return msgspec.structs.replace(
        first, values=values, until=max(first.until, last.until), cause=last.cause, line=last.line
    )


def slowed_note(site: tuple[str, ...], source: str | None, slowdown: SlowDown) -> dict[str, Any]:
    """A slow-down as it is noted."""
    return {"site": site, "source": source, "slowdown": msgspec.to_builtins(slowdown)}


def slowed_of(noted: Any) -> tuple[list[Slowed], list[str]]:
    """The slow-downs of that section of the notes, and what of it cannot be used."""
    found, problems = [], []
    for note in noted if isinstance(noted, list) else [noted] if noted else []:
        try:
            found.append(_as_slowed(note))
        except ValueError as error:
            problems.append(f"slow-down: {error}")
    return found, problems


def _as_slowed(note: object) -> Slowed:
    """What was noted. Raises ValueError, with a text for people."""
    if not isinstance(note, dict):
        raise ValueError("is no object")
    slowdown = from_note(note.get("slowdown"))
    try:
        site = msgspec.convert(note.get("site"), tuple[str, ...])
        source = msgspec.convert(note.get("source"), str | None)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return Slowed(site, source, slowdown)
