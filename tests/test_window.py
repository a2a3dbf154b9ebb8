"""How many connections a site is believed to bear."""

from __future__ import annotations

import timeit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.window import LONGEST_PATIENCE, SHORTEST_PATIENCE, Window

NOW = 1_800_000_000.0
WHAT_HAPPENS = st.lists(
    st.tuples(st.sampled_from(["good", "bad", "nothing"]), st.floats(0, 300), st.integers(0, 30)), max_size=120
)


def deliver(window: Window, times: int, most: float, now: float = NOW) -> None:
    for _ in range(times):
        window.good(now, most)


def after_trouble(size: float, working: int = 0) -> Window:
    window = Window(size)
    window.bad(NOW, working)
    return window


class Growth(SynchronousTestCase):
    """Before there was trouble."""

    def test_begins(self) -> None:
        """It begins with the initial number, or with what the configuration allows, and never with none."""
        self.assertEqual(Window(5).allowed(20), 5)
        self.assertEqual(Window(5).allowed(3), 3)
        self.assertEqual(Window(0).allowed(20), 1)
        self.assertEqual(Window(5).allowed(0.5), 1)

    def test_one_for_each_windowful(self) -> None:
        """A window's worth of deliveries allows one more."""
        window = Window(5)
        deliver(window, 4, 20)
        self.assertEqual(window.allowed(20), 5)
        deliver(window, 2, 20)
        self.assertEqual(window.allowed(20), 6)

    def test_time_alone_does_nothing(self) -> None:
        """Nobody need wait for the clock."""
        window = Window(5)
        self.assertIsNone(window.next_change(NOW))
        self.assertEqual(window.allowed(20, NOW + 1e6), 5)

    @given(st.integers(1, 60))
    def test_full(self, most: int) -> None:
        """From one to all it takes at most ``most`` squared deliveries."""
        window = Window(1)
        deliver(window, most * most, most)
        self.assertEqual(window.allowed(most), most)

    def test_cheap(self) -> None:
        """A delivery that changes nothing costs next to nothing."""
        window = Window(20)
        seconds = min(timeit.repeat(lambda: window.good(NOW, 20.0), number=10_000, repeat=5))
        self.assertLess(seconds / 10_000, 2e-6)  # measured 0.1 µs; much slower machines may run this


class Trouble(SynchronousTestCase):
    """The host says that there are too many."""

    def test_half(self) -> None:
        """It falls by half, not below one."""
        self.assertEqual(after_trouble(10).allowed(20), 5)
        self.assertEqual(after_trouble(1).allowed(20), 1)

    def test_of_what_was_allowed(self) -> None:
        """Half of what was in use: the configuration may allow less than the window would."""
        window = Window(10)
        window.allowed(4)
        window.bad(NOW)
        self.assertEqual(window.allowed(4), 2)

    def test_what_works(self) -> None:
        """It falls to those that work, if they are fewer than half."""
        self.assertEqual(after_trouble(20, working=3).allowed(20), 3)
        self.assertEqual(after_trouble(20, working=15).allowed(20), 10)

    def test_full(self) -> None:
        """What another engine was refused stops growth here; what works stays, and more is probed after a while."""
        window = Window(5.0)
        window.full(NOW, 3)
        for _ in range(100):
            window.good(NOW + 1, 20)
        self.assertEqual((window.allowed(20, NOW + 1), window.ceiling), (3, 3))
        self.assertEqual(window.allowed(20, NOW + SHORTEST_PATIENCE), 4)

    def test_burst(self) -> None:
        """Many refusals within a second are one event."""
        window = after_trouble(16)
        window.bad(NOW + 0.5)
        self.assertEqual(window.allowed(20), 8)
        window.bad(NOW + 1.0)
        self.assertEqual(window.allowed(20), 4)

    def test_comes_back(self) -> None:
        """One a minute, told in advance, deliveries or not."""
        window = after_trouble(10)
        deliver(window, 1000, 20)
        self.assertEqual(window.allowed(20, NOW + 59), 5)
        for minute in range(1, 5):
            due = window.next_change(NOW + 60 * minute - 1)
            self.assertEqual(due, NOW + 60 * minute)
            self.assertEqual(window.allowed(20, NOW + 60 * minute), 5 + minute)

    def test_probe_refused(self) -> None:
        """A refused probe costs the probe alone, and the next comes after twice the time, at most an hour."""
        window = after_trouble(2)
        now, waits = NOW, []
        for _ in range(9):
            due = window.next_change(now)
            assert due is not None
            waits.append(due - now)
            now = due
            self.assertEqual(window.allowed(20, now), 2)
            window.bad(now, working=1)
            self.assertEqual(window.allowed(20, now), 1)
        self.assertEqual(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600])

    def test_back_below_what_works(self) -> None:
        """A host that bears ten has ten again within minutes, and a refused eleventh leaves them alone."""
        window = after_trouble(20, working=10)
        self.assertEqual(window.allowed(20, NOW + 60), 11)
        window.bad(NOW + 61, working=10)
        self.assertEqual(window.allowed(20), 10)
        self.assertEqual(window.next_change(NOW + 61), NOW + 61 + 120)

    def test_probe_that_holds(self) -> None:
        """Growth that holds makes it more confident."""
        window = after_trouble(2)
        for now in (NOW + 60, NOW + 180, NOW + 420):
            window.allowed(20, now)
            window.bad(now, working=1)
        self.assertEqual(window.patience, 480)
        now = NOW + 420
        for patience in (480, 240, 120, 60, 60):
            now += window.patience
            window.allowed(20, now)
            window.good(now, 20)
            self.assertEqual(window.patience, patience)

    def test_repr(self) -> None:
        """It can be read."""
        self.assertEqual(repr(Window(5)), "<Window 5.0>")
        self.assertEqual(repr(after_trouble(10)), "<Window 5, 9 work, beyond that one more each 60 s>")


class Always(SynchronousTestCase):
    """Whatever happens."""

    @given(WHAT_HAPPENS, st.floats(0.1, 40), st.floats(1, 40))
    def test_bounds(self, events: list[tuple[str, float, int]], initial: float, most: float) -> None:
        """Never less than one, never more than is allowed, and fewer after trouble."""
        window, now, last_bad = Window(initial), NOW, 0.0
        for what, later, working in events:
            now += later
            before = window.allowed(most, now)
            if what == "good":
                window.good(now, most)
            elif what == "bad":
                window.bad(now, working)
                if before > 1 and now >= last_bad + 1:
                    self.assertLess(window.allowed(most), before)
                    last_bad = now
            allowed = window.allowed(most, now)
            self.assertTrue(1 <= allowed <= most)
            self.assertTrue(SHORTEST_PATIENCE <= window.patience <= LONGEST_PATIENCE)

    @given(WHAT_HAPPENS, st.floats(2, 40))
    def test_slowly(self, events: list[tuple[str, float, int]], initial: float) -> None:
        """After trouble at most one more in any minute."""
        window, now = Window(initial), NOW
        window.bad(now)
        grown = [now]
        for what, later, working in events:
            now += later
            before = window.allowed(40)
            if what == "bad":
                window.bad(now, working)
            elif what == "good":
                window.good(now, 40)
            growth = window.allowed(40, now) - before
            self.assertLessEqual(growth, 1)
            if growth == 1:
                self.assertGreaterEqual(now - grown[-1], SHORTEST_PATIENCE - 1e-6)
                grown.append(now)

    @given(WHAT_HAPPENS, st.floats(2, 40))
    def test_told(self, events: list[tuple[str, float, int]], initial: float) -> None:
        """What time will change is told: nothing before it, one more at it."""
        window, now = Window(initial), NOW
        for what, later, working in events:
            now += later
            if what == "bad":
                window.bad(now, working)
            before, due = window.allowed(1000, now), window.next_change(now)
            if due is not None:
                self.assertGreater(due, now)
                self.assertEqual(window.allowed(1000, (now + due) / 2), before)
                now = due
                self.assertEqual(window.allowed(1000, due), before + 1)
