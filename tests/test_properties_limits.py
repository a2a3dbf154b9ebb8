"""No limit is exceeded in any window of any length: random configurations, providers and traffic in the simulator."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.windows import Timeline, brute_force, uses, violations
from tests.worlds import World, seeds, worlds


class Limits(SynchronousTestCase):
    """Messages, bytes, connects, connections; by site, remote and local address, tag."""

    @seeds(100)
    @given(worlds())
    def test_held(self, world: World) -> None:
        """Whatever is configured and whatever hosts do, each two uses of a rate are as far apart as it says, and no
        connection is begun when there are as many as there may be."""
        self.assertEqual(violations(world.play(check=0)), [])

    @seeds(15)
    @given(worlds(kind=True))
    def test_all_windows(self, world: World) -> None:
        """The same by brute force: in all windows that begin and end with an event."""
        seen = world.play(check=0)
        timeline = Timeline(seen)
        for name, events in uses(seen, timeline).items():
            if not name.key.startswith("ip_"):
                rates = {
                    timeline.held(event.stretch, event.provider, event.source, name.tag)[name.key].number
                    for event in events
                }
                rate = max(rates) / 60  # it changes as soon as a domain is known to be of the site
                self.assertLessEqual(brute_force([(event.time, event.units) for event in events[:150]], rate), 1e-6)

    @seeds(60)
    @given(worlds(events=("reload",)))
    def test_changed(self, world: World) -> None:
        """Limits that change at random moments hold in each stretch at the rate then; those that are removed and come
        again find the debt that was left."""
        self.assertEqual(violations(world.play(check=0)), [])

    @seeds(60)
    @given(worlds(events=("kill",)))
    def test_killed(self, world: World) -> None:
        """They hold over kills and restarts."""
        self.assertEqual(violations(world.play(check=0)), [])

    @seeds(40)
    @given(worlds(events=("kill", "reload")))
    def test_killed_and_changed(self, world: World) -> None:
        """Both."""
        self.assertEqual(violations(world.play(check=0)), [])


class TheTest(SynchronousTestCase):
    """The measure itself."""

    @seeds(30)
    @given(st.integers(0, 10**6))
    def test_pairs_are_enough(self, seed: int) -> None:
        """Where each two that follow one another are far enough apart, no window has too many; else one has."""
        dice = Random(seed)
        events: list[tuple[float, float]] = []
        time = 0.0
        for _ in range(12):
            units = dice.choice((1.0, 3.0))
            events.append((time, units))
            time += units * dice.choice((1.0, 1.0, 1.5, 0.9))
        pairs = pairwise(events)
        apart = all(other[0] - one[0] >= one[1] - 1e-6 for one, other in pairs)
        self.assertEqual(apart, brute_force(events, 1.0) <= 0)
