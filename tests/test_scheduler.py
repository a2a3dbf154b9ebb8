"""The scheduler in small simulations: what random worlds (``test_properties_*.py``) have found, each as one case."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import parse
from mailerq.simulate.mix import parse_mix
from mailerq.simulate.simulation import Simulation

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
