"""What a site answers: moves, as values; and a simulation in which they are made."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, Type
from mailerq.job import Job, read
from mailerq.lane import LaneKey, Link
from mailerq.limit_rules import LimitRule
from mailerq.mail import Mail
from mailerq.moves import Close, Expire, Give, Open, Park, Stuck, WakeAt
from mailerq.route import Host, Route
from mailerq.site import Site
from mailerq.terms import Terms

NOW = 1_700_000_000.0
ANY = LaneKey()


def Rule(values: dict[str, float], **scope: str) -> LimitRule:
    """An entry of ``limits``."""
    return LimitRule(1, values={"initial_connections": 1000, **values}, **scope)


class World:
    """The rest of the world."""

    def __init__(self) -> None:
        self.hold = 5.0
        self.most = 1000
        self.used = 0
        self.offline: dict[str, float] = {}

    def room(self) -> int:
        """What is left of all connections."""
        return self.most - self.used

    def offline_until(self, address: str, source: str | None) -> float:
        """0 where it is online."""
        return self.offline.get(address, 0.0)

    def order(self, route: Route) -> tuple[Host, ...]:
        """As they stand."""
        return route.hosts


def mail(number: int = 0, now: float = NOW, size: int = 1, **properties: Any) -> Mail:
    """A mail that waits."""
    job = read(json.dumps({"recipient": "a@b.c", "mime": "x" * (size - 2), **properties}).encode())
    assert isinstance(job, Job)
    found = Mail(job, None, b"", str(number), now)
    found.flow = job.flow("tag")
    found.deadline = now + 86400
    return found


class Place:
    """A site with its world; makes the moves as the scheduler does."""

    def __init__(self, *addresses: str, ip_rules: tuple[LimitRule, ...] = (), **limits: float) -> None:
        self.world = World()
        hosts = tuple(Host(address, 25, f"mx{n}", n) for n, address in enumerate(addresses or ("192.0.2.1",)))
        self.site = Site(Route(("mx",), hosts), Terms([Rule(limits), *ip_rules], {}))
        self.site.know_domain("b.c")
        self.now = NOW
        self.wake: float | None = None
        self.ended: list[tuple[str, Mail]] = []
        self.opened: list[Link] = []

    def add(self, count: int = 1, key: LaneKey = ANY, size: int = 1, **properties: Any) -> list[Mail]:
        """Mails that come."""
        mails = [mail(number, self.now, size, **properties) for number in range(count)]
        for one in mails:
            leaves = self.come(one, key)
            if leaves is not None:
                self.ended.append((type(leaves).__name__, one))
        return mails

    def come(self, one: Mail, key: LaneKey = ANY) -> Any:
        """A mail comes; the move by which it leaves at once, or None."""
        one.lane = lane = self.site.lane(key)
        one.limited = self.site.allowance.limited(one)
        leaves = self.site.admit(one, self.now, self.world.hold)
        if leaves is None:
            lane.waiting.append(one)
        return leaves

    def carry(self, seconds: float, step: float = 0.05) -> list[Mail]:
        """Let time pass, connections being quick; the mails that were carried."""
        before = len(self.ended)
        end = self.now + seconds
        while self.now < end:
            for move in self.look():
                if isinstance(move, Close):
                    self.gone(move.link)
            for link in self.links():
                if link.ready is None:
                    self.ready(link)
                elif link.mail is not None and link not in link.lane.idle:
                    self.finish(link)
            self.now = min(self.now + step, end)
        return [one for what, one in self.ended[before:] if what == "sent"]

    def look(self, seconds: float = 0.0) -> list[Any]:
        """Ask, make the moves, and return those that are no WakeAt."""
        self.now += seconds
        moves = self.site.next_moves(self.now, self.world)
        self.wake = None
        for move in moves:
            if isinstance(move, Open):
                self.opened.append(Link(move.lane, move.host, move.source, move.mail, self.now))
                self.site.links.add(self.opened[-1])
                self.world.used += 1
            elif isinstance(move, WakeAt):
                self.wake = move.time
            elif isinstance(move, Park | Expire | Stuck):
                self.ended.append((type(move).__name__, move.mail))
            elif isinstance(move, Give):
                move.link.mail = move.mail
        return [move for move in moves if not isinstance(move, WakeAt)]

    def links(self) -> list[Link]:
        """Its connections, the oldest first."""
        return [link for link in self.opened if link in self.site.links]

    def ready(self, link: Link) -> Mail | None:
        """A connection is set up; returns the mail that it carries now."""
        self.site.ready(link, self.now)
        assert link.mail is not None
        link.lane.waiting.put_back(link.mail)
        return self._next(link)

    def finish(self, link: Link) -> Mail | None:
        """The mail of a connection is done; returns its next one."""
        assert link.mail is not None
        self.ended.append(("sent", link.mail))
        link.sent += 1
        self.site.speed.sent_one(self.now)
        return self._next(link)

    def _next(self, link: Link) -> Mail | None:
        aside: list[Any] = []
        link.mail = self.site.next_mail(link, self.now, aside)
        self.ended += [(type(move).__name__, move.mail) for move in aside]
        if link.mail is None:
            link.idle_since = self.now
            link.lane.idle.append(link)
        return link.mail

    def gone(self, link: Link) -> None:
        """A connection is closed."""
        self.site.closed(link)
        self.world.used -= 1


def kinds(moves: list[Any]) -> list[str]:
    """What kinds of moves they are."""
    return [type(move).__name__ for move in moves]


class Opening(SynchronousTestCase):
    """When connections are opened."""

    def test_first(self) -> None:
        """The first mail gets a connection to the best host at once; a few more wait for it for a moment."""
        place = Place("192.0.2.1", "192.0.2.2", max_connections=20)
        mails = place.add(3)
        (opened,) = place.look()
        self.assertEqual((opened.host.address, opened.source, opened.mail), ("192.0.2.1", None, mails[0]))
        self.assertAlmostEqual(place.wake, NOW + 0.1, 5)
        self.assertEqual(kinds(place.look(0.11)), ["Open", "Open"])

    def test_numbers(self) -> None:
        """No more than max-connections, max-starting, ip-max-connections and smtp.max-connections."""
        for limits, most in (
            ({"max_connections": 7}, 7),
            ({"max_starting": 3}, 3),
            ({"ip_max_connections": 2}, 4),
            ({}, 9),
        ):
            place = Place("192.0.2.1", "192.0.2.2", **limits)
            place.world.most = 9
            place.add(500)
            self.assertEqual(len([m for m in place.look() if isinstance(m, Open)]), most, limits)
            self.assertEqual(place.site.waits_for_room, not limits)

    def test_numbers_of_one_address(self) -> None:
        """A limit for a local address counts the connections from that address alone."""
        rule = Rule({"max_connections": 2}, ip="127.0.0.1")
        place = Place(ip_rules=(rule,), max_connections=5)
        place.add(500, LaneKey(("127.0.0.1", "127.0.0.2")))
        sources = [move.source for move in place.look()]
        self.assertEqual(sources.count("127.0.0.1"), 2)
        self.assertEqual(len(sources), 5)

    def test_several_local_addresses(self) -> None:
        """Local addresses take turns; one whose pace is used up holds up no other."""
        place = Place(ip_rules=(Rule({"connects_per_minute": 1}, ip="127.0.0.1"),), max_connections=4)
        place.add(500, LaneKey(("127.0.0.1", "127.0.0.2")))
        self.assertEqual([m.source for m in place.look()], ["127.0.0.1", *["127.0.0.2"] * 3])

    def test_families(self) -> None:
        """A local address goes to hosts of its own kind; without any in common the mail is stuck."""
        place = Place("192.0.2.1", "2001:db8::1", max_connections=20)
        place.add(1, LaneKey(("::1",)))
        self.assertEqual([m.host.address for m in place.look()], ["2001:db8::1"])
        place = Place("2001:db8::1", max_connections=20)
        place.add(1, LaneKey(("127.0.0.1", "::1")))
        self.assertEqual([m.source for m in place.look()], ["::1"])
        place = Place("2001:db8::1", max_connections=20)
        place.add(2, LaneKey(("127.0.0.1",)))
        self.assertEqual(kinds(place.look()), ["Stuck", "Stuck"])

    def test_connects_per_minute(self) -> None:
        """Connections are opened at their pace."""
        place = Place(max_connections=20, connects_per_minute=60)
        place.add(500)
        self.assertEqual(kinds(place.look()), ["Open"])
        self.assertEqual(place.wake, NOW + 1)
        self.assertEqual(kinds(place.look(0.9)), [])
        self.assertEqual(kinds(place.look(0.1)), ["Open"])

    def test_no_more_than_the_pace_needs(self) -> None:
        """A site of one mail in two seconds does not get twenty connections at once."""
        place = Place(max_connections=20, messages_per_minute=30)
        place.add(500)
        self.assertEqual([kind for kind in kinds(place.look()) if kind == "Open"], ["Open"])


class Offline(SynchronousTestCase):
    """Hosts that cannot be reached."""

    def test_passed_over(self) -> None:
        """A host that is offline is passed over, and so is one that was tried."""
        place = Place("192.0.2.1", "192.0.2.2", "192.0.2.3", max_connections=20)
        place.world.offline["192.0.2.1"] = NOW + 300
        place.add()[0].tried = ("192.0.2.2",)
        self.assertEqual([m.host.address for m in place.look()], ["192.0.2.3"])

    def test_all(self) -> None:
        """If all are offline for long, mails are parked until the first is back; a short time is waited for."""
        place = Place("192.0.2.1", "192.0.2.2", max_connections=20)
        place.world.offline.update({"192.0.2.1": NOW + 300, "192.0.2.2": NOW + 200})
        place.add(3)
        self.assertEqual([(m.until, m.why) for m in place.look()], [(NOW + 200, "offline hosts")] * 3)
        place.world.offline["192.0.2.2"] = NOW + 3
        place.add(3)
        self.assertEqual((place.look(), place.wake), ([], NOW + 3))
        self.assertEqual(place.look(3)[0].host.address, "192.0.2.2")

    def test_old_connection(self) -> None:
        """While an older connection works, mails wait for it."""
        place = Place(max_connections=20)
        place.add(3)
        place.look()
        place.ready(place.links()[0])
        place.world.offline["192.0.2.1"] = NOW + 300
        self.assertEqual(place.look(1), [])
        self.assertIsNotNone(place.finish(place.links()[0]))

    def test_tried(self) -> None:
        """A mail of which one host was tried, and whose others went offline since, has ended its attempt."""
        place = Place("192.0.2.1", "192.0.2.2", max_connections=20)
        place.world.offline.update({"192.0.2.1": NOW + 300, "192.0.2.2": NOW + 200})
        (one,) = place.add()
        one.tried, one.last = ("192.0.2.1",), Outcome(Type.REFUSED)
        self.assertEqual(kinds(place.look()), ["Stuck"])


class Resting(SynchronousTestCase):
    """Connections between two mails."""

    def rested(self, idle: float) -> Place:
        """A site of one mail in two seconds whose connection has just carried its first."""
        place = Place(max_connections=20, messages_per_minute=30, connection_max_idle=idle)
        place.add(2)
        place.look()
        place.ready(place.links()[0])
        place.finish(place.links()[0])
        return place

    def test_longer_than_the_pace(self) -> None:
        """A connection that may be idle for longer than the pace takes stays, and gets the next mail on time."""
        place = self.rested(5.0)
        self.assertEqual((place.look(), place.wake), ([], NOW + 2))
        self.assertEqual(kinds(place.look(2)), ["Give"])

    def test_shorter_than_the_pace(self) -> None:
        """One that may not is closed at once; another is opened on time."""
        place = self.rested(1.0)
        (closed,) = place.look()
        self.assertIsInstance(closed, Close)
        place.gone(closed.link)
        self.assertEqual((place.look(), place.wake), ([], NOW + 2))
        self.assertEqual(kinds(place.look(2)), ["Open"])

    def test_nothing_waits(self) -> None:
        """Without a next mail it stays for its time."""
        place = Place(max_connections=20, connection_max_idle=1.0)
        place.add()
        place.look()
        place.ready(place.links()[0])
        place.finish(place.links()[0])
        self.assertEqual((place.look(), place.wake), ([], NOW + 1))
        self.assertEqual(kinds(place.look(1)), ["Close"])

    def test_max_messages(self) -> None:
        """After connection-max-messages it gets no more."""
        place = Place(max_connections=1, connection_max_messages=2)
        place.add(5)
        place.look()
        (link,) = place.links()
        self.assertIsNotNone(place.ready(link))
        self.assertIsNotNone(place.finish(link))
        self.assertIsNone(place.finish(link))
        self.assertEqual(kinds(place.look()), ["Close"])

    def test_bytes(self) -> None:
        """A large mail is paid for by those after it."""
        place = Place(max_connections=1, bytes_per_minute=60_000, connection_max_idle=60)
        place.add(2, size=5000)
        place.look()
        (link,) = place.links()
        place.ready(link)
        self.assertIsNone(place.finish(link))
        place.look()
        self.assertLess(abs(place.wake - (NOW + 5)), 0.01)

    def test_another_that_is_free(self) -> None:
        """A connection whose host has had its share holds up no other that is idle."""
        place = Place("192.0.2.1", "192.0.2.2", ip_messages_per_minute=1, ip_max_connections=1, connection_max_idle=99)
        place.add(2)
        place.look()
        place.look(0.2)
        first, second = place.links()
        place.ready(first)
        place.finish(first)
        place.now = NOW + 30
        place.ready(second)
        place.finish(second)
        place.add(1)
        place.look()
        self.assertEqual((place.look(0.2), place.wake), ([], NOW + 60.2))
        (given,) = place.look(30)
        self.assertIs(given.link, first)


class Reloading(SynchronousTestCase):
    """Other limits."""

    def test_unchanged(self) -> None:
        """An unchanged limit forgets nothing."""
        place = Place(max_connections=20, messages_per_minute=6, connection_max_idle=60)
        place.add(3)
        place.look()
        place.ready(place.links()[0])
        place.finish(place.links()[0])
        place.site.reload(Terms([Rule({"messages_per_minute": 6, "connection_max_idle": 60})], {}))
        self.assertEqual((place.look(), place.wake), ([], NOW + 10))

    def test_changed(self) -> None:
        """A faster pace holds at once, and so does a limit that is gone."""
        for rules, wake in (({"messages_per_minute": 60}, NOW + 1), ({}, None)):
            place = Place(max_connections=20, messages_per_minute=6, connection_max_idle=60)
            place.add(2)
            place.look()
            place.ready(place.links()[0])
            place.finish(place.links()[0])
            place.site.reload(Terms([Rule({**rules, "connection_max_idle": 60.0})], {}))
            moves = place.look()
            if wake is None:
                self.assertEqual(kinds(moves), ["Give"])
            else:
                self.assertEqual(moves, [])
                self.assertAlmostEqual(place.wake, wake, 5)

    def test_turns_begin_anew(self) -> None:
        """Turns that were promised at a slow pace do not keep those that come at a faster one waiting."""
        place = Place(max_connections=1, messages_per_minute=6)
        place.add(300)
        place.look()
        place.site.reload(Terms([Rule({"messages_per_minute": 600, "max_connections": 1})], {}))
        place.add(200)
        (*_, last) = (move for move in place.look() if isinstance(move, Park))
        self.assertLess(last.until, NOW + 30)


class Waiting(SynchronousTestCase):
    """Mails that have to wait."""

    def test_expired(self) -> None:
        """A mail whose time ran out leaves, whatever else waits."""
        place = Place(max_connections=1)
        first, _ = place.add(2)
        first.deadline = NOW - 1
        self.assertEqual(kinds(place.look()), ["Expire", "Open"])

    def test_surplus(self) -> None:
        """What cannot have its turn soon is parked until its turn, evenly."""
        place = Place(max_connections=1, messages_per_minute=60)
        place.add(100)
        parked = [m for m in place.look() if isinstance(m, Park)]
        turns = sorted(m.turn for m in parked)
        self.assertGreater(len(parked), 85)
        self.assertGreaterEqual(min(m.until for m in parked), NOW + 5)
        self.assertLess(abs((turns[-1] - turns[10]) / (len(turns) - 11) - 1), 0.05)

    def test_asking(self) -> None:
        """One that comes back before its turn goes away again, unless the promise does not hold any more."""
        place = Place(max_connections=1, messages_per_minute=60)
        place.add(100)
        last = max((m for m in place.look() if isinstance(m, Park)), key=lambda move: move.turn)
        self.assertEqual(last.until, NOW + 5)
        last.mail.turn = last.turn
        again = place.site.admit(last.mail, NOW + 5, 5.0)
        self.assertEqual((again.until, again.turn), (NOW + 10, last.turn))
        place.site.reload(Terms([Rule({"messages_per_minute": 600})], {}))
        place.look(5)
        self.assertIsNone(place.site.admit(last.mail, NOW + 5, 5.0))

    def test_as_fast_as_it_is(self) -> None:
        """What is more than ``max-queue`` comes back as fast as the site is, however long it was idle before."""
        for idle in (False, True):
            place = Place(max_connections=1, max_queue=10, connection_max_idle=1e9)
            place.add(1)
            place.look()
            (link,) = place.links()
            place.ready(link)
            if idle:
                place.finish(link)
                place.add(1)
                place.look(0.5)
                place.finish(link)
                place.now += 3600
            place.add(100)
            place.look()
            place.now += 1.2
            place.finish(link)
            parked = sorted(move.until - place.now for move in place.look(0.9) if isinstance(move, Park))
            self.assertGreater(len(parked), 80)
            self.assertLess(parked[0], 15)
            self.assertLess(parked[-1], 220)

    def test_not_for_hours(self) -> None:
        """However many wait for a slow pace, none is parked for longer than minutes, as the pace may be changed; and
        nobody's turn is left unused."""
        place = Place(max_connections=1, messages_per_minute=60, connection_max_idle=60)
        place.add(1500)
        parked: list[tuple[float, Mail]] = []
        longest = 0.0
        for _ in range(1600):
            back = [one for until, one in parked if until <= place.now]
            now = [move for move in map(place.come, back) if move is not None]
            now += [move for move in place.look(1) if isinstance(move, Park)]
            for move in now:
                move.mail.turn = move.turn
            longest = max([longest, *(move.until - place.now for move in now)])
            parked = sorted([*parked[len(back) :], *((move.until, move.mail) for move in now)], key=lambda one: one[0])
            for link in place.links():
                if link.ready is None:
                    place.ready(link)
                elif link.mail is not None and link not in link.lane.idle:
                    place.finish(link)
        self.assertLess(longest, 601)
        sent = sum(kind == "sent" for kind, _ in place.ended)
        self.assertGreater(sent, 1480)

    def test_lanes_share_a_pace(self) -> None:
        """Lanes take turns where the pace is the limit."""
        place = Place(max_connections=20, messages_per_minute=60, connection_max_idle=60)
        keys = [LaneKey(security="none"), LaneKey(security="required")]
        carried: list[LaneKey] = []
        for _ in range(20):
            for key in keys:
                place.add(max(0, 2 - len(place.site.lane(key).waiting)), key)
            place.look()
            for link in place.links():
                if link.ready is None:
                    place.ready(link)
                if link.mail is not None and link not in link.lane.idle:
                    carried.append(link.lane.key)
                    place.finish(link)
            place.look(1.0)
            for link in place.links():
                if link.mail is not None and link.ready is not None and link not in link.lane.idle:
                    carried.append(link.lane.key)
                    place.finish(link)
        self.assertGreater(min(carried.count(key) for key in keys), 6)

    def test_lanes_share_connections(self) -> None:
        """A lane that always has mails does not keep the only connection for ever."""
        place = Place(max_connections=1)
        place.add(200, LaneKey(security="none"))
        place.look()
        place.add(1, LaneKey(security="required"))
        place.ready(place.links()[0])
        place.look()
        for _ in range(30):
            (link,) = place.links()
            place.finish(link)
            moves = place.look()
            if kinds(moves) == ["Close"]:
                place.gone(link)
                break
        self.assertEqual([m.lane.key.security for m in place.look()], ["required"])


class Growing(SynchronousTestCase):
    """The number of connections is felt out."""

    def test_initial(self) -> None:
        """No more than initial-connections at first, one more for each that many deliveries."""
        place = Place(max_connections=20, initial_connections=2)
        place.add(500)
        self.assertEqual(kinds(place.look()), ["Open", "Open"])
        self.assertEqual(place.site.lanes[ANY].waiting.first().blocked_by, "growing connections")
        window = place.site.allowance.window(None)
        for _ in range(3):
            window.good(place.now, 20)
        self.assertEqual(kinds(place.look()), ["Open"])

    def test_too_many(self) -> None:
        """Once the host has said that there are too many, time alone allows one more, and it is known when."""
        place = Place(max_connections=20, initial_connections=4)
        place.add(500)
        self.assertEqual(len(place.look()), 4)
        for link in place.links():
            place.ready(link)
        place.site.allowance.window(None).bad(place.now, 2)
        for link in place.links()[2:]:
            place.gone(link)
            link.mail = None
        self.assertEqual(place.look(), [])
        self.assertEqual(place.wake, NOW + 60)
        self.assertEqual(kinds(place.look(60)), ["Open"])


class Tags(SynchronousTestCase):
    """Limits for tags, in addition to those of the site."""

    def test_held(self) -> None:
        """Mails of a limited tag go at its pace; the others do not wait for them."""
        place = Place(ip_rules=(Rule({"messages_per_minute": 60}, tag="news"),), max_connections=3)
        news = place.add(5, tags=["news"])
        others = place.add(50)
        carried = place.carry(2.95)
        self.assertEqual(sum(one in news for one in carried), 3)
        self.assertEqual(sum(one in others for one in carried), 50)

    def test_both(self) -> None:
        """The site's own limit holds for all of them together."""
        rule = Rule({"messages_per_minute": 600}, tag="news")
        place = Place(ip_rules=(rule,), max_connections=3, messages_per_minute=60, connection_max_idle=99)
        place.add(20, tags=["news"])
        self.assertEqual(len(place.carry(4.95)), 5)

    def test_each_of_its_own(self) -> None:
        """Each tag that fits a pattern has its own count."""
        place = Place(ip_rules=(Rule({"messages_per_minute": 60}, tag="c*"),), max_connections=3)
        place.add(5, tags=["c1"])
        place.add(5, tags=["c2"])
        place.add(5, tags=["c1", "c2"])
        carried = place.carry(2.95)
        for tag in ("c1", "c2"):
            self.assertEqual(sum(tag in one.tags for one in carried), 3)

    def test_woken(self) -> None:
        """If all wait for their tags, it is known when the first may go; the mails know what they wait for."""
        place = Place(ip_rules=(Rule({"messages_per_minute": 6}, tag="news"),), max_connections=3)
        place.add(2, tags=["news"])
        place.carry(0.2)
        place.look()
        self.assertAlmostEqual(place.wake, NOW + 1.0, 1)  # the idle connection is closed
        place.carry(2)
        place.look()
        self.assertAlmostEqual(place.wake, NOW + 10, 0)
        self.assertEqual(place.site.lanes[ANY].waiting.first().blocked_by, "messages-per-minute (tag news)")

    def test_surplus(self) -> None:
        """Those that cannot have their turn soon are parked; they fill no memory."""
        place = Place(ip_rules=(Rule({"messages_per_minute": 60}, tag="news"),), max_connections=3)
        place.add(500, tags=["news"])
        self.assertLess(place.site.waiting(), 10)
        self.assertGreater(sum(what == "Park" for what, _ in place.ended), 480)


class SettingUp(SynchronousTestCase):
    """A connection takes its time."""

    def test_in_time(self) -> None:
        """Where each mail has a connection of its own, it is opened so much earlier that the mail goes on time."""
        place = Place(max_connections=20, messages_per_minute=20, connection_max_idle=1.0)
        place.add(3)
        place.look()
        (link,) = place.links()
        place.now += 0.3
        place.ready(link)
        place.finish(link)
        (closed,) = place.look(0.1)
        place.gone(closed.link)
        place.look()
        self.assertAlmostEqual(place.wake, NOW + 3.3 - 0.3, 5)
        self.assertEqual(kinds(place.look(place.wake - place.now)), ["Open"])
        (link,) = place.links()
        place.now += 0.1
        self.assertIsNone(place.ready(link))  # it was quicker than the one before
        self.assertEqual((place.look(), round(place.wake, 3)), ([], NOW + 3.3))
        self.assertEqual(kinds(place.look(NOW + 3.3 - place.now)), ["Give"])


class Turns(SynchronousTestCase):
    """Who goes first."""

    def test_tags_take_turns(self) -> None:
        """Under a pace the mails of a customer with few do not wait for those of one with many."""
        place = Place(max_connections=2, messages_per_minute=60, connection_max_idle=99)
        place.add(100, tags=["many"])
        few = place.add(3, tags=["few"])
        carried = place.carry(7.95)
        self.assertEqual(sum(one in few for one in carried), 3)

    def test_priority(self) -> None:
        """What is urgent overtakes what waits, in any lane."""
        place = Place(max_connections=2, messages_per_minute=60, connection_max_idle=99)
        place.add(100)
        place.carry(1.0)
        urgent = place.add(2, LaneKey(security="required"), priority=9)
        carried = place.carry(3.0)
        self.assertEqual(sum(one in urgent for one in carried), 2)


class Sources(SynchronousTestCase):
    """Several local addresses."""

    def test_weights(self) -> None:
        """An address that stands there three times gets three times as many mails, one by one or in bulk."""
        key = LaneKey(("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.2"))
        place = Place(max_connections=8, connection_max_idle=99)
        sources = []
        for _ in range(40):
            place.add(1, key)
            before = {link: link.sent for link in place.links()}
            place.carry(0.5, 0.1)
            sources += [link.source for link in place.links() if link.sent > before.get(link, 0)]
        self.assertEqual(sources.count("127.0.0.2"), 30)

    def test_weights_in_bulk(self) -> None:
        """Of connections that carry one mail after the other it has three times as many, however few may be set up at
        the same time."""
        key = LaneKey(("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.2"))
        place = Place(max_connections=8, max_starting=1, initial_connections=2)
        place.add(400, key)
        for _ in range(100):
            place.carry(0.1, 0.05)
            for source in ("127.0.0.1", "127.0.0.2"):
                place.site.allowance.window(source).good(place.now, 8)
            if len(place.links()) == 8:
                break
        sources = [link.source for link in place.links()]
        self.assertEqual((sources.count("127.0.0.1"), sources.count("127.0.0.2")), (2, 6))

    def test_single_mails(self) -> None:
        """Sites that get a single mail do not all get it from the same address."""
        terms = Terms([Rule({})], {})
        key = LaneKey(("127.0.0.1", "127.0.0.2", "127.0.0.2"))
        route = Route(("mx",), (Host("192.0.2.1", 25, "mx"),))
        turns = [Site(route, terms).lane(key).turn for _ in range(6)]
        self.assertEqual([key.sources[turn] for turn in turns], [*key.sources, *key.sources])

    def test_spill(self) -> None:
        """What one address may not send, the others do."""
        rule = Rule({"messages_per_minute": 6}, ip="127.0.0.1")
        place = Place(ip_rules=(rule,), max_connections=8, connection_max_idle=99)
        place.add(50, LaneKey(("127.0.0.1", "127.0.0.2")))
        place.carry(5.0)
        sent = {link.source: link.sent for link in place.opened}
        self.assertEqual(sent["127.0.0.1"], 1)
        self.assertEqual(place.site.waiting(), 0)


class Paused(SynchronousTestCase):
    """Pauses."""

    def test_domain(self) -> None:
        """Mails to a paused domain are parked, until the pause is over or it is time to look whether it is."""
        place = Place(max_connections=2)
        place.add(3)
        place.site.allowance.terms.pauses.add(NOW, NOW + 4, "as told", domain="b.c")
        moves = place.look()
        self.assertEqual([(move.until, move.why) for move in moves], [(NOW + 4, "pause (as told)")] * 3)
        place.site.allowance.terms.pauses.add(NOW, NOW + 4000, "as told", domain="b.c")
        (one,) = place.add(1)
        self.assertEqual(place.site.admit(one, NOW, 5.0).until, NOW + 5)
        place.add(1)
        self.assertEqual(place.ended[-1][0], "Park")

    def test_expired(self) -> None:
        """A paused mail whose time runs out expires."""
        place = Place(max_connections=2)
        place.site.allowance.terms.pauses.add(NOW, None, "", domain="b.c")
        (one,) = place.add(1)
        one.deadline = NOW - 1
        self.assertEqual(type(place.site.admit(one, NOW, 5.0)), Expire)

    def test_pair(self) -> None:
        """A paused pair of local address and site is passed over while others serve; if none does, mails are parked."""
        place = Place(max_connections=4, connection_max_idle=99)
        key = LaneKey(("127.0.0.1", "127.0.0.2"))
        pauses = place.site.allowance.terms.pauses
        pauses.add(NOW, NOW + 100, "listed", site=place.site.key, ip="127.0.0.1")
        place.add(30, key)
        place.carry(5.0)
        self.assertEqual({link.source for link in place.opened}, {"127.0.0.2"})
        self.assertEqual(place.site.waiting(), 0)
        pauses.add(NOW, NOW + 100, "listed", site=place.site.key, ip="127.0.0.2")
        place.add(2, key)
        self.assertEqual([move.why for move in place.look() if isinstance(move, Park)], ["pause (listed)"] * 2)

    def test_tag(self) -> None:
        """A paused tag holds up nobody else."""
        place = Place(max_connections=2)
        place.site.allowance.terms.pauses.add(NOW, None, "", tag="news")
        place.add(3, tags=["news"])
        place.add(3)
        self.assertEqual(len(place.carry(2.0)), 3)

    def test_over(self) -> None:
        """After the pause all goes on."""
        place = Place(max_connections=2)
        pauses = place.site.allowance.terms.pauses
        pause = pauses.add(NOW, None, "", domain="b.c")
        place.look()
        pauses.remove(pause.id)
        place.add(3)
        self.assertEqual(len(place.carry(2.0)), 3)


class Simulated(SynchronousTestCase):
    """Anything may happen to connections."""

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32))
    def test_random(self, seed: int) -> None:
        """Limits are never exceeded, no mail is lost or doubled, all ends, and no wake leads nowhere twice."""
        random = Random(seed)
        limits: dict[str, float] = {"max_connections": random.randint(1, 5)}
        for key in ("ip_max_connections", "max_starting", "connection_max_messages"):
            if random.random() < 0.4:
                limits[key] = random.randint(1, 4)
        for key in ("messages_per_minute", "connects_per_minute", "ip_messages_per_minute"):
            if random.random() < 0.4:
                limits[key] = random.choice([30, 600, 7])
        limits["connection_max_idle"] = random.choice([1.0, 5.0])
        place = Place(*["192.0.2.1", "192.0.2.2", "2001:db8::1"][: random.randint(1, 3)], **limits)
        keys = [LaneKey(), LaneKey(("127.0.0.1", "127.0.0.2")), LaneKey(("127.0.0.1", "::1"), "required")]
        mails = [one for key in keys for one in place.add(random.randint(0, 15), key)]
        stale = 0
        for _ in range(5000):
            moves = place.look()
            self.limits_hold(place, limits)
            busy = [link for link in place.links() if link.mail is not None]
            for move in moves:
                if isinstance(move, Close):
                    place.gone(move.link)
            if not busy and not moves and place.wake is None:
                break
            stale = 0 if moves or busy or (place.wake or 0) > place.now else stale + 1
            self.assertLess(stale, 2)
            if busy and (random.random() < 0.7 or place.wake is None):
                link = random.choice(busy)
                self.happen(place, link, random)
                place.now += random.choice([0.0, 0.01, 1.0])
            elif place.wake is not None:
                place.now = max(place.now, place.wake)
        self.assertEqual(place.site.waiting(), 0)
        self.assertEqual(sorted(map(id, mails)), sorted(id(one) for _, one in place.ended))

    def happen(self, place: Place, link: Link, random: Random) -> None:
        """Something happens to a connection."""
        if link.ready is None and random.random() < 0.15:
            place.gone(link)
            place.ended.append(("failed", link.mail))
            place.world.offline[link.host.address] = place.now + random.choice([1.0, 100.0])
        elif link.ready is None:
            place.ready(link)
        elif random.random() < 0.1:
            place.gone(link)
            place.ended.append(("lost", link.mail))
        else:
            place.finish(link)

    def limits_hold(self, place: Place, limits: dict[str, float]) -> None:
        """None of the numbers is exceeded."""
        links = place.links()
        infinite = float("inf")
        self.assertLessEqual(len(links), limits["max_connections"])
        self.assertLessEqual(sum(link.ready is None for link in links), limits.get("max_starting", infinite))
        for host in place.site.route.hosts:
            there = sum(link.host is host for link in links)
            self.assertLessEqual(there, limits.get("ip_max_connections", infinite))
        for link in links:
            carried = link.sent + (link.mail is not None)
            self.assertLessEqual(carried, limits.get("connection_max_messages", infinite))
