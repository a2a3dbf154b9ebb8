"""Allowance: all that limits a site now: numbers by local address and by tag, pauses, slow-downs, warm-up, and how many
connections it is believed to bear.

Pure. Limits that change with the time are those of the last ``refresh``.
"""

from __future__ import annotations

from mailerq.budget import MESSAGE_RATES, Budget
from mailerq.limit_rules import DEFAULT_LIMITS
from mailerq.limits import Limits, Matched, Value
from mailerq.mail import Mail
from mailerq.pauses import Pause, SitePauses
from mailerq.route import Route
from mailerq.slowdown import SlowDown
from mailerq.terms import PaceName, Terms
from mailerq.throttle import Pace
from mailerq.warmup import Schedule
from mailerq.window import Window

NEVER = float("inf")


class Allowance:
    """``slowdowns`` and ``windows`` are by local address (None: any). ``changes_at``: when limits change by time
    alone."""

    def __init__(self, route: Route, terms: Terms) -> None:
        self.route = route
        self.terms = terms
        self.domains: set[str] = set()
        self._rules = Matched(terms.rules, self.route.mx_names, terms.domains_of(route.key))
        self.paces: dict[PaceName, Pace] = {}
        self.windows: dict[str | None, Window] = {}
        self.slowdowns: dict[str | None, SlowDown] = {}
        self.changes_at = NEVER
        self._as_of = 0.0
        self._budgets: dict[str | None, Budget] = {}
        self._tag_budgets: dict[tuple[str | None, str], Budget] = {}
        self._schedules: dict[str, Schedule | None] = {}
        self._pauses: SitePauses | None = None
        self._version = -1

    # -- what changes it ---------------------------------------------------------------------------------------------

    def know_domain(self, domain: str, now: float = 0.0) -> bool:
        """A domain is found to be of this site; limits that name it hold from now on. Whether there are any."""
        if domain in self.domains:
            return False
        self.domains.add(domain)
        self._version = -1
        found = self._rules.know_domain(domain)
        if found:
            self.terms.note_domain(self.route.key, domain)
            self._change_paces(now)
        elif self.terms.warmup:
            self.forget()
        return found

    def renew(self, terms: Terms, now: float = 0.0) -> None:
        """Other limits hold from now on; what was used up is not forgotten."""
        self.terms = terms
        self._rules = Matched(terms.rules, self.route.mx_names, terms.domains_of(self.route.key))
        for domain in sorted(self.domains):
            if self._rules.know_domain(domain):
                terms.note_domain(self.route.key, domain)
        self._version = -1
        self._change_paces(now)

    def _change_paces(self, now: float) -> None:
        """What is owed under each pace is paid at the new rate from now on, not from when it is next looked at."""
        self._as_of = max(self._as_of, now)
        self.forget()
        for key, source, tag, shared in list(self.paces):
            budget = self.budget(source) if tag is None else self.tag_budget(source, tag)
            budget.paces((key,), shared if key.startswith("ip_") else None)

    def slow(self, source: str | None, slowdown: SlowDown) -> None:
        """Reduced limits hold for a while, for mail from ``source`` (None: for all)."""
        self.slowdowns[source] = slowdown
        self.forget()

    def refresh(self, now: float) -> None:
        """Let limits that change with the time be those of ``now``."""
        self._as_of = now
        if now >= self.changes_at:
            for source in [source for source, slowdown in self.slowdowns.items() if slowdown.is_over(now)]:
                del self.slowdowns[source]
            self.forget()

    def forget(self) -> None:
        """Look all limits up anew."""
        self._budgets.clear()
        self._tag_budgets.clear()
        self._schedules.clear()
        self.changes_at = NEVER

    # -- what holds --------------------------------------------------------------------------------------------------

    def budget(self, source: str | None) -> Budget:
        """What mail from ``source`` may do here."""
        found = self._budgets.get(source)
        if found is None:
            found = self._budgets[source] = self._new_budget(source)
        return found

    def _new_budget(self, source: str | None) -> Budget:
        terms, now = self.terms, self._as_of
        limits = dict(self._rules.limits(source, terms.pools))
        more: list[Limits] = []
        for scope in dict.fromkeys((None, source)):
            slowdown = self.slowdowns.get(scope)
            if slowdown is not None:
                more.append(_reduce(limits, slowdown.overlay(limits, now)))
                self._changes(slowdown.next_change(now))
        schedule = self.schedule(source)
        if schedule is not None:
            warm = schedule.value(now)
            if warm is not None:
                more.append({"messages_per_minute": warm})
            self._changes(terms.warmup.next_change(now))
        return Budget(self._find_pace, source, limits, more)

    def schedule(self, source: str | None) -> Schedule | None:
        """The warm-up of a local address that holds here."""
        if source is None or not self.terms.warmup:
            return None
        if source not in self._schedules:
            schedule = self.terms.warmup.schedule_of(source, self.domains, self.route.mx_names, self.terms.pools)
            self._schedules[source] = schedule
        return self._schedules[source]

    def configured(self, source: str | None) -> Limits:
        """The limits without what hosts or the time have made of them."""
        return self._rules.limits(source, self.terms.pools)

    def _changes(self, at: float | None) -> None:
        if at is not None and at < self.changes_at:
            self.changes_at = at

    def tag_budget(self, source: str | None, tag: str) -> Budget:
        """What mail with ``tag`` from ``source`` may do here, in addition."""
        found = self._tag_budgets.get((source, tag))
        if found is None:
            limits = self._rules.tag_limits(source, self.terms.pools, tag)
            found = self._tag_budgets[source, tag] = Budget(self._find_pace, source, limits)
        return found

    def _find_pace(self, name: PaceName, value: Value) -> Pace:
        return self.terms.pace(self.paces, self.route.key, name, value, self._as_of)

    def limited(self, mail: Mail) -> tuple[str, ...]:
        """Those of a mail's tags that have limits of their own here."""
        if not self.terms.have_tags or not mail.tags:
            return ()
        return self._rules.limited_tags(mail.tags)

    def tags_due(self, source: str | None, tags: tuple[str, ...], now: float) -> float:
        """When the limits of all these tags allow one more mail."""
        return max(self.tag_budget(source, tag).next_time(MESSAGE_RATES, None, now)[0] for tag in tags)

    def window(self, source: str | None) -> Window:
        """How many connections it is believed to bear from ``source``."""
        window = self.windows.get(source)
        if window is None:
            initial = self.budget(source).number("initial_connections", DEFAULT_LIMITS["initial_connections"])
            commons = self.terms.commons
            if commons is not None:  # each engine feels it out by itself; all together are not to begin with more
                initial = max(1.0, initial // commons.engines)
            window = self.windows[source] = Window(initial)
        return window

    # -- pauses ------------------------------------------------------------------------------------------------------

    @property
    def pauses_changed(self) -> bool:
        """Whether a pause has begun or ended since the last look."""
        return self.terms.pauses.version != self._version

    def pauses(self) -> SitePauses | None:
        """The pauses that may hold here; None where nothing is paused."""
        pauses = self.terms.pauses
        if pauses.version != self._version:
            self._version = pauses.version
            self._pauses = pauses.of_site(self.domains, self.route.mx_names, self.route.key) or None
        return self._pauses

    def pause_from(self, source: str | None, mail: Mail, now: float) -> Pause | None:
        """The pause that keeps a mail from leaving from ``source``."""
        pauses = self.pauses()
        return pauses.for_source(source, self.terms.pools, mail.job.domain, mail.tags, now) if pauses else None


def _reduce(limits: Limits, reduced: Limits) -> Limits:
    """Take what is reduced over into ``limits``, where it counts the same mail. Returns what holds in addition."""
    more: Limits = {}
    for key, value in reduced.items():
        old = limits.get(key)
        if value is not old:
            (limits if old is None or old.per_source == value.per_source else more)[key] = value
    return more
