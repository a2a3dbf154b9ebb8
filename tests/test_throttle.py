"""Even pacing."""

from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.throttle import Due, Pace

START = 1_700_000_000.0
RATES = st.sampled_from([0.05, 0.7, 1.0, 7.0, 30.0, 60.0, 61.0, 600.0, 100_000.0])
ROUNDING = 1e-6  # seconds: one step of a double at these times is a quarter of that


class Memory:
    """A place in which a due time is kept; ``now`` is set by the test."""

    def __init__(self) -> None:
        self.due = self.interval = 0.0
        self.now = START

    def read(self) -> tuple[float, float, float]:
        """What is kept."""
        return self.due, self.interval, self.now

    def write(self, due: float) -> None:
        """Keep it."""
        self.due = due

    def paced(self, due: float, interval: float) -> None:
        """Keep both."""
        self.due, self.interval = due, interval


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
        """After a million units the due time is the exact one, rounded up: not a microsecond off."""
        for per_minute in (7, 61, 99_991):
            pace = Pace(per_minute)
            now = START
            for _ in range(1_000_000):
                pace.take(now)
                now = pace.due
            late = Fraction(now) - Fraction(START) - 1_000_000 * Fraction(60, per_minute)
            self.assertLess(abs(late), Fraction(1, 1_000_000))

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
        self.assertLess(abs(pace.next_time(START) - (START + 10)), ROUNDING)

    def test_before_its_time(self) -> None:
        """What is taken before its time is owed in addition."""
        pace = Pace(60)
        for _ in range(3):
            pace.take(START)
        self.assertEqual(pace.due, START + 3)


class Changes(SynchronousTestCase):
    """Another rate."""

    def test_at_once(self) -> None:
        """A faster one does not wait out the old interval; a slower one holds for what is owed already."""
        pace = Pace(1)
        pace.take(START)
        pace.change(60, START + 30)
        self.assertLess(abs(pace.due - (START + 30.5)), ROUNDING)
        pace.take(START + 31)
        pace.change(1, START + 31.5)
        self.assertLess(abs(pace.due - (START + 61.5)), ROUNDING)

    def test_debt(self) -> None:
        """Of 10 MB at 1 MB a minute 9 are owed after a minute: four and a half more at 2 MB, 90 at 100 kB."""
        for per_minute, minutes in ((2e6, 4.5), (1e5, 90.0)):
            pace = Pace(1e6)
            pace.take(START, 10e6)
            pace.change(per_minute, START + 60)
            self.assertLess(abs(pace.due - (START + 60 + minutes * 60)), ROUNDING)

    def test_without_the_time(self) -> None:
        """Where nobody says what time it is, it holds from the last unit on."""
        pace = Pace(1)
        pace.take(START)
        pace.change(60)
        self.assertLess(abs(pace.due - (START + 1)), ROUNDING)
        pace.change(1)
        self.assertLess(abs(pace.due - (START + 60)), 60 * ROUNDING)  # what was rounded is sixty times as much now

    def test_same_rate(self) -> None:
        """A change to the same rate changes nothing."""
        pace = Pace(7)
        pace.take(START, 3)
        due = pace.due
        pace.change(7, START + 5)
        self.assertEqual(pace.due, due)

    def test_paid(self) -> None:
        """Where nothing is owed, nothing comes of a change."""
        pace = Pace(60)
        pace.take(START)
        pace.change(0.01, START + 1)
        self.assertEqual(pace.next_time(START + 1), START + 1)


class Restored(SynchronousTestCase):
    """From one life to the next."""

    def test_kept_at_once(self) -> None:
        """When ``take`` returns, its due time is kept."""
        memory = Memory()
        pace = Pace(60, memory)
        for step in range(3):
            pace.take(START + step)
            self.assertEqual((memory.due, memory.interval), (pace.due, 1.0))

    def test_same_rate(self) -> None:
        """The due time comes back as it was."""
        memory = Memory()
        pace = Pace(7, memory)
        pace.take(START, 3)
        memory.now = START + 1
        memory.interval *= 1 - 5e-8  # as it is kept in single precision
        self.assertEqual(Pace(7, memory).due, pace.due)

    def test_other_rate(self) -> None:
        """What is owed is paid for at the new rate, from the restart on; taking a limit away and back forgets none."""
        memory = Memory()
        Pace(1e6, memory).take(START, 10e6)
        memory.now = START + 60
        again = Pace(2e6, memory)
        self.assertLess(abs(again.due - (START + 60 + 270)), ROUNDING)
        self.assertEqual((memory.due, memory.interval), (again.due, 60 / 2e6))


class Shared(SynchronousTestCase):
    """Several sites at one remote address."""

    def test_one_rate(self) -> None:
        """Those with the same rate hold it together."""
        due = Due()
        paces = [Pace(60, shared=due), Pace(60, shared=due)]
        now, times = START, []
        for turn in range(6):
            pace = paces[turn % 2]
            now = pace.next_time(now)
            pace.take(now)
            times.append(now - START)
        self.assertEqual(times, [0, 1, 2, 3, 4, 5])

    def test_own_rates(self) -> None:
        """Each unit occupies the address for the interval of the pace that took it."""
        due = Due()
        slow, fast = Pace(1, shared=due), Pace(60, shared=due)
        fast.take(START)
        self.assertEqual(slow.next_time(START), START + 1)
        slow.take(START + 1)
        self.assertEqual(fast.next_time(START + 1), START + 61)

    def test_debt_of_another(self) -> None:
        """The change of one does not touch what another owes; its own units cost the new interval."""
        due = Due()
        slow, fast = Pace(1, shared=due), Pace(60, shared=due)
        slow.take(START)
        fast.change(600, START)
        self.assertEqual(due.due, START + 60)
        slow.change(2, START)
        self.assertLess(abs(due.due - (START + 30)), ROUNDING)

    def test_kept(self) -> None:
        """The interval that is kept is that of who took last."""
        memory = Memory()
        due = Due(memory)
        slow, fast = Pace(1, shared=due), Pace(60, shared=due)
        for pace, interval in ((slow, 60.0), (fast, 1.0), (fast, 1.0), (slow, 60.0)):
            pace.take(pace.next_time(START))
            self.assertEqual((memory.due, memory.interval), (due.due, interval))


Step = tuple[str, float, float]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.floats(0, 3), st.floats(1, 1)),
        st.tuples(st.just("change"), st.floats(0, 3), RATES),
        st.tuples(st.just("again"), st.floats(0, 3), RATES),
    ),
    min_size=1,
    max_size=40,
)
BYTES = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.floats(0, 3), st.floats(1, 5000)),
        st.tuples(st.just("change"), st.floats(0, 3), RATES),
    ),
    min_size=1,
    max_size=40,
)


def play(rate: float, steps: list[Step]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """What was taken (time, units) and the rates (since, rate). Waits are in units of the interval."""
    memory = Memory()
    pace = Pace(rate, memory)
    now = START
    taken: list[tuple[float, float]] = []
    rates = [(now, rate)]
    for what, wait, number in steps:
        now += wait * pace.interval
        if what == "take":
            now = pace.next_time(now)
            pace.take(now, number)
            taken.append((now, number))
            continue
        memory.now = now
        rates.append((now, number))
        if what == "change":
            pace.change(number, now)
        else:
            pace = Pace(number, memory)  # killed and begun again, or the limit was gone and is back
    return taken, rates


def allowed(rates: list[tuple[float, float]], first: float, last: float) -> Fraction:
    """Units that flow between two times."""
    total = Fraction(0)
    ends = [since for since, _ in rates[1:]] + [float("inf")]
    for (since, rate), end in zip(rates, ends, strict=True):
        low, high = max(since, first), min(end, last)
        if high > low:
            total += (Fraction(high) - Fraction(low)) * Fraction(rate) / 60
    return total


class AnyWindow(SynchronousTestCase):
    """However the caller comes and goes, and whatever becomes of the rate."""

    @settings(max_examples=300, deadline=None)
    @given(RATES, STEPS | BYTES)
    def test_units(self, rate: float, steps: list[Step]) -> None:
        """What passed in any stretch of time, but for the last, is at most what flowed in it."""
        taken, rates = play(rate, steps)
        fastest = Fraction(max(each for _, each in rates)) / 60
        spare = fastest * Fraction(ROUNDING) * len(rates)  # a rounding for each change
        for first in range(len(taken)):
            passed = Fraction(0)
            for last in range(first + 1, len(taken)):
                passed += Fraction(taken[last - 1][1])
                flowed = allowed(rates, taken[first][0], taken[last][0])
                self.assertLessEqual(passed, flowed * (1 + Fraction(1, 2**50)) + spare)

    @settings(max_examples=200, deadline=None)
    @given(RATES, st.lists(st.floats(0, 3), min_size=1, max_size=40), st.floats(0, 50))
    def test_constant(self, rate: float, waits: list[float], window: float) -> None:
        """At a constant rate there are at most ``floor(W * r / 60) + 1`` in any window, without any allowance."""
        taken, _ = play(rate, [("take", wait, 1.0) for wait in waits])
        length = Fraction(window * 60 / rate)
        most = floor(length / Fraction(60.0 / rate)) + 1
        for first, _ in taken:
            inside = sum(first <= time and Fraction(time) <= Fraction(first) + length for time, _ in taken)
            self.assertLessEqual(inside, most)
