"""Why does it wait? What is said of a site, while the site does what it does."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from mailerq.explain import Around, explain, name_of, row, would_hold
from mailerq.explain_text import table, text
from mailerq.explained import Limit, SiteSeen
from mailerq.job import Job, read
from mailerq.lane import LaneKey, Link
from mailerq.mail import Mail
from mailerq.moves import Close, Give, Open, Park, WakeAt
from mailerq.pauses import Pauses
from mailerq.route import Host, Route
from mailerq.site import Site
from mailerq.slowdown import SlowDown
from mailerq.terms import Terms

NOW = 1_800_000_000.0
ANY = LaneKey()


class Rule(Struct, frozen=True):
    """An entry of ``limits``."""

    values: dict[str, float]
    line: int = 1
    domain: str | None = None
    mx: str | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None
    tls: str | None = None
    retry_interval: tuple[float, ...] | None = None


class Place:
    """A site that is looked at, and the world around it; the moves are made as the scheduler makes them."""

    def __init__(
        self, *rules: Rule, addresses: Sequence[str] = ("198.51.100.1",), pauses: Pauses | None = None
    ) -> None:
        self.hold = 5.0
        self.now = NOW
        self.most = 1000
        self.offline: dict[str, float] = {}
        hosts = tuple(Host(address, 25, f"mx{n}.example", n) for n, address in enumerate(addresses))
        self.terms = Terms(rules, {"pool": ("192.0.2.9",)}, pauses)
        self.site = Site(Route(("mx0.example",), hosts), self.terms)
        self.site.know_domain("example.org")
        self.parked = 0
        self.opened: list[Link] = []

    def room(self) -> int:
        """How many more connections there may be."""
        return self.most - len(self.site.links)

    def offline_until(self, address: str, source: str | None = None) -> float:
        """0 where it is online."""
        return self.offline.get(address, 0.0)

    def order(self, route: Route) -> tuple[Host, ...]:
        """As they stand."""
        return route.hosts

    def add(self, count: int = 1, key: LaneKey = ANY, domain: str = "example.org") -> None:
        """Mails come."""
        lane = self.site.lane(key)
        for number in range(count):
            job = read(b'{"recipient":"b@%s","mime":"x"}' % domain.encode())
            assert isinstance(job, Job)
            mail = Mail(job, None, b"", f"{number}", self.now)
            mail.deadline, mail.lane = self.now + 86400, lane
            lane.waiting.append(mail)

    def look(self, seconds: float = 0.0) -> None:
        """Time passes, and the site is looked at."""
        self.now += seconds
        for move in self.site.next_moves(self.now, self):
            if isinstance(move, Open):
                self.opened.append(Link(move.lane, move.host, move.source, move.mail, self.now))
                self.site.links.add(self.opened[-1])
            elif isinstance(move, Give):
                move.link.mail = move.mail
            elif isinstance(move, Close):
                self.opened.remove(move.link)
                self.site.closed(move.link)
            elif isinstance(move, Park):
                self.site.parking.away.went(move.until)
                self.parked += 1
            elif isinstance(move, WakeAt):
                self.site.wake = move.time

    def ready(self) -> None:
        """Each connection that is being set up is, and carries its mail."""
        for link in self.opened:
            if link.ready is None:
                self.site.ready(link, self.now)
                assert link.mail is not None
                link.lane.waiting.put_back(link.mail)
                link.mail = self.site.next_mail(link, self.now, [])

    def finish(self) -> None:
        """Each mail under way is done."""
        for link in self.opened:
            if link.ready is not None and link.mail is not None:
                self.site.speed.sent_one(self.now)
                link.sent += 1
                link.mail = self.site.next_mail(link, self.now, [])
                if link.mail is None:
                    link.idle_since = self.now
                    link.lane.idle.append(link)

    def around(self) -> Around:
        """What ``explain`` is told of it."""
        return Around(self.now, "a.yaml", self.most, len(self.site.links), self.offline_until, lambda _: "refused")

    def explained(self) -> SiteSeen:
        """What is said now; the line in the table says the same."""
        found = explain(self.site, self.around())
        one = row(self.site, self.around())
        for name in ("waiting", "parked", "busy", "idle", "starting", "binds", "next"):
            assert getattr(found, name) == getattr(one, name), name
        assert text([found], self.now) and table([one], self.now)
        return found


def limit(found: SiteSeen, name: str, scope: str = "") -> Limit:
    """The one of that name."""
    (one,) = [one for one in found.limits if one.name == name and one.scope == scope]
    return one


class Binding(SynchronousTestCase):
    """What binds is what the site waits for, and it says when that is over."""

    def test_messages(self) -> None:
        """A pace: its number, its line, when the last went, when the next may, when the last would be gone."""
        place = Place(Rule({"messages_per_minute": 30.0}, 12))
        place.add(4)
        place.look()
        place.ready()
        place.look(0.5)
        found = place.explained()
        self.assertEqual((found.binds, found.waiting), ("messages-per-minute", 3))
        binding = found.limits[0]
        self.assertTrue(binding.binds and binding.stops)
        self.assertEqual((binding.number, binding.place, binding.last), (30.0, "a.yaml:12", NOW))
        self.assertAlmostEqual(binding.free_at or 0.0, NOW + 2, places=3)
        self.assertAlmostEqual(found.gone or 0.0, NOW + 0.5 + 3 * 2, places=3)
        self.assertEqual([one for one in found.limits if one.binds], [binding])

    def test_connections(self) -> None:
        """The number of connections: how many there are; only an event can tell when one more may be."""
        place = Place(Rule({"max_connections": 2.0}, 3))
        place.add(50)
        place.look()
        place.ready()
        place.look(1.0)
        found = place.explained()
        self.assertEqual((found.binds, found.next, found.busy), ("max-connections", None, 2))
        self.assertEqual((found.limits[0].used, found.limits[0].number, found.limits[0].place), (2, 2.0, "a.yaml:3"))

    def test_starting(self) -> None:
        """Connections that are being set up."""
        place = Place(Rule({"max_starting": 1.0}))
        place.add(50)
        place.look()
        found = place.explained()
        self.assertEqual((found.binds, found.starting), ("max-starting", 1))

    def test_growing(self) -> None:
        """As many connections as it is believed to bear."""
        place = Place(Rule({"initial_connections": 2.0}, 0), Rule({"max_connections": 20.0}))
        place.add(50)
        place.look()
        found = place.explained()
        self.assertEqual(found.binds, "growing connections")
        self.assertEqual((found.limits[0].used, found.limits[0].number, found.limits[0].place), (2, 2, "built in"))

    def test_remote(self) -> None:
        """Connections to one remote address."""
        place = Place(Rule({"ip_max_connections": 1.0}, 7))
        place.add(50)
        place.look()
        found = place.explained()
        self.assertEqual((found.binds, found.hosts[0].connections), ("ip-max-connections", 1))
        self.assertEqual(limit(found, "ip-max-connections", "to 198.51.100.1").used, 1)

    def test_remote_pace(self) -> None:
        """A pace of one remote address."""
        place = Place(Rule({"ip_messages_per_minute": 60.0}), addresses=("198.51.100.1", "198.51.100.2"))
        place.add(3)
        place.look()
        place.ready()
        place.finish()
        place.look(0.1)
        found = place.explained()
        one = limit(found, "ip-messages-per-minute", "to 198.51.100.1")
        self.assertTrue(one.stops)
        self.assertFalse(limit(found, "ip-messages-per-minute").stops)

    def test_all_connections(self) -> None:
        """The number of all connections."""
        place = Place()
        place.most = 0
        place.add()
        place.look()
        found = place.explained()
        self.assertEqual(
            (found.binds, found.limits[0].place, found.limits[0].used), ("smtp.max-connections", "a.yaml", 0)
        )

    def test_offline(self) -> None:
        """Hosts that are left alone: all of them, until the first is back; why."""
        place = Place(addresses=("198.51.100.1", "198.51.100.2"))
        place.offline = {"198.51.100.1": NOW + 4, "198.51.100.2": NOW + 3}
        place.add()
        place.look()
        found = place.explained()
        self.assertEqual((found.binds, found.next), ("offline hosts", NOW + 3))
        self.assertEqual((found.limits[0].used, found.limits[0].number, found.limits[0].why), (2, 2, "refused"))
        self.assertEqual([host.offline_until for host in found.hosts], [NOW + 4, NOW + 3])

    def test_one_offline(self) -> None:
        """One of two that is offline stops nothing."""
        place = Place(addresses=("198.51.100.1", "198.51.100.2"))
        place.offline = {"198.51.100.1": NOW + 4}
        found = place.explained()
        self.assertFalse(limit(found, "offline hosts").stops)
        self.assertEqual(found.hosts[0].why, "refused")
        self.assertIsNone(found.hosts[1].offline_until)

    def test_pause(self) -> None:
        """A pause of all: what it stops is parked, and counted as such."""
        pauses = Pauses()
        place = Place(pauses=pauses)
        place.add(3)
        pauses.add(NOW, NOW + 60, "too many bounces", domain="example.org")
        self.assertEqual(place.explained().limits[0].why, "too many bounces")
        place.look()
        found = place.explained()
        self.assertEqual((found.waiting, found.parked, place.parked), (0, 3, 3))
        self.assertEqual((found.binds, found.next), ("pause", NOW + 60))
        self.assertEqual((found.limits[0].place, found.limits[0].why), ("id 1", "too many bounces"))

    def test_slowed(self) -> None:
        """A limit that is reduced for a time: the line of the rule, and what the host said."""
        place = Place(Rule({"messages_per_minute": 600.0}, 12))
        slow = SlowDown({"messages_per_minute": 30.0}, NOW + 600, NOW, "421 too fast", 40)
        place.site.allowance.slow(None, slow)
        place.add(3)
        place.look()
        place.ready()
        place.look(0.5)
        found = place.explained()
        self.assertEqual(found.binds, "messages-per-minute")
        self.assertEqual((found.limits[0].number, found.limits[0].place), (30.0, "a.yaml:40"))
        self.assertIn("421 too fast", found.limits[0].why)

    def test_asking_changes_nothing(self) -> None:
        """Who asks between the begin of a pause and the site's look at it does not keep it from beginning."""
        pauses = Pauses()
        place = Place(pauses=pauses)
        place.add(3)
        pauses.add(NOW)
        place.explained()
        place.look()
        self.assertEqual(place.parked, 3)

    def test_partial_pause(self) -> None:
        """A pause of a tag stops not all; one that is over is not told."""
        pauses = Pauses()
        place = Place(pauses=pauses)
        pauses.add(NOW, None, "", tag="news")
        pauses.add(NOW - 5, NOW - 1, "old", domain="example.org")
        found = place.explained()
        self.assertFalse(limit(found, "pause", "of tag news").stops)
        self.assertFalse(any("old" in one.why for one in found.limits))

    def test_parked(self) -> None:
        """What is parked is counted until it comes back."""
        place = Place(Rule({"messages_per_minute": 60.0}))
        place.add(500)
        place.look()
        found = place.explained()
        self.assertEqual(found.waiting + found.parked + found.starting, 500)
        self.assertGreater(found.parked, 400)
        self.assertGreater((found.gone or 0.0) - NOW, 490)

    def test_nothing(self) -> None:
        """Where nothing waits nothing binds; all limits are told all the same."""
        place = Place(Rule({"messages_per_minute": 60.0, "max_connections": 5.0, "connection_max_idle": 1.0}))
        found = place.explained()
        self.assertEqual((found.binds, found.next, found.gone), ("", None, None))
        self.assertEqual(
            [one.name for one in found.limits],
            [
                "messages-per-minute",
                "max-connections",
                "connection-max-idle",
                "growing connections",
                "smtp.max-connections",
            ],
        )


class Scopes(SynchronousTestCase):
    """For whom a limit is."""

    def test_sources(self) -> None:
        """Limits of local addresses are told for each; those of all once."""
        place = Place(
            Rule({"max_connections": 5.0}, 1),
            Rule({"messages_per_minute": 6.0}, 2, ip="192.0.2.7"),
            addresses=("10.0.0.1",),
        )
        place.add(1, LaneKey(("192.0.2.7", "192.0.2.8")))
        found = place.explained()
        self.assertEqual(limit(found, "messages-per-minute", "from 192.0.2.7").place, "a.yaml:2")
        limit(found, "max-connections")
        for source in ("192.0.2.7", "192.0.2.8"):
            limit(found, "growing connections", f"from {source}")

    def test_name(self) -> None:
        """The shortest domain stands for the site; before one is known its first host does."""
        place = Place()
        place.site.know_domain("mail.example.org")
        place.site.know_domain("b.example")
        self.assertEqual(name_of(place.site), "b.example")
        self.assertEqual(name_of(Site(place.site.route, place.terms)), "mx0.example")

    def test_many_domains(self) -> None:
        """Of many domains some are named, all are counted."""
        place = Place()
        for number in range(5000):
            place.site.know_domain(f"d{number}.example")
        found = place.explained()
        self.assertEqual((len(found.domains), found.domain_count), (10, 5001))


class WouldHold(SynchronousTestCase):
    """A domain without a site."""

    def test_domain(self) -> None:
        """The limits that would hold; those for hosts where the hosts are known; all of the pauses."""
        pauses = Pauses()
        pauses.add(NOW, None, "", domain="b.example")
        terms = Terms(
            [
                Rule({"max_connections": 20.0}, 0, domain="*"),
                Rule({"max_connections": 3.0}, 5, domain="b.*"),
                Rule({"messages_per_minute": 6.0}, 6, mx="*.google.com"),
            ],
            {},
            pauses,
        )
        around = Place().around()
        found = would_hold("b.example", None, terms, (), around)
        self.assertEqual((found.known, found.name, found.hosts), (False, "b.example", []))
        self.assertEqual(limit(found, "max-connections").place, "a.yaml:5")
        self.assertTrue(limit(found, "pause", "of domain b.example").stops)
        route = Route(("a.google.com",), (Host("198.51.100.1", 25, "a.google.com"),))
        found = would_hold("c.example", route, terms, ("192.0.2.7",), around)
        self.assertEqual(limit(found, "messages-per-minute").place, "a.yaml:6")
        self.assertEqual(limit(found, "max-connections").place, "built in")


NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "messages_per_minute": st.sampled_from([6.0, 60.0, 6000.0]),
        "bytes_per_minute": st.sampled_from([60.0, 1e6]),
        "connects_per_minute": st.sampled_from([6.0, 600.0]),
        "ip_messages_per_minute": st.sampled_from([30.0, 600.0]),
        "ip_max_connections": st.integers(1, 3).map(float),
        "max_connections": st.integers(1, 10).map(float),
        "max_starting": st.integers(1, 3).map(float),
        "connection_max_messages": st.integers(1, 5).map(float),
        "max_queue": st.integers(1, 20).map(float),
    },
)


class AnyTime(SynchronousTestCase):
    """Whatever a site is at."""

    @settings(max_examples=150, deadline=None)
    @given(NUMBERS, NUMBERS, st.integers(0, 1 << 30))
    def test_random(self, general: dict[str, float], special: dict[str, float], seed: int) -> None:
        """It can be explained at any time; asking changes nothing; what binds is a limit that stops, and if a time is
        said it is ahead."""
        ran = [self.run_one(general, special, seed, asking) for asking in (True, False)]
        self.assertEqual(*ran)

    def run_one(self, general: dict[str, float], special: dict[str, float], seed: int, asking: bool) -> list[Any]:
        """What happened, with somebody who asks all the time or without."""
        dice = Random(seed)
        keys = [ANY, LaneKey(("192.0.2.7", "192.0.2.9"))]
        place = Place(Rule(general), Rule(special, 2, ip="192.0.2.7"), addresses=("198.51.100.1", "198.51.100.2"))
        seen: list[Any] = []
        for _ in range(25):
            step = dice.choice([lambda: place.add(dice.randrange(1, 30), dice.choice(keys)), place.ready, place.finish])
            step()
            if dice.random() < 0.1:
                place.offline["198.51.100.1"] = place.now + dice.choice([1.0, 100.0])
            if asking:
                self.check(place.explained(), place.now)
            place.look(dice.choice([0.0, 0.1, 1.0, 20.0]))
            if asking:
                self.check(place.explained(), place.now)
            seen.append((place.site.waiting(), len(place.site.links), place.parked, place.site.wake))
        return seen

    def check(self, found: SiteSeen, now: float) -> None:
        """What holds of each answer."""
        binding = [one for one in found.limits if one.binds]
        self.assertLessEqual(len(binding), 1)
        for one in binding:
            self.assertEqual(one.name, found.binds)
            if one.stops:
                self.assertEqual(one.free_at, found.next)
                self.assertGreater(one.free_at or float("inf"), now)
        if not found.waiting and not found.parked:
            self.assertEqual(found.binds, "")
