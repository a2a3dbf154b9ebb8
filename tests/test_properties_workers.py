"""Limits that several workers share hold for all of them together: random worlds, several schedulers on one clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.crews import play
from tests.windows import violations
from tests.worlds import World, seeds, worlds

crews = st.integers(2, 4)


class Limits(SynchronousTestCase):
    """Whatever is configured, whatever hosts do, however jobs are spread: no rate, no number of connections."""

    @seeds(60)
    @given(worlds(), crews)
    def test_held(self, world: World, many: int) -> None:
        """In every window, and at every moment."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(40)
    @given(worlds(events=("reload",)), crews)
    def test_changed(self, world: World, many: int) -> None:
        """Where limits change."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(60)
    @given(worlds(events=("kill",)), crews)
    def test_killed(self, world: World, many: int) -> None:
        """Where single workers are killed and begin again."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(20)
    @given(worlds(events=("kill", "reload")), crews)
    def test_on_disk(self, world: World, many: int) -> None:
        """In the real files, with kills and reloads."""
        self.assertEqual(violations(play(world, many, on_disk=True)), [])

    def test_it_is_seen(self) -> None:
        """Workers that do not share are found out."""
        found = []

        @seeds(40)
        @given(worlds())
        def one(world: World) -> None:
            found.extend(violations(play(world, 3, alone=True)))

        one()
        self.assertTrue(found)
