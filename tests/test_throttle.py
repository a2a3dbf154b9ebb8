"""Even pacing."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.throttle import Pace

START = 1_700_000_000.0


class Pacing(SynchronousTestCase):
    """One after the other."""

    def test_even(self) -> None:
        """30 a minute is one every two seconds, the first at once."""
        pace = Pace(30)
        times = []
        now = START
        for _ in range(5):
            now = pace.next_time(now)
            times.append(now - START)
            pace.take(now)
        self.assertEqual(times, [0, 2, 4, 6, 8])

    def test_no_drift(self) -> None:
        """Over three days it is neither faster nor slower than configured."""
        for per_minute in (7.0, 30.0, 61.0):
            pace = Pace(per_minute)
            now = START
            count = int(3 * 24 * 60 * per_minute)
            for _ in range(count):
                now = pace.next_time(now)
                pace.take(now)
            self.assertLess(abs(pace.due - START - (3 * 24 * 3600)), 0.01)

    def test_nothing_saved_up(self) -> None:
        """After an hour of rest there is no burst."""
        pace = Pace(60)
        pace.take(START)
        pace.take(START + 3600)
        self.assertEqual(pace.next_time(START + 3600), START + 3601)

    def test_units(self) -> None:
        """Many units are paid for afterwards."""
        pace = Pace(600)
        pace.take(START, 100)
        self.assertLess(abs(pace.next_time(START) - (START + 10)), 1e-6)

    def test_change(self) -> None:
        """Another rate holds from the next one on; a faster one does not wait out the old interval."""
        pace = Pace(1)
        pace.take(START)
        pace.change(60)
        self.assertEqual(pace.due, START + 1)
        pace.take(START + 1)
        pace.change(1)
        self.assertEqual(pace.due, START + 2)
        pace.take(START + 2)
        self.assertEqual(pace.due, START + 62)

    def test_change_of_units(self) -> None:
        """What was used up is paid for at the faster rate."""
        pace = Pace(600)
        pace.take(START, 100)
        pace.change(6000)
        self.assertLess(abs(pace.due - (START + 1)), 1e-6)

    def test_same_rate(self) -> None:
        """A change to the same rate changes nothing."""
        pace = Pace(7)
        pace.take(START, 3)
        due = pace.due
        pace.change(7)
        self.assertEqual(pace.due, due)

    @settings(max_examples=150, deadline=None)
    @given(
        st.floats(0.1, 10_000),
        st.lists(st.floats(0, 5), min_size=1, max_size=40),
        st.floats(0, 100),
    )
    def test_any_window(self, per_minute: float, rests: list[float], window: float) -> None:
        """In no window of length T there are more than T / interval + 1, however the caller comes and goes."""
        pace = Pace(per_minute)
        now, times = START, []
        for rest in rests:
            now = pace.next_time(now + rest * pace.interval)
            pace.take(now)
            times.append(now)
        length = window * pace.interval
        for first in times:
            inside = sum(first <= time <= first + length for time in times)
            self.assertLessEqual(inside, length / pace.interval + 1 + 1e-6 * (1 + per_minute))
