"""Makes the moves: opens, gives, closes, parks, wakes. Decides nothing; ``site.py`` does.

It owns the sites, the connections and their timers. A mail enters by ``add`` and leaves through the ``way`` it was
given: ``ended``, ``idle``, ``parked``, ``expired`` or ``given_back``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.agenda import Agenda
from mailerq.attempt import Outcome, Type
from mailerq.commons import ALL, Commons
from mailerq.content.contents import Contents
from mailerq.hosts import Hosts
from mailerq.interfaces import IConnectionOwner
from mailerq.lane import Lane, LaneKey, Link
from mailerq.mail import Mail
from mailerq.making import Making
from mailerq.moves import Close, Expire, Give, Move, Open, Park, Stuck, WakeAt
from mailerq.notes import AnyNotes
from mailerq.paces_file import PacesFile
from mailerq.paths import MESSAGES_A_CONNECTION, same_family
from mailerq.pauses import Pause
from mailerq.reactions import Reactions
from mailerq.room import Room
from mailerq.route import Host, Route, order
from mailerq.settings import Settings
from mailerq.sharing import Sharing
from mailerq.site import Site
from mailerq.terms import Terms

_log = Logger()

_SUCCESS = Type.SUCCESS  # names cost less to reach than members of an enum
_GOES_ON = frozenset({Type.REFUSED, Type.CONNECT, Type.NOACCESS, Type.TLS})  # to the next host, within one attempt
_OFFLINE_AT_ONCE = frozenset({Type.REFUSED, Type.CONNECT, Type.NOACCESS})


class Way(Protocol):
    """What the scheduler tells of a mail; each mail that was added leaves by exactly one of the first five."""

    def ended(self, mail: Mail, outcome: Outcome, link: Link | None) -> None:
        """The attempt is over; ``link`` is the connection that carried it, None where none did."""

    def parked(self, mail: Mail, until: float, why: str) -> None:
        """It is to wait at the broker."""

    def expired(self, mail: Mail) -> None:
        """Its time ran out while it waited."""

    def given_back(self, mail: Mail) -> None:
        """It was not tried, and we are stopping."""

    def idle(self, mail: Mail, outcome: Outcome, link: Link) -> bool:
        """The idle connection that would have carried it next is gone. False: it has left by this."""

    def message_due(self, mail: Mail, link: Link) -> None:
        """Its final dot goes out right after this."""


_NO_FAMILY = Outcome(
    Type.BIND,
    description="none of the local addresses that may be used is of the kind (IPv4, IPv6) of the remote hosts",
)

Connect = Callable[[Any, Link, str], Any]
"""``connect(owner, link, security)`` begins a connection for a link and returns its client."""


@implementer(IConnectionOwner)
class Scheduler(Making):
    """All sites. ``connect`` makes the connections; ``dice`` shuffles hosts of equal preference. ``memory`` keeps paces
    and ``notes`` pauses, slow-downs and warm-ups over the end of the process; without them they are forgotten then.
    ``commons`` says what of the limits is this engine's, where several share them. ``contents`` makes the messages that
    do not go out as their job has them; without it (a simulation) nothing is done to any."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        connect: Connect,
        dice: random.Random,
        *,
        memory: PacesFile | None = None,
        notes: AnyNotes | None = None,
        commons: Commons | None = None,
        contents: Contents | None = None,
    ) -> None:
        self.clock = clock
        self.agenda = Agenda(clock)
        self.hosts = Hosts(settings.delivery.offline_time, settings.smtp.tls_forget)
        self.sites: dict[tuple[str, ...], Site] = {}
        self.hold = settings.delivery.hold
        self.reactions = Reactions(settings, notes, self._limits_changed)
        self.terms = self._terms(settings, memory, commons)
        self.way: Way
        self._settings = settings
        self._connect = connect
        self._dice = dice
        self.contents = contents
        self._dirty: dict[Site, None] = {}
        self._running = False
        self.all_room = Room(settings.smtp.max_connections, None if commons is None else commons.count(ALL))
        self.sharing = None if commons is None else self._share(commons)
        self.withheld: set[Mail] = set()  # whose dots must not be sent: that their connections end is no host's fault
        self._floor = 0.0
        self._drained: Deferred[None] | None = None

    # -- in ----------------------------------------------------------------------------------------------------------

    def add(self, mail: Mail, route: Route, key: LaneKey) -> None:
        """A mail waits for its turn at the site of ``route``."""
        if self._drained is not None:
            self.way.given_back(mail)
            return
        now = self.now()
        site = self.sites.get(route.key)
        if site is None:
            site = self.sites[route.key] = Site(route, self.terms)
            self.reactions.remember(site, now)
        allowance, domain = site.allowance, mail.job.domain
        allowance.route = route
        if domain not in allowance.domains:
            site.know_domain(domain, now)
        self._enter(site, mail, key, now)

    def _enter(self, site: Site, mail: Mail, key: LaneKey, now: float) -> None:
        """A mail takes its place in a lane, unless it may not wait here."""
        mail.lane = lane = site.lane(key)
        fair_by = self._settings.delivery.fair_by
        mail.flow = "" if fair_by is None else mail.job.flow(fair_by)
        mail.limited = site.allowance.limited(mail) if self.terms.have_tags else ()
        leaves = site.admit(mail, now, self.hold)
        if leaves is not None:
            self._make(site, leaves, now)
            return
        lane.waiting.append(mail)
        if site.will_wait(mail):
            self._touch(site)

    def _terms(self, settings: Settings, memory: PacesFile | None, commons: Commons | None) -> Terms:
        reactions = self.reactions
        return Terms(settings.limits, settings.pools, reactions.pauses, reactions.warmup, memory, commons=commons)

    def _share(self, commons: Commons) -> Sharing:
        return Sharing(
            commons,
            self.sites,
            self.all_room,
            look=self._touch,
            close=self._close_idle,
            later=self.clock.callLater,
            terms=lambda: self.terms,
        )

    def reload(self, settings: Settings) -> None:
        """Other limits, rules and times hold from now on; nothing that was used up is forgotten."""
        self._settings = settings
        self.all_room.most = settings.smtp.max_connections
        self.hold = settings.delivery.hold
        self.hosts.offline_time = settings.delivery.offline_time
        self.hosts.tls_forget = settings.smtp.tls_forget
        self.reactions.renew(settings)
        self.terms = self.terms.renewed(self._terms(settings, self.terms.memory, self.terms.commons))
        for site in self.sites.values():
            site.reload(self.terms, self.now())
            self._touch(site)

    def _limits_changed(self, site: Site | None) -> None:
        """Limits of a site, or of any, have changed, or a pause has begun or ended."""
        for one in self.sites.values() if site is None else (site,):
            one.allowance.forget()
            self._touch(one)

    def pause(self, until: float | None, why: str, **scope: str) -> Pause:
        """Nothing leaves that ``scope`` (domain, mx, ip, pool, tag: patterns; none: everything) names, until then or
        until ``resume``."""
        pause = self.reactions.pauses.add(self.now(), until, why, **scope)
        self.reactions.pauses_changed()
        return pause

    def resume(self, number: int) -> bool:
        """End the pause of that number; False: there is none."""
        found = self.reactions.pauses.remove(number)
        if found:
            self.reactions.pauses_changed()
        return found

    def let_go(self) -> None:
        """Forget what waits; connections that are being opened for a mail will be given another."""
        for site in self.sites.values():
            for lane in site.lanes.values():
                for waiting in lane.waiting:
                    waiting.lane = None
                lane.waiting.clear()
            for link in site.links:
                mail, link.mail = link.mail, None
                if mail is not None:
                    mail.link = None
            self._touch(site)

    def withhold(self, mail: Mail, link: Link) -> None:
        """The final dot of ``mail``, which is due, must not be sent: its connection is closed, and it ends. Who asks
        for this takes it out of ``withheld``."""
        self.withheld.add(mail)
        link.client.abort()

    def drain(self, patience: float) -> Deferred[None]:
        """Give back what waits, let the talks under way end, for at most ``patience`` seconds; fires when no connection
        is left."""
        if self._drained is None:
            self._drained = Deferred()
            for site in self.sites.values():
                self._drain_site(site)
            self.agenda.clear()
            self.agenda.at(self.now() + patience, self._abort_all)
            if self.sharing is not None:
                self.sharing.stop()
            self._look_if_drained()
        return self._drained

    def now(self) -> float:
        """The time; never before one for which we were woken, though a timer may fire a hair early."""
        now = self.clock.seconds()
        return now if now > self._floor else self._floor

    # -- the world, as a site sees it --------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more connections may be opened."""
        return self.all_room.left

    def connections(self) -> int:
        """How many connections of this engine there are."""
        return self.all_room.open

    def offline_until(self, address: str, source: str | None) -> float:
        """Until when no new connection may be opened to a remote IP from a local one."""
        return self.hosts.offline_until(address, source)

    def order(self, route: Route) -> Sequence[Host]:
        """The hosts of a route in the order of this try."""
        return order(route, self._dice) if len(route.hosts) > 1 else route.hosts

    # -- moves -------------------------------------------------------------------------------------------------------

    def _touch(self, site: Site) -> None:
        """Something happened at a site: look at it, once, in the next turn."""
        self._dirty[site] = None
        if not self._running:
            self._running = True
            self.clock.callLater(0, self._run)

    def _run(self) -> None:
        self._running = False
        dirty, self._dirty = self._dirty, {}
        now = self.now()
        if self._drained is not None:
            return
        for site in {**dict.fromkeys(self.all_room.next_in_line()), **dirty}:
            try:
                self._look_at(site, now)
            except Exception:  # a bug of ours, which must not cost the other sites their turn
                _log.failure("a site could not be looked at: {site!r}", site=site)
        for site in self.all_room.next_in_line()[:1]:  # who was told of it did not need it any more
            self._touch(site)

    def _look_at(self, site: Site, now: float) -> None:
        before = self.all_room.open
        sharing = self.sharing
        for move in site.next_moves(now, self) if sharing is None else sharing.next_moves(site, now, self):
            self._make(site, move, now)
        idle = self.all_room.looked_at(site, self.all_room.open > before)
        if idle is not None:
            self._close_idle(idle)
        if not site.links and not site.waiting():
            self._forget_later(site, now)

    def _close_idle(self, link: Link) -> None:
        """One that rests is closed for the sake of others."""
        self.all_room.works(link)
        link.lane.idle.remove(link)
        link.client.quit()

    def _make(self, site: Site, move: Move, now: float) -> None:
        if isinstance(move, Give):
            self.all_room.works(move.link)
            self._carry_on(move.link, self._with_message(move.link, move.mail, now), now)
        elif isinstance(move, Open):
            self._begin(site, move, now)
        elif isinstance(move, WakeAt):
            if site.wake is None or move.time < site.wake:
                site.wake = move.time
                self.agenda.at(move.time, self._wake, site, move.time)
        elif isinstance(move, Park):
            move.mail.lane = None
            move.mail.turn = move.turn
            site.parking.away.went(move.until)
            self.terms.away.went(move.until)
            self.way.parked(move.mail, move.until, move.why)
        elif isinstance(move, Close):
            self.all_room.works(move.link)
            move.link.client.quit()
        elif isinstance(move, Expire):
            move.mail.lane = None
            self.way.expired(move.mail)
        elif isinstance(move, Stuck):
            move.mail.lane = None
            self.way.ended(move.mail, move.mail.last or _NO_FAMILY, None)

    def _wake(self, site: Site, time: float) -> None:
        if site.wake == time:
            site.wake = None
            self._floor = max(self._floor, time)
            self._touch(site)

    def _begin(self, site: Site, move: Open, now: float) -> None:
        link = Link(move.lane, move.host, move.source, move.mail, now)
        move.mail.link = link
        site.links.add(link)
        self.all_room.open += 1
        security = move.lane.key.security
        if security == "opportunistic" and self.hosts.in_clear(move.host.address, now):
            security = "none"
        link.client = self._connect(self, link, security)
        link.client.link = link

    def _carry_on(self, link: Link, mail: Mail | None, now: float) -> None:
        """A connection that is free carries ``mail``, or rests; or waits, where its next message is being made."""
        if mail is not None:
            link.client.give(mail)
        elif link.preparing is None:
            self._rest(link, now)

    def _rest(self, link: Link, now: float) -> None:
        site = link.lane.site
        most = site.budget(link.source).number("connection_max_messages")
        if self._drained is not None or link.sent >= most or self.all_room.is_wanted(link):
            link.client.quit()
            return
        if self.sharing is not None:
            if self.sharing.gives_way(link, now):
                link.client.quit()
                return
            self.sharing.rests()
        link.idle_since = now
        link.lane.idle.append(link)
        self.all_room.rests(link)
        if site.has_waiting:
            self._touch(site)
        else:
            self._make(site, WakeAt(site.idle_end(link)), now)

    def _take_next(self, link: Link, now: float) -> Mail | None:
        """The next mail for a connection, ready to be talked about."""
        if link.preparing is not None:
            return self._prepared(link)
        mail = self._pick(link, now)
        return None if mail is None else self._with_message(link, mail, now)

    def _pick(self, link: Link, now: float) -> Mail | None:
        """Whose turn it is on a connection. Where others wait for room, that of a connection is short."""
        wanted = link.sent >= MESSAGES_A_CONNECTION and self.all_room.is_wanted(link)
        if self._drained is not None or wanted:
            return None
        aside: list[Move] = []
        site = link.lane.site
        if self.sharing is None:
            mail = site.next_mail(link, now, aside)
        elif self.sharing.gives_way(link, now):
            return None
        else:
            mail = self.sharing.next_mail(site, link, now, aside)
        for move in aside:
            self._make(site, move, now)
        return mail

    # -- what connections tell (IConnectionOwner) --------------------------------------------------------------------

    def ready(self, connection: Any) -> None:
        """A connection is set up: the mail it was opened for goes first."""
        link: Link = connection.link
        now = self.now()
        link.lane.site.ready(link, now)
        mail, link.mail = link.mail, None
        if mail is not None:
            if self._drained is not None:
                mail.link = None
                self.way.given_back(mail)
            else:
                self._put_back(link.lane, mail)
        self._carry_on(link, self._take_next(link, now), now)
        if link.lane.site.has_waiting:
            self._touch(link.lane.site)

    def failed(self, connection: Any, outcome: Outcome) -> None:
        """A connection could not be set up: what that says of the host, and on to the next one."""
        link: Link = connection.link
        now = self.now()
        address = link.host.address
        if outcome.type in _OFFLINE_AT_ONCE:
            source = link.source if outcome.type is Type.NOACCESS else None  # it spoke: this is between us two
            why = outcome.description
            self.hosts.went_offline(address, now, self._offline_time(link), source=source, why=why)
        elif outcome.type is Type.TLS and link.lane.key.security == "opportunistic":
            self.hosts.broke_tls(address, now)
        else:
            self._note_trouble(link, outcome, now)
        mail, link.mail = link.mail, None
        self._react(link, mail, outcome, now)
        self._unlink(link)
        if mail is not None:
            self._walk_on(link, mail, outcome, now, outcome.type in _GOES_ON or outcome.code == 421)

    def next_mail(self, connection: Any) -> Mail | None:
        """What may go out in one write with the message before it."""
        return self._take_next(connection.link, self.now())

    def message_due(self, connection: Any, mail: Mail) -> None:
        """The final dot of a mail goes out right after this."""
        self.way.message_due(mail, connection.link)

    def finished(self, connection: Any, mail: Mail, outcome: Outcome) -> None:
        """The talk about a mail is over; the connection may carry the next."""
        link: Link = connection.link
        now = self.now()
        site = link.lane.site
        site.speed.sent_one(now)
        if outcome.type is _SUCCESS:
            self.hosts.is_well(link.host.address)
            self._went_well(site, link, now)
        elif mail not in self.withheld:
            self._react(link, mail, outcome, now)
            self._note_trouble(link, outcome, now)
        if self._drained is not None and outcome.type is Type.LOST and not outcome.in_doubt:
            mail.link = None
            self.way.given_back(mail)
        elif outcome.code == 421:
            self._walk_on(link, mail, outcome, now, True)
        else:
            self.way.ended(mail, outcome, link)
        if connection.mail is None and connection.usable:
            self._carry_on(link, self._take_next(link, now), now)

    def unsent(self, connection: Any, mail: Mail) -> None:
        """A mail that went along in one write was not tried."""
        connection.link.sent -= 1
        if self._drained is not None:
            mail.link = None
            self.way.given_back(mail)
            return
        self._put_back(connection.link.lane, mail)
        self._touch(connection.link.lane.site)

    def gone(self, connection: Any, outcome: Outcome | None) -> None:
        """A connection is closed; if it was idle and the peer did it, the mail it would have carried next is told."""
        link: Link = connection.link
        lane = link.lane
        if link in lane.idle:
            lane.idle.remove(link)
            self.all_room.works(link)
        if link.preparing is not None:
            self._leave_unprepared(link)
        self._unlink(link)
        if outcome is None:
            return
        first = lane.waiting.first()
        if first is not None and not self.way.idle(first, outcome, link):
            lane.waiting.take_this(first)

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def _walk_on(self, link: Link, mail: Mail, outcome: Outcome, now: float, may_go_on: bool) -> None:
        """To the next host that is online, within the same attempt; else the attempt is over."""
        if may_go_on and self._drained is None:
            mail.tried += (link.host.address,)
            mail.last, mail.peer = outcome, link.client.peer
            for host in link.lane.site.route.hosts:
                if (
                    host.address not in mail.tried
                    and self.hosts.offline_until(host.address, link.source) <= now
                    and same_family(link.source, host.address)
                ):
                    self._put_back(link.lane, mail)
                    self._touch(link.lane.site)
                    return
        self.way.ended(mail, outcome, link)

    def _react(self, link: Link, mail: Mail | None, outcome: Outcome, now: float) -> None:
        """What a host said, or did not, may lead to other limits at its site."""
        site = link.lane.site
        domain = mail.job.domain if mail is not None else next(iter(site.domains), "")
        reaction = self.reactions.to(site, link, outcome, domain, now)
        if mail is not None:
            mail.reaction, mail.reacted_to = reaction, outcome

    def _went_well(self, site: Site, link: Link, now: float) -> None:
        allowance, source = site.allowance, link.source
        window, most = allowance.window(source), allowance.budget(source).connections
        before = window.size
        if before < most or window.ceiling is not None:
            window.good(now, most)
            if int(window.size) > int(before):
                self._touch(site)
        if source is not None and allowance.terms.warmup:
            self.reactions.sent(site, source, now)

    def _put_back(self, lane: Lane, mail: Mail) -> None:
        mail.link = None
        mail.given = None
        mail.lane = lane
        mail.forget_body()
        mail.limited = lane.site.allowance.limited(mail)  # limits may have changed meanwhile
        lane.waiting.put_back(mail)
        lane.site.will_wait(mail)

    def _note_trouble(self, link: Link, outcome: Outcome, now: float) -> None:
        if outcome.type in (Type.LOST, Type.TIMEOUT) and self.hosts.trouble(link.host.address, now):
            why = f"several talks in a short time ended so: {outcome.description}"
            self.hosts.went_offline(link.host.address, now, self._offline_time(link), why=why)

    def _offline_time(self, link: Link) -> float:
        return link.lane.site.budget(link.source).number("offline_time", self.hosts.offline_time)

    def _unlink(self, link: Link) -> None:
        site = link.lane.site
        site.closed(link)
        self.all_room.open -= 1
        if self.sharing is not None:
            self.sharing.closed(link)
        self._touch(site)
        if self._drained is not None:
            self._look_if_drained()

    def _forget_later(self, site: Site, now: float) -> None:
        """A site at which nothing is under way is forgotten as soon as its limits are not in debt."""
        allowance = site.allowance
        due = max((pace.due for pace in allowance.paces.values()), default=0.0)
        changes = [slowdown.next_change(now) for slowdown in allowance.slowdowns.values()]
        changes += [window.next_change(now) for window in allowance.windows.values()]
        changes += [site.parking.away.last_back(now)]
        due = max([due, *(change for change in changes if change is not None)])
        if due > now:
            self.agenda.at(due, self._touch, site)
        elif self.sites.get(site.key) is site:
            del self.sites[site.key]
            self.all_room.forget(site)
            if self.sharing is not None:
                self.sharing.forget(site)

    def _drain_site(self, site: Site) -> None:
        for lane in site.lanes.values():
            waiting = list(lane.waiting)
            lane.waiting.clear()
            for mail in waiting:
                mail.lane = None
                self.way.given_back(mail)
            idle, lane.idle[:] = list(lane.idle), []
            for link in idle:
                self.all_room.works(link)
                link.client.quit()
        for link in list(site.links):
            if link.preparing is not None:
                self._give_unprepared_back(link)
            if link.ready is None:
                opened_for, link.mail = link.mail, None
                if opened_for is not None:
                    opened_for.link = None
                    self.way.given_back(opened_for)
                link.client.abort()

    def _abort_all(self) -> None:
        for site in list(self.sites.values()):
            for link in list(site.links):
                link.client.abort()

    def _look_if_drained(self) -> None:
        if self.all_room.open == 0 and self._drained is not None and not self._drained.called:
            self.agenda.clear()
            self._drained.callback(None)

    def __repr__(self) -> str:
        waiting = sum(site.waiting() for site in self.sites.values())
        used = f"{len(self.sites)} sites, {waiting} mails wait, {self.all_room.open} connections"
        return f"<Scheduler: {used}, {self.hosts!r}>"
