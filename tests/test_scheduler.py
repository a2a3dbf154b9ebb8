"""The scheduler in small simulations: what random worlds (``test_properties_*.py``) have found, each as one case."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import utc
from mailerq.settings import parse
from mailerq.simulate.mix import parse_mix
from mailerq.simulate.simulation import Simulation
from mailerq.slowdown import SlowDown

ONE = "providers: {x: {domains: [a.example, b.example], mx: {mx.x.example: [192.0.2.1]}}}"


def simulation(settings: str, mix: str = ONE) -> Simulation:
    """A simulation of one site with two domains, or of another mix."""
    return Simulation(parse(settings, "config", {}), parse_mix(mix, "mix", {}), 1)


def messages(running: Simulation) -> list[float]:
    """When envelopes were written."""
    return [one.time for one in running.observations if one.kind == "message"]


class Changes(SynchronousTestCase):
    """Limits that change."""

    def test_debt_of_a_site_at_rest(self) -> None:
        """What a site owes when its rate is lowered is paid at the lower rate from that moment on, though nothing waits
        there, and nothing comes until later."""
        running = simulation("limits: [{domain: '*', messages-per-minute: 60}]")
        running.publish("u@a.example")
        running.run(until=0.8)
        running.reload(parse("limits: [{domain: '*', messages-per-minute: 6}]", "config", {}))
        running.run(until=1.2)
        running.publish("v@a.example")
        first, second = messages(running.run())
        due = 0.8 + (1 - (0.8 - first)) * 10
        self.assertTrue(due - 1e-3 < second < due + 0.5, (due, second))

    def test_debt_when_a_domain_is_found(self) -> None:
        """A rule that holds from now on, as a mail of its domain has come, forgives nothing of what is owed by then."""
        running = simulation(
            "limits: [{domain: '*', messages-per-minute: 1}, {domain: b.example, messages-per-minute: 60}]"
        )
        running.publish("u@a.example")
        running.run(until=30)
        running.publish("v@b.example")
        first, second = messages(running.run())
        due = 30 + (1 - (30 - first) / 60)
        self.assertTrue(due - 1e-3 < second < due + 0.5, (due, second))

    def test_rule_for_a_known_domain(self) -> None:
        """A rule that is loaded for a domain that was known before holds for the others of its site, too, when the site
        has had nothing to do in between."""
        running = simulation("")
        running.publish("u@a.example")
        running.run(until=0.2)
        running.reload(parse("limits: [{domain: a.example, messages-per-minute: 1}]", "config", {}))
        running.run(until=300)
        running.publish("v@b.example")
        running.publish("w@b.example")
        _, first, second = messages(running.run())
        self.assertGreaterEqual(second - first, 60 - 1e-3)

    def test_tag_limited_meanwhile(self) -> None:
        """A limit for a tag that is loaded while a connection is set up for such a mail holds for that mail, too."""
        running = simulation("")
        running.publish("u@a.example", tags=["t"])
        running.run(until=0.1)
        running.reload(parse("limits: [{tag: t, messages-per-minute: 1}]", "config", {}))
        running.publish("v@a.example", tags=["t"])
        first, second = messages(running.run())
        self.assertGreaterEqual(second - first, 60 - 1e-3)

    def test_tag_limited_when_a_domain_is_found(self) -> None:
        """Mails that wait already are held by a rule for their tag that holds since another domain is known."""
        running = simulation(
            "limits: [{domain: '*', messages-per-minute: 60}, {tag: t, domain: b.*, messages-per-minute: 1}]"
        )
        for number in range(3):
            running.publish(f"u{number}@a.example", tags=["t"])
        running.run(until=0.1)
        running.publish("v@b.example")
        times = [one.time for one in running.run().observations if one.kind == "message" and one.tags]
        self.assertGreaterEqual(times[1] - times[0], 60 - 1e-3)
        self.assertGreaterEqual(times[2] - times[1], 60 - 1e-3)


class Expiry(SynchronousTestCase):
    """A mail whose time runs out while it waits ends then, wherever it stands."""

    def ends(self, jobs: list[float]) -> list[float]:
        """When jobs that may live so long end, at one an hour, the first of which has just gone."""
        running = simulation("limits: [{domain: '*', messages-per-minute: 1/h}]")
        ended: dict[int, float] = {}
        original = running.queues.ended
        running.queues.ended = lambda number, kind: (ended.update({number: running.now}), original(number, kind))[1]
        running.publish("u@a.example")
        running.run(until=2)
        numbers = [running.publish("v@a.example", maxdelivertime=utc(running.start + lives)) for lives in jobs]
        running.run(until=3000)
        return [ended[number] for number in numbers]

    def test_behind_another(self) -> None:
        """Though the mail before it has more time."""
        self.assertLess(self.ends([500, 30])[1], 32)

    def test_after_long(self) -> None:
        """Though that is long after it began to wait."""
        self.assertLess(self.ends([1500])[0], 1502)


class SlowDowns(SynchronousTestCase):
    """Reduced limits beside those of one local address."""

    LIMITS = (
        "smtp: {ips: [198.51.100.1]}\nlimits: [{ip: 198.51.100.1, messages-per-minute: 60, connection-max-idle: 9s}]"
    )

    def slowed(self, source: str | None, rate: float) -> list[float]:
        """When messages go of which one address may send 60 a minute, slowed to ``rate`` from 10 s to 70 s on."""
        running = simulation(self.LIMITS)
        for number in range(200):
            running.publish(f"u{number}@a.example")
        running.run(until=10.2)
        assert running.parts is not None
        (site,) = running.parts.scheduler.sites.values()
        slowdown = SlowDown(
            {"messages_per_minute": rate}, running.start + 70, running.start + 10.2, "421", 1, source is not None
        )
        site.allowance.slow(source, slowdown)
        running.parts.scheduler._limits_changed(site)
        return messages(running.run(until=600))

    def test_of_the_address(self) -> None:
        """What is reduced for an address that has a rate of its own is that rate, not half of it."""
        times = [time for time in self.slowed("198.51.100.1", 30) if 15 < time < 65]
        self.assertTrue(24 <= len(times) <= 26, times)

    def test_of_all(self) -> None:
        """A rate for all that begins, or ends, takes nothing from the one of the address."""
        gaps = [other - one for one, other in pairwise(self.slowed(None, 50))]
        self.assertGreater(min(gaps), 1 - 1e-3)


class Turns(SynchronousTestCase):
    """Nobody starves."""

    def test_low_priority_behind_a_backlog(self) -> None:
        """A mail of low priority that comes behind a backlog of high priority has the eighth turn: it is not parked
        because it is of low priority."""
        running = simulation("limits: [{domain: '*', messages-per-minute: 120}]")
        for number in range(300):
            running.publish(f"u{number}@a.example", priority=9)
        running.run(until=5)
        number = running.publish("v@a.example")
        running.run(until=20)
        times = [one.time for one in running.observations if one.number == number and one.kind == "message"]
        self.assertLess(times[0], 5 + 9 * 0.5)

    def test_small_flow_behind_a_parked_backlog(self) -> None:
        """A customer with few mails has every second turn beside one whose backlog is parked for half an hour, though
        there is room in memory for few of them."""
        running = simulation("limits: [{domain: '*', messages-per-minute: 120}]")
        for number in range(3000):
            running.publish(f"u{number}@a.example", tags=["big"])
        running.run(until=5)
        small = [running.publish(f"v{number}@a.example", tags=["small"]) for number in range(30)]
        running.run(until=60)
        times = [one.time for one in running.observations if one.number in small and one.kind == "message"]
        self.assertEqual(len(times), 30)
        self.assertLess(times[-1], 5 + 1.5 * 2 * 30 * 0.5)
