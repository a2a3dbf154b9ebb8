"""A site: all domains whose mail goes to the same hosts; its waiting mails, its connections, and what to do next.

Pure: ``next_moves`` says what is to be done, ``scheduler.py`` does it and tells the site what came of it.

Mails wait in *lanes*: those of a lane may share a connection, for they leave from the same local addresses, with the
same demands on encryption and the same account. Limits hold for the site, whatever the lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mailerq.allowance import NEVER, Allowance
from mailerq.attempt import utc
from mailerq.budget import MESSAGE_RATES, Budget
from mailerq.lane import Lane, LaneKey, Link
from mailerq.mail import Mail
from mailerq.moves import Close, Expire, Give, Move, Open, Park, Stuck, WakeAt
from mailerq.parking import LONGEST, Parking, without_pace
from mailerq.paths import MESSAGES_A_CONNECTION, Obstacles, Wish, find_host
from mailerq.pauses import Pause
from mailerq.route import Host, Route
from mailerq.speed import Speed
from mailerq.terms import Terms
from mailerq.throttle import Pace

SWEEP = 1.0  # seconds at least between two looks for mails whose time has run out


class World(Protocol):
    """What lies outside of a site: the other sites, the remote hosts, the dice."""

    hold: float

    def room(self) -> int:
        """How many more connections may be opened."""

    def offline_until(self, address: str, source: str | None) -> float:
        """Until when no new connection may be opened to a remote IP from a local one; 0 if it may."""

    def order(self, route: Route) -> Sequence[Host]:
        """The hosts of a route in the order of this try."""


class Round:
    """One look at a site: what was found so far."""

    __slots__ = ("moves", "now", "opened", "wakes", "world")

    def __init__(self, now: float, world: World) -> None:
        self.now = now
        self.world = world
        self.moves: list[Move] = []
        self.wakes: list[float] = []
        self.opened: list[Open] = []


class Site:
    """``wake`` is when it is looked at again."""

    def __init__(self, route: Route, terms: Terms) -> None:
        self.key = route.key
        self.allowance = Allowance(route, terms)
        self.lanes: dict[LaneKey, Lane] = {}
        self.links: set[Link] = set()
        self.census = terms.census(route.key)
        self.speed = Speed()
        self.parking = terms.parking(route.key)
        self.tag_parking: dict[str, Parking] = {}
        self.wake: float | None = None
        self.waits_for_room = False
        self.set_up = 0.0  # seconds that it took to set up the last connection
        self._expires = NEVER  # no mail that waits expires before
        self._enough = 0  # so many may wait before one more makes a difference; see will_wait
        self._opened_at = 0.0
        self._hungry: Lane | None = None  # has no connection, and there may be no more: another lane must let one go

    # -- what the scheduler tells it ---------------------------------------------------------------------------------

    def lane(self, key: LaneKey) -> Lane:
        """The lane of that key."""
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(self, key, self.allowance.terms.first_turn(key.sources))
        return lane

    def know_domain(self, domain: str, now: float = 0.0) -> None:
        """A domain is found to be of this site."""
        if self.allowance.know_domain(domain, now) and self.allowance.terms.have_tags:
            self._limit_waiting()

    def reload(self, terms: Terms, now: float = 0.0) -> None:
        """Other limits hold from now on; what was used up is not forgotten."""
        had_tags = self.allowance.terms.have_tags
        self.allowance.renew(terms, now)
        if had_tags or terms.have_tags:
            self._limit_waiting()

    def _limit_waiting(self) -> None:
        """Those that wait have other limited tags, perhaps."""
        for lane in self.lanes.values():
            for mail in lane.waiting.remove_if(lambda mail: True):
                mail.limited = self.allowance.limited(mail)
                lane.waiting.append(mail)

    def will_wait(self, mail: Mail) -> bool:
        """A mail takes a place in one of the lanes, or comes back to it: its time may run out there. Whether that asks
        for a look: not where it stands behind others for which nothing could be done at the last look, and there are
        not so many that another connection is due, or some cannot stay. Then what happens, or the next wake, is soon
        enough, and looks do not grow with what comes."""
        before, self._expires = self._expires, min(self._expires, mail.deadline)
        waiting = mail.lane.waiting
        return (
            self.wake is None
            or len(waiting) > self._enough
            or self._expires < before
            or waiting.first(None) is mail
            or bool(mail.lane.idle)
        )

    def _calm(self) -> int:
        """How many may wait before one more makes a difference, all else being equal: where limits may let some go and
        not others, any does. More for each connection than it would soon be through with ask for another."""
        allowance = self.allowance
        if len(self.lanes) > 1 or allowance.terms.have_tags or allowance.pauses() is not None:
            return 0
        for lane in self.lanes.values():
            (source, *others), waiting = lane.sources, len(lane.waiting)
            budget = self.budget(source)
            if waiting and not others and not lane.idle and not budget.paced:
                enough = lane.open_from.get(source, 0) * budget.number("connection_min_messages", MESSAGES_A_CONNECTION)
                return int(min(enough, self.budget(None).number("max_queue", 1000)))
        return 0

    def opened(self, lane: Lane, source: str | None, address: str, now: float) -> None:
        """A connection is being opened."""
        self.census.opened(source, address)
        lane.open_from[source] = lane.open_from.get(source, 0) + 1
        self._opened_at = now

    def ready(self, link: Link, now: float) -> None:
        """A connection is set up."""
        link.ready = now
        self.census.ready(link.source)
        self.set_up = now - link.opened

    def closed(self, link: Link) -> None:
        """A connection is gone."""
        self.links.discard(link)
        self.census.closed(link.source, link.host.address, link.ready is not None)
        link.lane.open_from[link.source] -= 1

    @property
    def domains(self) -> set[str]:
        """The domains that are known to be of this site."""
        return self.allowance.domains

    @property
    def route(self) -> Route:
        """Where its mail goes."""
        return self.allowance.route

    def budget(self, source: str | None) -> Budget:
        """What mail from ``source`` may do here."""
        return self.allowance.budget(source)

    # -- who is next -------------------------------------------------------------------------------------------------

    def next_mail(self, link: Link, now: float, aside: list[Move]) -> Mail | None:
        """The mail that a connection may carry now, its use of the limits booked; None: it has to wait, or is done.

        Mails that may not go at all (their time has run out, they are paused) are taken from the lane, and what becomes
        of them is appended to ``aside``.
        """
        waiting, source = link.lane.waiting, link.source
        if not waiting or self._is_used_up(link):
            return None
        if now >= self.allowance.changes_at:
            self.allowance.refresh(now)
        budget, ready = self.budget(source), None
        if self.allowance.terms.have_tags:
            ready = self._ready(source, now)
        paused = self.allowance.pauses() is not None
        while waiting:
            if budget.paced:
                at, why = budget.next_time(MESSAGE_RATES, link.host.address, now)
                if at > now:
                    self._note(link.lane, why)
                    return None
            mail = waiting.first(ready)
            if mail is None or (paused and self.allowance.pause_from(source, mail, now) is not None):
                return None
            waiting.take_this(mail)
            leaves = self._leaves(mail, now)
            if leaves is not None:
                aside.append(leaves)
                continue
            if budget.paced or mail.limited:
                self._book(budget, source, link.host.address, mail, now)
            return mail
        return None

    def _book(self, budget: Budget, source: str | None, address: str, mail: Mail, now: float) -> None:
        if budget.paced:
            budget.take_message(address, mail.size, now)
        for tag in mail.limited:
            self.allowance.tag_budget(source, tag).take_message(None, mail.size, now)

    def _note(self, lane: Lane, why: str) -> None:
        first = lane.waiting.first(None)
        if first is not None:
            first.blocked_by = why

    def _ready(self, source: str | None, now: float) -> Callable[[tuple[str, ...]], bool]:
        """Whether mails with limited tags may go now."""
        return lambda tags: self.allowance.tags_due(source, tags, now) <= now

    def _leaves(self, mail: Mail, now: float) -> Move | None:
        """What becomes of a mail that may not go at all; None: it may."""
        if mail.deadline < now:
            return Expire(mail)
        pauses = self.allowance.pauses()
        if pauses is None:
            return None
        pause = pauses.for_mail(mail.job.domain, mail.tags, now)
        return None if pause is None else _until_over(mail, pause, now + self.allowance.terms.away.patience(now))

    @property
    def has_waiting(self) -> bool:
        """Whether any mail waits in memory."""
        for lane in self.lanes.values():  # noqa: SIM110 (any() with a generator takes three times as long)
            if lane.waiting:
                return True
        return False

    def idle_end(self, link: Link) -> float:
        """Until when a connection may have nothing to do."""
        return link.idle_since + self.budget(link.source).number("connection_max_idle", 1.0)

    def waiting(self) -> int:
        """How many mails wait in memory."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    # -- what it answers ---------------------------------------------------------------------------------------------

    def admit(self, mail: Mail, now: float, hold: float) -> Move | None:
        """What becomes of a mail that has come and may not wait here: it is paused, or too many of its tag wait. None:
        it may."""
        leaves = self._leaves(mail, now)
        if leaves is None and mail.turn:
            leaves = self._before_its_turn(mail, now, hold)
        if leaves is None and mail.limited:
            leaves = self._tag_surplus(mail, now, hold)
        return leaves

    def _before_its_turn(self, mail: Mail, now: float, hold: float) -> Move | None:
        """One that has come back to ask: what it was promised may still hold."""
        turn, patience = mail.turn, self.allowance.terms.away.patience(now)
        again = self.parking.still(turn, hold, now, patience)
        return None if again is None else Park(mail, again, "messages-per-minute", turn)

    def next_moves(self, now: float, world: World) -> list[Move]:
        """What is to be done now, and when to ask again."""
        around = Round(now, world)
        self.waits_for_room = False
        self.allowance.refresh(now)
        if self._hungry is not None and not self._hungry.waiting:
            self._hungry = None
        if now > self._expires or (self.allowance.pauses_changed and self.allowance.pauses()):
            self._sweep(around)
        for key, lane in self._in_turn():
            before = len(around.moves)
            self._serve(lane, around)
            if len(around.moves) > before:  # the others are first next time
                self.lanes[key] = self.lanes.pop(key)
            self._look_at_idle(lane, around)
        self._park_surplus(around)
        if self.has_waiting:
            around.wakes += (at for at in (self.allowance.changes_at, self._expires + 0.001) if at < NEVER)
        else:
            self._expires = NEVER
        if around.wakes:
            around.moves.append(WakeAt(min(around.wakes)))
        self._enough = self._calm()
        return around.moves

    def _in_turn(self) -> list[tuple[LaneKey, Lane]]:
        """The lanes, the one with the most urgent mail first, else the one whose last turn is longest ago."""
        lanes = list(self.lanes.items())
        if len(lanes) > 1:
            lanes.sort(key=lambda item: -item[1].waiting.priority)
        return lanes

    def _serve(self, lane: Lane, around: Round) -> None:
        """As many mails as may go now."""
        while lane.waiting:
            mail = self._first(lane, around)
            if mail is None:
                return
            leaves = self._leaves(mail, around.now)
            if leaves is not None:
                lane.waiting.take_this(mail)
                around.moves.append(leaves)
            elif not self._serve_first(lane, mail, around):
                return

    def _first(self, lane: Lane, around: Round) -> Mail | None:
        """The mail whose turn it is; where all wait for the limits of their tags, it is noted when that is over."""
        now = around.now
        if not self.allowance.terms.have_tags:
            return lane.waiting.first(None)
        sources = set(lane.sources)
        mail = lane.waiting.first(
            lambda tags: any(self.allowance.tags_due(source, tags, now) <= now for source in sources)
        )
        if mail is None:
            dues = [
                self.allowance.tags_due(source, tags, now)
                for tags in lane.waiting.limited_waiting()
                for source in sources
            ]
            around.wakes.append(min(dues))
            first = lane.waiting.first(None)
            if first is not None:
                first.blocked_by = f"messages-per-minute (tag {', '.join(first.limited)})"
        return mail

    def _serve_first(self, lane: Lane, mail: Mail, around: Round) -> bool:
        """A connection for the mail whose turn it is, from the local address whose turn it is, or another that may. An
        idle one first. False: not now; where time alone can help, it is noted when."""
        found = Obstacles()
        many = len(lane.sources)
        asked: set[str | None] = set()
        for step in range(many):
            source = lane.sources[(lane.turn + step) % many]
            if source in asked:
                continue
            asked.add(source)
            if self._give(lane, mail, source, around, found) or (
                not found.soon and self._open(lane, mail, source, around, found)  # or weights would not hold
            ):
                lane.turn = (lane.turn + step + 1) % many
                return True
        return self._cannot_go(lane, mail, found, around)

    def _give(self, lane: Lane, mail: Mail, source: str | None, around: Round, found: Obstacles) -> bool:
        """Something for an idle connection from ``source``, the one that was used last if it may. False: they have to
        wait."""
        for link in reversed(lane.idle):
            if link.source != source:
                continue
            if self._is_used_up(link):
                lane.idle.remove(link)
                around.moves.append(Close(link))
                self._hungry = None
                return True
            budget = self.budget(source)
            if budget.paced:
                at, why = budget.next_time(MESSAGE_RATES, link.host.address, around.now)
                if at > around.now:
                    found.late = min(found.late, at)
                    mail.blocked_by = why
                    continue
            aside: list[Move] = []
            next_one = self.next_mail(link, around.now, aside)
            around.moves.extend(aside)
            if next_one is not None:
                lane.idle.remove(link)
                around.moves.append(Give(link, next_one))
            return next_one is not None or bool(aside)
        return False

    def _is_used_up(self, link: Link) -> bool:
        """Whether a connection has carried what it may; where another lane has none, its turn is shorter."""
        if self._hungry is not None and self._hungry is not link.lane and link.sent >= MESSAGES_A_CONNECTION:
            return True
        return link.sent >= self.budget(link.source).messages

    def _open(self, lane: Lane, mail: Mail, source: str | None, around: Round, found: Obstacles) -> bool:
        host = find_host(self, Wish(lane, mail, source), around, found)
        if host is None:
            return False
        lane.waiting.take_this(mail)
        self.budget(source).take_connect(host.address, around.now)
        self.opened(lane, source, host.address, around.now)
        opened = Open(lane, host, source, mail)
        around.opened.append(opened)
        around.moves.append(opened)
        if self._hungry is lane:
            self._hungry = None
        return True

    def _cannot_go(self, lane: Lane, mail: Mail, found: Obstacles, around: Round) -> bool:
        """Whether the next in the lane may be looked at, for this one leaves it. Where all hosts are offline nobody is
        counted an attempt, unless one was tried before; they wait until the first is back."""
        wake = min(found.late, found.back, found.paused)
        if found.event or found.late < NEVER:
            if wake < NEVER:
                around.wakes.append(wake)
            return False
        leaves: Move | None = None
        if mail.tried or (found.back == NEVER and not found.pausing):
            leaves = Stuck(mail)
        elif found.back == NEVER:
            leaves = Park(mail, min(wake, around.now + LONGEST), found.pausing)
        elif wake - around.now > around.world.hold and not any(lane.open_from.values()):
            leaves = Park(mail, wake, "offline hosts")
        if leaves is None:
            mail.blocked_by = "offline hosts"
            around.wakes.append(wake)
            return False
        lane.waiting.take_this(mail)
        around.moves.append(leaves)
        return True

    def last_start(self) -> float:
        """When the last of those connections was begun that are not set up yet; 0 where there are none."""
        return self._opened_at if self.census.starting_all else 0.0

    def is_full_for(self, lane: Lane) -> None:
        """A lane may have no more connections. If it has none at all, another lane must let one go."""
        if not any(lane.open_from.values()):
            self._hungry = lane

    def _look_at_idle(self, lane: Lane, around: Round) -> None:
        """Close what has been idle for its time, or would be before its next mail."""
        for link in list(lane.idle):
            budget = self.budget(link.source)
            end = self.idle_end(link)
            due = around.now
            if lane.waiting:
                due = budget.next_time(MESSAGE_RATES, link.host.address, around.now)[0]
            wanted = self._hungry is not None and self._hungry is not lane
            if end <= around.now or due > end or wanted:
                self._hungry = None if wanted else self._hungry
                lane.idle.remove(link)
                around.moves.append(Close(link))
            else:
                around.wakes.append(end)

    # -- what cannot have its turn soon ------------------------------------------------------------------------------

    def _sweep(self, around: Round) -> None:
        """Time has run out for some, or a pause has begun or ended: those that may not go leave, wherever they are."""
        expires = NEVER
        for lane in self.lanes.values():
            left: dict[int, Move] = {}

            def leaves(mail: Mail, left: dict[int, Move] = left) -> bool:
                move = self._leaves(mail, around.now)
                if move is not None:
                    left[id(mail)] = move
                return move is not None

            around.moves.extend(left[id(mail)] for mail in lane.waiting.remove_if(leaves))
            expires = min(expires, min((mail.deadline for mail in lane.waiting), default=NEVER))
        self._expires = max(expires, around.now + SWEEP)

    def _park_surplus(self, around: Round) -> None:
        """What is more than ``max-queue``, or cannot have its turn soon, is kept by the broker, not by us."""
        waiting = self.waiting()
        commons = self.allowance.terms.commons
        if not waiting:
            if commons is not None and not self.parking.away.count(around.now):
                commons.crowd(self.key, False)
            return
        now, hold, parking = around.now, around.world.hold, self.parking
        interval, first, why = self._pace_of_all(now)
        keep = parking.keep(self.budget(None).number("max_queue", 1000), interval, hold)
        crowd = 1
        if interval and commons is not None:  # others send at this pace, too
            crowd = commons.crowd(self.key, waiting > keep or parking.away.count(now) > 0)
        parking.is_paced(interval, crowd)
        if (waiting <= keep or not interval) and parking.may_stay(waiting, keep, self.speed, hold, now):
            if parking.grace_ends is not None and parking.grace_ends > now:
                around.wakes.append(parking.grace_ends)
            return
        surplus = [
            max(self.lanes.values(), key=lambda lane: len(lane.waiting)).waiting.take_last()
            for _ in range(waiting - keep)
        ]
        patience = self.allowance.terms.away.patience(now)
        for before, mail in enumerate(reversed(surplus), keep + 1):  # who came first comes back first
            if interval:
                flow = mail.priority, mail.flow
                until, turn = parking.turn(first, keep, hold, now, patience, flow=flow)
                around.moves.append(Park(mail, until, why, turn))
            else:
                around.moves.append(Park(mail, without_pace(before, self.speed.at(now), hold, now), "max-queue"))

    def _pace_of_all(self, now: float) -> tuple[float, float, str]:
        """The interval between messages of the site, all local addresses together, when the next may go, and the limit
        that says so; 0, now, '' where one of them has none."""
        found: dict[int, tuple[str, Pace]] = {}
        for source in {source for lane in self.lanes.values() if lane.waiting for source in lane.sources}:
            paced = self.budget(source).paces(MESSAGE_RATES[:1], None)
            if not paced:
                return 0.0, now, ""
            slowest = max(paced, key=lambda one: one[1].interval)
            found[id(slowest[1])] = slowest
        if not found:
            return 0.0, now, ""
        paces = [pace for _, pace in found.values()]
        interval = 1.0 / sum(1.0 / pace.interval for pace in paces)
        return interval, min(pace.next_time(now) for pace in paces), next(iter(found.values()))[0]

    def _tag_surplus(self, mail: Mail, now: float, hold: float) -> Move | None:
        """Mails of a tag that has a pace of its own wait here only if they have their turn soon."""
        source = mail.lane.sources[0]
        for tag in mail.limited:
            for name, pace in self.allowance.tag_budget(source, tag).paces(MESSAGE_RATES[:1], None):
                parking = self.tag_parking.get(tag)
                if parking is None:
                    parking = self.tag_parking[tag] = self.allowance.terms.parking(self.key, tag)
                parking.is_paced(pace.interval)
                keep = parking.keep(1000, pace.interval, hold)
                here = sum(lane.waiting.count_limited(tag) for lane in self.lanes.values())
                if here >= keep:
                    patience = self.allowance.terms.away.patience(now)
                    until, _ = parking.turn(pace.next_time(now), keep, hold, now, LONGEST + patience)
                    return Park(mail, until, name)
        return None

    def __repr__(self) -> str:
        first = next((lane.waiting.first(None) for lane in self.lanes.values() if lane.waiting), None)
        why = f", the first for {first.blocked_by}" if first is not None and first.blocked_by else ""
        when = "" if self.wake is None else f", looked at again at {utc(self.wake)}"
        idle = sum(len(lane.idle) for lane in self.lanes.values())
        return (
            f"<Site {' '.join(self.key)} ({len(self.domains)} domains): {self.waiting()} wait{why}{when}; "
            f"{self.census.open} connections, {self.census.starting_all} starting, {idle} idle>"
        )


def _until_over(mail: Mail, pause: Pause, again: float) -> Park:
    """Away until the pause is over, or until it is time to see whether somebody has ended it."""
    return Park(mail, min(pause.end, again), pause.told, mail.turn)
