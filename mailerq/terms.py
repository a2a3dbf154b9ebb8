"""Terms: what holds for all sites, whatever the traffic: limits, pools, pauses, warm-up, the memory of paces, and what
of them is shared with other engines.

One object, made by ``scheduler.py`` and handed to every site; replaced when the configuration is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from mailerq.census import Census, Remotes, SharedCensus
from mailerq.commons import Commons
from mailerq.limits import Manner, Rule, Rules, Value, manner
from mailerq.mail import Mail
from mailerq.parking import Away, Parking, SharedParking
from mailerq.pauses import Pauses
from mailerq.route import Route
from mailerq.throttle import Due, Kept, Pace, SharedPace, Withheld
from mailerq.warmup import Warmup

if TYPE_CHECKING:
    from mailerq.paces_file import PacesFile

PaceName = tuple[str, str | None, str | None, str | None]
"""Limit, local address (None: all together), tag (None: whatever it is), and what it shares with other sites: the
remote address, or a word (None: nothing)."""

MOST_NAMED = 50_000  # sites of which it is remembered which rules hold for them


class Terms:
    """``rules`` are those of ``limits``; ``remotes`` counts connections by remote address, over all sites; ``commons``
    says what of the limits is this engine's, where several share them."""

    def __init__(
        self,
        rules: Collection[Rule],
        pools: Mapping[str, Collection[str]],
        pauses: Pauses | None = None,
        warmup: Warmup | None = None,
        memory: PacesFile | None = None,
        *,
        commons: Commons | None = None,
    ) -> None:
        self.rules = Rules(rules)
        self.pools = pools
        self.pauses = pauses if pauses is not None else Pauses()
        self.warmup = warmup if warmup is not None else Warmup(())
        self.memory = memory
        self.commons = commons
        self._remote: WeakValueDictionary[PaceName, _SharedDue] = WeakValueDictionary()
        self.remotes: Remotes = {}
        self.away = Away()
        self._turns: dict[tuple[str, ...], int] = {}
        self._named: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._have_manners = any(rule.tls is not None or rule.retry_interval is not None for rule in rules)
        self.have_tags = any(rule.tag is not None for rule in rules)

    def renewed(self, terms: Terms) -> Terms:
        """``terms``, with what is used up of these."""
        terms._remote, terms.remotes, terms._named = self._remote, self.remotes, self._named
        terms.away, terms._turns = self.away, self._turns
        return terms

    def note_domain(self, site: tuple[str, ...], domain: str, from_others: bool = False) -> None:
        """A rule holds for a site since this domain is known to be of it: remembered when the site is forgotten, or the
        next mail to another of its domains would not know of the rule. ``from_others``: other engines know it."""
        known = self._named.pop(site, ())
        if domain in known:
            self._named[site] = known
            return
        self._named[site] = (*known, domain)
        if self.commons is not None and not from_others:
            self.commons.note_domain(site, domain)
        if len(self._named) > MOST_NAMED:
            del self._named[next(iter(self._named))]

    def domains_of(self, site: tuple[str, ...]) -> tuple[str, ...]:
        """The domains of a site that rules were found to hold for."""
        return self._named.get(site, ())

    def first_turn(self, sources: tuple[str, ...]) -> int:
        """Which of several local addresses a new lane begins with: each as often as it stands there, or all the sites
        that get a single mail would get it from the same one."""
        if len(sources) < 2:
            return 0
        turn = self._turns.get(sources, 0)
        self._turns[sources] = (turn + 1) % len(sources)
        return turn

    def manner_of(self, mail: Mail, route: Route) -> Manner | None:
        """What of the limits is a recipient domain's own; None: nothing is."""
        if not self._have_manners:
            return None
        return manner(self.rules, mail.job.domain, route.mx_names, mail.tags)

    def pace(self, own: dict[PaceName, Pace], site: tuple[str, ...], name: PaceName, value: Value, now: float) -> Pace:
        """The pace of that name, one of ``own`` (a site's); begun if it is new, as remembered from an earlier life; at
        the rate that holds now. What sites share is used up for all of them."""
        full: tuple[str | None, ...] = name if name[3] is not None else (*site, *name)
        rate = value.number if self.commons is None else self.commons.rate(full, value.number, site)
        if not rate and self.commons is not None:
            return Withheld(value.number, self.commons.seconds)
        pace = own.get(name)
        if pace is not None:
            pace.change(rate, now)
            return pace
        cell = None if self.commons is None else self.commons.cell(full)
        if cell is not None and self.commons is not None:
            pace = own[name] = SharedPace(rate, cell, self.commons.lock, now, among_sites=name[3] is not None)
        elif name[3] is None:
            pace = own[name] = Pace(rate, self._kept(full))
        else:
            due = self._remote.get(name)
            if due is None:
                due = self._remote[name] = _SharedDue(self._kept(name))
            pace = own[name] = Pace(rate, shared=due)
        return pace

    def census(self, site: tuple[str, ...]) -> Census:
        """What counts the connections of a site."""
        if self.commons is None:
            return Census(self.remotes)
        return SharedCensus(self.remotes, self.commons, site)

    def parking(self, site: tuple[str, ...], tag: str | None = None) -> Parking:
        """What promises turns to the mails of a site, or of one tag there."""
        cell = None if self.commons is None else self.commons.cell((*site, "turns", tag))
        return Parking() if cell is None else SharedParking(cell)

    def _kept(self, name: tuple[str | None, ...]) -> Kept | None:
        return None if self.memory is None else self.memory.slot(name)


class _SharedDue(Due):
    """One that is forgotten with the last site that uses it."""
