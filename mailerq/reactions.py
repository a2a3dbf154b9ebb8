"""Reactions: what hosts' answers lead to at their sites: fewer connections, a pause, reduced limits for a while.

What they lead to for the job itself is ``verdict.py``'s. Keeps in the notes what must outlive the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.logger import Logger

from mailerq.attempt import Outcome
from mailerq.lane import Link
from mailerq.notes import Notes
from mailerq.pauses import Pauses
from mailerq.responses import Reaction, Responses
from mailerq.settings import Settings
from mailerq.site import Site
from mailerq.slowdown import SlowDown, from_note
from mailerq.warmup import Warmup

_log = Logger()
_SLOWED = "slow-downs"
_WARMED = "warm-up"
_PAUSED = "pauses"


class _Slowed(msgspec.Struct, frozen=True):
    """A slow-down of one site, as it is noted."""

    site: tuple[str, ...]
    source: str | None
    slowdown: dict[str, Any]


class Reactions:
    """``responses`` say what an answer means. ``pauses`` and ``warmup`` are those that hold, as noted from an earlier
    life. ``changed`` is called with a site whose limits have changed, and without one where any may have."""

    def __init__(self, settings: Settings, notes: Notes | None, changed: Callable[[Site | None], None]) -> None:
        self._notes = notes
        self._changed = changed
        self.pauses, problems = Pauses.from_notes(self._read(_PAUSED) or [])
        self._slowed: dict[tuple[str, ...], dict[str | None, SlowDown]] = {}
        problems += self._read_slowed()
        self.warmup = Warmup((), self._read(_WARMED) or {})
        problems += self.warmup.problems
        for problem in problems:
            _log.error("what was noted cannot be used: {problem}", problem=problem)
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Other rules hold from now on."""
        self.responses = Responses(settings.responses)
        self.warmup = Warmup(settings.schedules, self.warmup.counts)

    def _read_slowed(self) -> list[str]:
        """The slow-downs that were noted. Returns what of it cannot be used."""
        problems = []
        noted = self._read(_SLOWED) or []
        for note in noted if isinstance(noted, list) else [noted]:
            try:
                one = msgspec.convert(note, _Slowed)
                self._slowed.setdefault(one.site, {})[one.source] = from_note(one.slowdown)
            except ValueError as error:
                problems.append(f"slow-down: {error}")
        return problems

    def _read(self, section: str) -> Any:
        return None if self._notes is None else self._notes.get(section)

    # -- what hosts say ----------------------------------------------------------------------------------------------

    def to(self, site: Site, link: Link, outcome: Outcome, domain: str, now: float) -> Reaction:
        """What an outcome that is no success leads to; what of it concerns the site is done."""
        reaction = self.responses.reaction(outcome, domain, link.host.mx, link.source)
        if reaction.fewer:
            site.allowance.window(link.source).bad(now, site.census.working(link.source))
        scope = link.source if reaction.pause_scope == "address" else None
        if reaction.slow:
            self._slow(site, scope, reaction, _said(outcome), now)
        if reaction.pause:
            version = self.pauses.version
            self.pauses.add(now, now + reaction.pause, _said(outcome), site=site.key, ip=scope, by="reply")
            if self.pauses.version != version:
                self._note(_PAUSED, self.pauses.as_notes)
                self._changed(site)
        return reaction

    def _slow(self, site: Site, source: str | None, reaction: Reaction, said: str, now: float) -> None:
        values, lasts, line = dict(reaction.slow or {}), reaction.slow_for, reaction.line
        before = site.allowance.slowdowns.get(source)
        if before is None:
            slowdown = SlowDown(values, now + lasts, now, said, line, source is not None)
        else:
            configured = site.allowance.configured(source)
            slowdown = before.again(values, lasts, now, said, limits=configured, line=line)
            if slowdown is before:
                return
        site.allowance.slow(source, slowdown)
        self._slowed.setdefault(site.key, {})[source] = slowdown
        self._note(_SLOWED, self._as_notes)
        self._changed(site)

    def _as_notes(self) -> list[dict[str, Any]]:
        return [
            {"site": site, "source": source, "slowdown": msgspec.to_builtins(slowdown)}
            for site, slowdowns in self._slowed.items()
            for source, slowdown in slowdowns.items()
        ]

    # -- what is remembered ------------------------------------------------------------------------------------------

    def remember(self, site: Site, now: float) -> None:
        """A site is new: the slow-downs that were noted of it hold on."""
        for source, slowdown in self._slowed.get(site.key, {}).items():
            if not slowdown.is_over(now):
                site.allowance.slow(source, slowdown)

    def sent(self, site: Site, source: str, now: float) -> None:
        """A mail was sent from an address that may be warming up."""
        schedule = site.allowance.schedule(source)
        if schedule is not None and schedule.sent(now):
            self._note(_WARMED, self.warmup.counts)

    def pauses_changed(self) -> None:
        """Somebody has begun or ended a pause."""
        self._note(_PAUSED, self.pauses.as_notes, at_once=True)
        self._changed(None)

    def _note(self, section: str, value: Any, *, at_once: bool = False) -> None:
        if self._notes is not None:
            self._notes.put(section, value, at_once=at_once)

    def tick(self, now: float) -> None:
        """Forget what is over."""
        if self.pauses.forget_old(now):
            self._note(_PAUSED, self.pauses.as_notes)
            self._changed(None)
        over = [site for site, slowdowns in self._slowed.items() if all(s.is_over(now) for s in slowdowns.values())]
        for site in over:
            del self._slowed[site]


def _said(outcome: Outcome) -> str:
    """What the host said, in one line."""
    said = f"{outcome.code or outcome.type} {outcome.status or ''} {outcome.description}"[:200]
    return " ".join(said.split())
