"""A site: all domains whose mail goes to the same hosts; its waiting mails, its connections, and what to do next.

Pure: ``next_moves`` says what is to be done, ``scheduler.py`` does it and tells the site what came of it.

Mails wait in *lanes*: those of a lane may share a connection, for they leave from the same local addresses, with the
same demands on encryption and the same account. Limits hold for the site, whatever the lane.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from mailerq.attempt import utc
from mailerq.budget import CONNECT_RATES, MESSAGE_RATES, Budget, Paces
from mailerq.lane import Lane, LaneKey, Link
from mailerq.limits import Rule, cascade
from mailerq.mail import Mail
from mailerq.moves import Close, Expire, Give, Move, Open, Park, Stuck, WakeAt
from mailerq.route import Host, Route
from mailerq.throttle import Pace

PATIENCE = 0.1  # seconds the first in a lane waits before one more connection is opened for its sake
MESSAGES_A_CONNECTION = 10  # so many mails wait for each connection before one more is opened at once
GRACE = 2.0  # seconds for which more than ``max-queue`` may wait: a fast site is through with them by then
STALE = 5.0  # seconds for which a speed is believed
LONGEST_PARKING = 600.0  # seconds; nobody knows more than ten minutes ahead how fast a site will be
ASKING_AGAIN = 0.01  # seconds between those that were promised no turn, and come back to ask for one


class World(Protocol):
    """What lies outside of a site: the other sites, the remote hosts, the dice."""

    hold: float

    def room(self) -> int:
        """How many more connections may be opened."""

    def offline_until(self, address: str) -> float:
        """Until when no new connection may be opened to a remote IP; 0 if it may."""

    def order(self, route: Route) -> Sequence[Host]:
        """The hosts of a route in the order of this try."""


class _Round:
    """One look at a site: what was found so far."""

    __slots__ = ("moves", "now", "opened", "wakes", "world")

    def __init__(self, now: float, world: World) -> None:
        self.now = now
        self.world = world
        self.moves: list[Move] = []
        self.wakes: list[float] = []
        self.opened: list[Open] = []


class _Obstacles:
    """What keeps a connection from being opened: until when a pace, until when offline hosts, whether an event is
    waited for."""

    __slots__ = ("back", "event", "late")

    def __init__(self) -> None:
        self.back = self.late = float("inf")
        self.event = False


class Site:
    """``parked_to`` is the time up to which turns have been promised to parked mails."""

    def __init__(self, route: Route, rules: Collection[Rule], pools: Mapping[str, Collection[str]]) -> None:
        self.key = route.key
        self.route = route
        self.domains: set[str] = set()
        self.lanes: dict[LaneKey, Lane] = {}
        self.links: set[Link] = set()
        self.paces: Paces = {}
        self.wake: float | None = None
        self.parked_to = 0.0
        self._ask_again = 0.0  # when the last of those comes back that were promised no turn
        self.waits_for_room = False
        self._speed_since = 0.0
        self._sent = 0
        self._speed = 0.0
        self._over_since: float | None = None
        self._rules = rules
        self._pools = pools
        self._budgets: dict[str | None, Budget] = {}
        self._hungry: Lane | None = None  # has no connection, and there may be no more: another lane must let one go

    # -- what the scheduler tells it ---------------------------------------------------------------------------------

    def lane(self, key: LaneKey) -> Lane:
        """The lane of that key."""
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(self, key)
        return lane

    def know_domain(self, domain: str) -> None:
        """A domain is found to be of this site; limits that name it hold from now on."""
        if domain not in self.domains:
            self.domains.add(domain)
            self._budgets.clear()

    def reload(self, rules: Collection[Rule], pools: Mapping[str, Collection[str]]) -> None:
        """Other limits hold from now on; what was used up of those that stay is not forgotten."""
        self._rules, self._pools = rules, pools
        self._budgets.clear()
        for (key, scope, remote), pace in list(self.paces.items()):
            value = self.budget(scope).limits.get(key)
            if key == "messages_per_minute" and (value is None or 60.0 / value.number != pace.interval):
                self.parked_to = self._ask_again = 0.0  # the turns that were promised are those of another pace
            if value is None:
                del self.paces[key, scope, remote]
            else:
                pace.change(value.number)

    def budget(self, source: str | None) -> Budget:
        """What mail from ``source`` may do here."""
        found = self._budgets.get(source)
        if found is None:
            names = {host.mx for host in self.route.hosts if host.mx}
            found = Budget(self.paces, source, cascade(self._rules, self.domains, names, source, self._pools))
            self._budgets[source] = found
        return found

    def sent_one(self, now: float) -> None:
        """A mail's talk is over, well or badly: the site's speed is measured."""
        self._sent += 1
        self._speed_since = self._speed_since or now
        passed = now - self._speed_since
        if passed >= 1.0:
            self._speed = self._sent / passed
            self._sent = 0
            self._speed_since = now

    def speed_at(self, now: float) -> float:
        """Mails a second, lately; 0 where nothing was sent for a while."""
        passed = now - self._speed_since
        return self._speed if self._speed and passed < STALE else self._sent / max(passed, 1.0)

    def next_mail(self, link: Link, now: float, expired: list[Mail]) -> Mail | None:
        """The mail that a connection may carry now, its use of the limits booked; None: it has to wait, or is done.

        Mails whose time has run out are taken from the lane and appended to ``expired``.
        """
        waiting = link.lane.waiting
        if not waiting:
            return None
        if self._is_used_up(link):
            return None
        budget = self.budget(link.source)
        address = link.host.address
        while waiting:
            if budget.paced:
                at, why = budget.next_time(MESSAGE_RATES, address, now)
                if at > now:
                    waiting[0].blocked_by = why
                    return None
            mail = waiting.popleft()
            if mail.deadline < now:
                expired.append(mail)
                continue
            if budget.paced:
                budget.take_message(address, len(bytes(mail.job.known.mime)), now)
            return mail
        return None

    def waiting(self) -> int:
        """How many mails wait in memory."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    # -- what it answers ---------------------------------------------------------------------------------------------

    def next_moves(self, now: float, world: World) -> list[Move]:
        """What is to be done now, and when to ask again."""
        around = _Round(now, world)
        self.waits_for_room = False
        if self._hungry is not None and not self._hungry.waiting:
            self._hungry = None
        for key, lane in list(self.lanes.items()):
            before = len(around.moves)
            self._serve(lane, around)
            if len(around.moves) > before:  # the others are first next time
                self.lanes[key] = self.lanes.pop(key)
            self._look_at_idle(lane, around)
        self._park_surplus(around)
        if around.wakes:
            around.moves.append(WakeAt(min(around.wakes)))
        return around.moves

    def _serve(self, lane: Lane, around: _Round) -> None:
        """Idle connections first; then open as many as are due."""
        while lane.waiting:
            if lane.idle and self._give(lane, around):
                continue
            if lane.waiting[0].deadline < around.now:
                around.moves.append(Expire(lane.waiting.popleft()))
            elif not self._open(lane, around):
                return

    def _give(self, lane: Lane, around: _Round) -> bool:
        """Something for an idle connection, the one that was used last if it may. False: they have to wait."""
        soonest = float("inf")
        for link in reversed(lane.idle):
            if self._is_used_up(link):
                lane.idle.remove(link)
                around.moves.append(Close(link))
                self._hungry = None
                return True
            budget = self.budget(link.source)
            at = budget.next_time(MESSAGE_RATES, link.host.address, around.now)[0] if budget.paced else around.now
            if at > around.now:
                soonest = min(soonest, at)
                continue
            expired: list[Mail] = []
            mail = self.next_mail(link, around.now, expired)
            around.moves.extend(Expire(late) for late in expired)
            if mail is not None:
                lane.idle.remove(link)
                around.moves.append(Give(link, mail))
            return True
        around.wakes.append(soonest)
        return False

    def _is_used_up(self, link: Link) -> bool:
        """Whether a connection has carried what it may; where another lane has none, its turn is shorter."""
        if self._hungry is not None and self._hungry is not link.lane and link.sent >= MESSAGES_A_CONNECTION:
            return True
        return link.sent >= self.budget(link.source).number("connection_max_messages")

    def _open(self, lane: Lane, around: _Round) -> bool:
        """A connection for the first that waits. False: not now; where time alone can help, it is noted when."""
        mail = lane.waiting[0]
        sources = lane.key.sources or (None,)
        found = _Obstacles()
        for step in range(len(sources)):
            source = sources[(lane.turn + step) % len(sources)]
            host = self._choose_host(lane, mail, source, around, found)
            if host is not None:
                lane.turn += step + 1
                self.budget(source).take_connect(host.address, around.now)
                opened = Open(lane, host, source, lane.waiting.popleft())
                around.opened.append(opened)
                around.moves.append(opened)
                if self._hungry is lane:
                    self._hungry = None
                return True
        return self._cannot_open(lane, mail, found, around)

    def _choose_host(
        self, lane: Lane, mail: Mail, source: str | None, around: _Round, found: _Obstacles
    ) -> Host | None:
        """The first host in the order of this try that is online and not full; else what is waited for is noted."""
        budget = self.budget(source)
        at = self._may_open_at(lane, mail, source, budget, around)
        if at is None or at > around.now:
            found.event |= at is None
            found.late = min(found.late, at or float("inf"))
            return None
        most = budget.number("ip_max_connections")
        for host in around.world.order(self.route):
            address = host.address
            if address in mail.tried or not same_family(source, address):
                continue
            until = around.world.offline_until(address)
            at, why = budget.next_time(CONNECT_RATES + MESSAGE_RATES, address, around.now)
            if until > around.now:
                found.back = min(found.back, until)
            elif self._connections("ip_max_connections", source, around, address) >= most:
                found.event = True
                mail.blocked_by = "ip-max-connections"
            elif at > around.now:
                found.late = min(found.late, at)
                mail.blocked_by = why
            else:
                return host
        return None

    def _cannot_open(self, lane: Lane, mail: Mail, found: _Obstacles, around: _Round) -> bool:
        """Whether the next in the lane may be looked at, for this one leaves it. Where all hosts are offline nobody is
        counted an attempt, unless one was tried before; they wait until the first is back."""
        wake = min(found.late, found.back)
        if found.event or found.late < float("inf"):
            if wake < float("inf"):
                around.wakes.append(wake)
            return False
        if found.back == float("inf") or mail.tried:
            around.moves.append(Stuck(lane.waiting.popleft()))
            return True
        if wake - around.now > around.world.hold and not any(link.lane is lane for link in self.links):
            around.moves.append(Park(lane.waiting.popleft(), wake, "offline hosts"))
            return True
        mail.blocked_by = "offline hosts"
        around.wakes.append(wake)
        return False

    def _may_open_at(self, lane: Lane, mail: Mail, source: str | None, budget: Budget, around: _Round) -> float | None:
        """When one more connection from ``source`` may be opened; None: only an event can tell."""
        now, opened = around.now, len(around.opened)
        if around.world.room() <= opened:
            self.waits_for_room = True
            mail.blocked_by = "smtp.max-connections"
            return None
        if self._connections("max_connections", source, around) >= budget.number("max_connections"):
            mail.blocked_by = "max-connections"
            if not self._connections_of(lane, around):
                self._hungry = lane
            return None
        if self._connections("max_starting", source, around, starting=True) >= budget.number("max_starting"):
            mail.blocked_by = "max-starting"
            return None
        latest, why = budget.next_time(MESSAGE_RATES + CONNECT_RATES, None, now)
        last = now if opened else max((link.opened for link in self.links if link.ready is None), default=0.0)
        for _, pace in budget.paces(("messages_per_minute",), None):
            if last + pace.interval > latest:  # each of those that start will want its turn
                latest, why = last + pace.interval, "messages-per-minute"
        if why:
            mail.blocked_by = why
        mine = self._connections_of(lane, around)
        enough = mine * budget.number("connection_min_messages", MESSAGES_A_CONNECTION)
        if mine and len(lane.waiting) <= enough and not mail.tried:
            latest = max(latest, mail.routed + PATIENCE)
        return latest

    def _connections_of(self, lane: Lane, around: _Round) -> int:
        return sum(link.lane is lane for link in self.links) + sum(move.lane is lane for move in around.opened)

    def _connections(
        self, key: str, source: str | None, around: _Round, address: str | None = None, starting: bool = False
    ) -> int:
        """The connections that count for the limit ``key``, with those that are opened now."""
        value = self.budget(source).limits.get(key)
        if value is None:
            return 0
        if address is None and not starting and not value.per_source:
            return len(self.links) + len(around.opened)
        there: list[Link | Open] = [link for link in self.links if not starting or link.ready is None]
        return sum(
            (address is None or one.host.address == address) and (not value.per_source or one.source == source)
            for one in (*there, *around.opened)
        )

    def _look_at_idle(self, lane: Lane, around: _Round) -> None:
        """Close what has been idle for its time, or would be before its next mail."""
        for link in list(lane.idle):
            budget = self.budget(link.source)
            end = link.idle_since + budget.number("connection_max_idle", 1.0)
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

    def _park_surplus(self, around: _Round) -> None:
        """What is more than ``max-queue``, or cannot have its turn soon, is kept by the broker, not by us."""
        waiting = self.waiting()
        if not waiting:
            return
        budget = self.budget(None)
        keep = int(min(budget.number("max_queue", 1000), 1e9))
        slowest = max(budget.paces(("messages_per_minute",), None), key=lambda found: found[1].interval, default=None)
        if slowest is not None:
            keep = min(keep, int(around.world.hold / slowest[1].interval) + 2)
        if waiting <= keep:
            self._over_since = None
            return
        if slowest is None and self._will_be_gone_soon(waiting, around):
            return
        for left in range(waiting, keep, -1):
            lane = max(self.lanes.values(), key=lambda lane: len(lane.waiting))
            until, why = self._turn(left, keep, slowest[1] if slowest else None, around)
            around.moves.append(Park(lane.waiting.pop(), until, why))

    def _will_be_gone_soon(self, waiting: int, around: _Round) -> bool:
        """Whether what is too much now may stay: the site is fast, or has not had the time to show that it is not."""
        if self._over_since is None:
            self._over_since = around.now
            if around.now - self._speed_since > STALE:  # it had little to do, which says nothing of how fast it is
                self._speed_since, self._sent, self._speed = around.now, 0, 0.0
        if around.now - self._over_since < GRACE:
            around.wakes.append(self._over_since + GRACE)
            return True
        speed = self.speed_at(around.now)
        return speed > 0 and waiting / speed <= around.world.hold

    def _turn(self, waiting: int, keep: int, pace: Pace | None, around: _Round) -> tuple[float, str]:
        """When a mail for which there is no place is expected to have its turn, and the limit that made it wait."""
        now, hold = around.now, around.world.hold
        if pace is None:
            speed = self.speed_at(now)
            expected = waiting / speed if speed else 30.0
            return now + min(LONGEST_PARKING, max(2 * hold, expected)), "max-queue"
        turn = max(self.parked_to, pace.next_time(now) + keep * pace.interval) + pace.interval
        if turn <= now + LONGEST_PARKING:
            self.parked_to = turn
            return max(now + hold, turn - hold / 2), "messages-per-minute"
        # All turns of the next minutes are promised, and what comes later may be faster or slower: it asks again then.
        self._ask_again = max(self._ask_again, now + LONGEST_PARKING / 2) + min(pace.interval, ASKING_AGAIN)
        return self._ask_again, "messages-per-minute"

    def __repr__(self) -> str:
        first = next((lane.waiting[0] for lane in self.lanes.values() if lane.waiting), None)
        why = f", the first for {first.blocked_by}" if first is not None and first.blocked_by else ""
        when = "" if self.wake is None else f", looked at again at {utc(self.wake)}"
        idle = sum(len(lane.idle) for lane in self.lanes.values())
        starting = sum(link.ready is None for link in self.links)
        return (
            f"<Site {' '.join(self.key)} ({len(self.domains)} domains): {self.waiting()} wait{why}{when}; "
            f"{len(self.links)} connections, {starting} starting, {idle} idle; {self._speed:.1f}/s>"
        )


def same_family(source: str | None, address: str) -> bool:
    """Whether a connection from ``source`` (None: any) to ``address`` can be."""
    return source is None or (":" in source) == (":" in address)
