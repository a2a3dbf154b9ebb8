"""Reactions: what hosts' answers lead to at their sites: fewer connections, a pause, reduced limits for a while.

What they lead to for the job itself is ``verdict.py``'s. Keeps in the notes what must outlive the process, and tells
other workers where there are some.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from mailerq.attempt import Outcome
from mailerq.lane import Link
from mailerq.notes import AnyNotes
from mailerq.pauses import Pause, Pauses, Scope
from mailerq.responses import Reaction, Responses
from mailerq.settings import Settings
from mailerq.site import Site
from mailerq.slowdown import SlowDown
from mailerq.warmup import Warmup
from mailerq.workers.changes import Change, Crowded, Paused, Resumed, Slowed, Warmed
from mailerq.workers.memory import PAUSED, SLOWED, WARMED, slowed_note, slowed_of

_log = Logger()


class Reactions:
    """``responses`` say what an answer means. ``pauses`` and ``warmup`` are those that hold, as noted from an earlier
    life. ``changed`` is called with a site whose limits have changed, and without one where any may have. ``tell``, if
    there is one, is called with what other workers must know; what they have told, ``hear`` is given."""

    def __init__(self, settings: Settings, notes: AnyNotes | None, changed: Callable[[Site | None], None]) -> None:
        self._notes = notes
        self._changed = changed
        self.tell: Callable[[Change], None] | None = None
        self.pauses, problems = Pauses.from_notes(self._read(PAUSED) or [])
        self._told: dict[Scope, Pause] = {}
        self._slowed: dict[tuple[str, ...], dict[str | None, SlowDown]] = {}
        problems += self._read_slowed()
        self.warmup = Warmup((), self._read(WARMED) or {})
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
        slowed, problems = slowed_of(self._read(SLOWED))
        for one in slowed:
            self._slowed.setdefault(one.site, {})[one.source] = one.slowdown
        return problems

    def _read(self, section: str) -> Any:
        return None if self._notes is None else self._notes.get(section)

    # -- what hosts say ----------------------------------------------------------------------------------------------

    def to(self, site: Site, link: Link, outcome: Outcome, domain: str, now: float) -> Reaction:
        """What an outcome that is no success leads to; what of it concerns the site is done."""
        reaction = self.responses.reaction(outcome, domain, link.host.mx, link.source)
        if reaction.fewer:
            self._crowded(site, link.source, now)
        scope = link.source if reaction.pause_scope == "address" else None
        if reaction.slow:
            self._slow(site, scope, reaction, _said(outcome), now)
        if reaction.pause:
            version = self.pauses.version
            self.pauses.add(now, now + reaction.pause, _said(outcome), site=site.key, ip=scope, by="reply")
            if self.pauses.version != version:
                self._note(PAUSED, self.pauses.as_notes)
                self._tell_pauses()
                self._changed(site)
        return reaction

    def _crowded(self, site: Site, source: str | None, now: float) -> None:
        """There are too many connections; what that says of the host holds for other workers, too."""
        working = site.census.working(source)
        if site.allowance.window(source).bad(now, working) and self.tell is not None:
            self.tell(Crowded(site.key, source, now))

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
        self._note(SLOWED, self._as_notes)
        if self.tell is not None:
            self.tell(Slowed(site.key, source, slowdown))
        self._changed(site)

    def _as_notes(self) -> list[dict[str, Any]]:
        return [
            slowed_note(site, source, slowdown)
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
            self._note(WARMED, self.warmup.counts)
            if self.tell is not None:
                count = self.warmup.counts[schedule.key]
                self.tell(Warmed(schedule.key, count["day"], count["date"]))

    def pauses_changed(self) -> None:
        """Somebody has begun or ended a pause."""
        self._note(PAUSED, self.pauses.as_notes, at_once=True)
        self._tell_pauses()
        self._changed(None)

    def _note(self, section: str, value: Any, *, at_once: bool = False) -> None:
        if self._notes is not None:
            self._notes.put(section, value, at_once=at_once)

    def tick(self, now: float) -> None:
        """Forget what is over."""
        if self.pauses.forget_old(now):
            self._note(PAUSED, self.pauses.as_notes)
            self._told = {pause.scope: pause for pause in self.pauses}  # that others see by themselves
            self._changed(None)
        over = [site for site, slowdowns in self._slowed.items() if all(s.is_over(now) for s in slowdowns.values())]
        for site in over:
            del self._slowed[site]

    # -- other workers -----------------------------------------------------------------------------------------------

    def share(self, tell: Callable[[Change], None]) -> None:
        """From now on other workers are told."""
        self._told = {pause.scope: pause for pause in self.pauses}
        self.tell = tell

    def _tell_pauses(self) -> None:
        """What of the pauses others do not know."""
        if self.tell is None:
            return
        before, self._told = self._told, {pause.scope: pause for pause in self.pauses}
        for scope, pause in self._told.items():
            if before.get(scope) != pause:
                self.tell(Paused(pause))
        for scope in before.keys() - self._told.keys():
            self.tell(Resumed(scope))

    def hear(self, change: Change, site_of: Callable[[tuple[str, ...]], Site | None]) -> None:
        """Another worker has found this out, or it is what comes of what we told. Raises ValueError for nonsense."""
        if isinstance(change, Slowed):
            self._slowed.setdefault(change.site, {})[change.source] = change.slowdown
            site = site_of(change.site)
            if site is not None and site.allowance.slowdowns.get(change.source) != change.slowdown:
                site.allowance.slow(change.source, change.slowdown)
                self._changed(site)
        elif isinstance(change, Crowded):
            site = site_of(change.site)
            if site is not None:
                site.allowance.window(change.source).full(change.at, site.census.working(change.source))
                self._changed(site)
        elif isinstance(change, Warmed):
            if self.warmup.learn(change.name, change.day, change.date):
                self._changed(None)
        else:
            changed = (
                self.pauses.put(change.pause) if isinstance(change, Paused) else self.pauses.drop(change.scope)
            )  # fmt: skip
            if changed:
                self._told = {pause.scope: pause for pause in self.pauses}
                self._changed(None)


def _said(outcome: Outcome) -> str:
    """What the host said, in one line."""
    said = f"{outcome.code or outcome.type} {outcome.status or ''} {outcome.description}"[:200]
    return " ".join(said.split())
