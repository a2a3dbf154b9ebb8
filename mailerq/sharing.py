"""Sharing: how a scheduler keeps to limits that other engines use, too.

Pure; made only where there are several engines. It puts a look at a site, and what is taken because of it, into one
step; sees to it that a site looks again when others have let go what it was refused; and lets connections go in turn
for others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from mailerq.budget import CONNECT_RATES
from mailerq.census import SharedCensus
from mailerq.commons import Commons, SiteKey

if TYPE_CHECKING:
    from mailerq.lane import Link
    from mailerq.mail import Mail
    from mailerq.moves import Move
    from mailerq.room import Room
    from mailerq.site import Site, World
    from mailerq.terms import Terms

TURN_MAILS = 20  # a connection that others want is closed after so many mails,
TURN = 1.0  # or so many seconds after it was set up, and at least
SET_UPS = 4.0  # times as many as that took,
REST = 0.1  # or after no mail has come for it for so long: or rare mails would cost a connection each

ASKED_EACH = 0.002  # seconds between two connections that need not go: asked at each message it would cost too much


class Sharing:
    """``look(site)``: look at a site in the next turn; ``close(link)``: an idle connection is to be closed;
    ``later(seconds, call)`` calls once; ``terms()`` are those that hold now."""

    def __init__(
        self,
        commons: Commons,
        sites: dict[SiteKey, Site],
        room: Room,
        *,
        look: Callable[[Site], None],
        close: Callable[[Link], None],
        later: Callable[[float, Callable[[], None]], object],
        terms: Callable[[], Terms],
    ) -> None:
        self.commons = commons
        self._sites = sites
        self._room = room
        self._look = look
        self._close = close
        self._later = later
        self._terms = terms
        self._wanting: set[SiteKey] = set()
        self._asks = self._stopped = False
        self._no_more_before = 0.0
        commons.listen(self.changed)

    def next_moves(self, site: Site, now: float, world: World) -> list[Move]:
        """What is to be done at a site now, and what it cannot do for the sake of others."""
        commons, refused = self.commons, site.census.refused
        refused.clear()
        with commons.lock:
            self._learn(now)
            moves = site.next_moves(now, world)
            if site.waits_for_room:
                assert self._room.shared is not None
                refused.append((self._room.shared, self._room.most))
            commons.refused(site.key, refused, site.waiting())
        if refused:
            self._wanting.add(site.key)
        else:
            self._wanting.discard(site.key)
        self._ask_later()
        return moves

    def next_mail(self, site: Site, link: Link, now: float, aside: list[Move]) -> Mail | None:
        """The mail that a connection may carry now."""
        terms = site.allowance.terms
        if not terms.have_tags and not site.budget(link.source).paced:
            return site.next_mail(link, now, aside)
        with self.commons.lock:
            self._learn(now)
            return site.next_mail(link, now, aside)

    def _learn(self, now: float) -> None:
        """What other engines have found of sites, before anything is taken here."""
        for key, domain in self.commons.noted():
            site = self._sites.get(key)
            self._terms().note_domain(key, domain, from_others=True)
            if site is not None:
                site.know_domain(domain, now)

    def gives_way(self, link: Link, now: float, idle: bool = False) -> bool:
        """Whether a connection is to be closed, as soon as its mail is done, for the sake of other engines."""
        if not self.commons.others_want or link.ready is None:
            return False
        if now < self._no_more_before or not _has_had_its_turn(link, link.ready, now, idle):
            return False
        site = link.lane.site
        census, budget = site.census, site.budget(link.source)
        if not isinstance(census, SharedCensus) or not census.gives_way(link, only_ask=True):
            self._no_more_before = now + ASKED_EACH
            return False
        if budget.next_time(CONNECT_RATES, link.host.address, now)[0] > now:  # nobody could open another in its place
            return False
        return census.gives_way(link)

    def rests(self) -> None:
        """A connection has nothing to do."""
        self._ask_later()

    def closed(self, link: Link) -> None:
        """A connection is gone."""
        census = link.lane.site.census
        if isinstance(census, SharedCensus):
            census.left(link)

    def forget(self, site: Site) -> None:
        """A site is no more."""
        self._wanting.discard(site.key)
        self.commons.forget(site.key)

    def stop(self) -> None:
        """Nothing is opened any more: nothing is wanted."""
        self._asks = self._stopped = True
        with self.commons.lock:
            for key in self._wanting:
                self.commons.refused(key, (), 0)
        self._wanting.clear()

    def changed(self, keys: Collection[SiteKey] | None) -> None:
        """Other parts of limits hold for these sites."""
        for key in list(self._sites) if keys is None else keys:
            site = self._sites.get(key)
            if site is not None:
                site.allowance.forget()
                self._look(site)
        self._let_go()

    def _ask_later(self) -> None:
        if not self._asks and self.commons.look_again is not None and (self._wanting or self._room.rest):
            self._asks = True
            self._later(self.commons.look_again, self._ask)

    def _ask(self) -> None:
        """Others may have let something go; or want what rests here."""
        if self._stopped:
            return
        self._asks = False
        if self._wanting:
            for key in self.commons.free_again():
                site = self._sites.get(key)
                if site is not None:
                    self._look(site)
        self._let_go()
        self._ask_later()

    def _let_go(self) -> None:
        if self._room.rest and self.commons.others_want:
            now = self.commons.seconds()
            for link in self._room.idle():
                if self.gives_way(link, now, idle=True):
                    self._close(link)


def _has_had_its_turn(link: Link, ready: float, now: float, idle: bool) -> bool:
    """Whether a connection that others want has been of enough use for what it cost to set up."""
    if link.sent >= TURN_MAILS or (idle and not link.lane.waiting and now >= link.idle_since + REST):
        return True
    return now >= ready + max(TURN, SET_UPS * (ready - link.opened))
