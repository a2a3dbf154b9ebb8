"""Reduced limits for a time, then back step by step."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.limits import Limits, Value
from mailerq.slowdown import SlowDown, from_note

NOW = 1_800_000_000.0
MESSAGES, CONNECTIONS = "messages_per_minute", "max_connections"
AMOUNT = st.floats(0.1, 1e6)
SLOWDOWNS = st.builds(
    lambda rate, count, duration: SlowDown({MESSAGES: rate, CONNECTIONS: count}, NOW + duration, NOW, "421 slow", 7),
    AMOUNT,
    st.integers(1, 50).map(float),
    st.floats(1, 86400),
)


def slow(values: dict[str, float] | None = None, duration: float = 600, cause: str = "421 4.7.0 slow down") -> SlowDown:
    return SlowDown({MESSAGES: 60.0} if values is None else values, NOW + duration, NOW, cause, 7)


def configured(**numbers: float) -> Limits:
    return {key: Value(number, 3, False) for key, number in numbers.items()}


def number(slowdown: SlowDown, now: float, limits: Limits, key: str = MESSAGES) -> float | None:
    """What holds; None: no limit."""
    value = slowdown.overlay(limits, now).get(key)
    return None if value is None else value.number


class While(SynchronousTestCase):
    """As long as it lasts."""

    def test_reduced(self) -> None:
        """The reduced limit holds, with the line of its rule and what the host said; the others are as configured."""
        limits = configured(messages_per_minute=600, max_connections=20)
        found = slow().overlay(limits, NOW + 599)
        expected = Value(60.0, 7, False, cause="slowed until 08:10:00: 421 4.7.0 slow down")
        self.assertEqual(found, {**limits, MESSAGES: expected})
        self.assertEqual(limits[MESSAGES].number, 600)

    def test_lower_one_stays(self) -> None:
        """What is configured lower stays as it is."""
        limits = configured(messages_per_minute=30)
        self.assertEqual(slow().overlay(limits, NOW), limits)

    def test_where_there_was_none(self) -> None:
        """There may have been no limit at all."""
        self.assertEqual(number(slow(), NOW, {}), 60)

    def test_per_source(self) -> None:
        """It may hold for one local address."""
        found = msgspec.structs.replace(slow(), per_source=True).overlay({}, NOW)
        self.assertTrue(found[MESSAGES].per_source)

    def test_long_sentence(self) -> None:
        """What the host said is one line of at most 80 characters."""
        said = slow(cause="421 4.7.0\r\nplease " * 40).overlay({}, NOW)[MESSAGES].cause.partition("00: ")[2]
        self.assertEqual((len(said), said[-1], said.isprintable()), (80, "…", True))


class Back(SynchronousTestCase):
    """Afterwards."""

    def test_evenly(self) -> None:
        """Ten even steps up to what is configured."""
        limits = configured(messages_per_minute=610)
        times = [NOW + 600 + 60 * step for step in range(11)]
        self.assertEqual([number(slow(), now, limits) for now in times], [*range(110, 601, 50), 610])
        self.assertIn("step 3 of 10 back", slow().overlay(limits, times[2])[MESSAGES].cause)

    def test_lifted(self) -> None:
        """Where nothing is configured: twice, three times …, and then none."""
        times = [NOW + 600 + 60 * step for step in range(11)]
        self.assertEqual([number(slow(), now, {}) for now in times], [*range(120, 661, 60), None])

    def test_counts(self) -> None:
        """Counts are whole, and never none."""
        slowdown = slow({CONNECTIONS: 0.5})
        found = [number(slowdown, NOW + at, configured(max_connections=4), CONNECTIONS) for at in (0, 600, 900, 1140)]
        self.assertEqual(found, [1, 1, 2, 3])

    def test_short(self) -> None:
        """A step takes at least half a minute."""
        self.assertEqual(slow(duration=20).next_change(NOW + 20), NOW + 50)
        self.assertFalse(slow(duration=20).is_over(NOW + 319))
        self.assertTrue(slow(duration=20).is_over(NOW + 320))

    @given(SLOWDOWNS, AMOUNT, st.booleans())
    def test_told(self, slowdown: SlowDown, amount: float, limited: bool) -> None:
        """Numbers only go up, at the times that were told, in eleven changes; never above what is configured."""
        limits = configured(messages_per_minute=amount, max_connections=20) if limited else {}
        times, now = [NOW], NOW
        while (due := slowdown.next_change(now)) is not None:
            self.assertGreater(due, now)
            between = slowdown.overlay(limits, (now + due) / 2)
            self.assertEqual(between, slowdown.overlay(limits, now))
            times.append(now := due)
        self.assertEqual(len(times), 12)
        self.assertTrue(slowdown.is_over(now))
        self.assertEqual(slowdown.overlay(limits, now), limits)
        for key in (MESSAGES, CONNECTIONS):
            found = [number(slowdown, at, limits, key) or 0.0 for at in times]
            held = found if limited else found[:-1]
            self.assertTrue(all(one <= two for one, two in pairwise(held)), found)
            if limited:
                self.assertLessEqual(max(found), limits[key].number)
            self.assertGreater(min(held), 0)


class Again(SynchronousTestCase):
    """The host complains again."""

    RULE: ClassVar = {MESSAGES: 80.0}

    def test_half(self) -> None:
        """Half as much, not below an eighth of the rule's, and the time begins anew."""
        slowdown, now, found = slow(self.RULE), NOW, []
        for _ in range(5):
            now += 100
            slowdown = slowdown.again(self.RULE, 600, now, "421 still")
            found.append(slowdown.values[MESSAGES])
        self.assertEqual(found, [40, 20, 10, 10, 10])
        self.assertEqual((slowdown.began, slowdown.until, slowdown.cause), (now, now + 600, "421 still"))

    def test_on_the_way_back(self) -> None:
        """Half of what holds by now, but not more than the rule says."""
        limits = configured(messages_per_minute=190)
        early = slow(self.RULE).again(self.RULE, 600, NOW + 600, "421", limits=limits)
        late = slow(self.RULE).again(self.RULE, 600, NOW + 1100, "421", limits=limits)
        self.assertEqual((early.values[MESSAGES], late.values[MESSAGES]), (45, 80))

    def test_over(self) -> None:
        """Once it is over, it is the first time again."""
        again = slow({MESSAGES: 5.0}).again(self.RULE, 600, NOW + 1200, "421")
        self.assertEqual(again, SlowDown(self.RULE, NOW + 1800, NOW + 1200, "421", 7))

    def test_burst(self) -> None:
        """Complaints of what was in the air already are no new ones."""
        slowdown = slow(self.RULE)
        self.assertIs(slowdown.again(self.RULE, 600, NOW + 20, "421"), slowdown)

    def test_another_rule(self) -> None:
        """What another rule reduced stays reduced; a longer time stays longer."""
        again = slow(self.RULE, 6000).again({CONNECTIONS: 2.0}, 60, NOW + 100, "421", line=9)
        self.assertEqual((again.values, again.until, again.line), ({MESSAGES: 80, CONNECTIONS: 2}, NOW + 6000, 9))

    @given(SLOWDOWNS, st.lists(st.tuples(st.floats(0, 3000), st.floats(1, 3000)), max_size=20), AMOUNT)
    def test_bounds(self, rule: SlowDown, complaints: list[tuple[float, float]], amount: float) -> None:
        """However often: from an eighth of the rule's values to those; never faster than it was."""
        slowdown, now = rule, NOW
        limits = configured(messages_per_minute=amount)
        for later, duration in complaints:
            now += later
            before = slowdown.overlay(limits, now)
            slowdown = slowdown.again(rule.values, duration, now, "421", limits=limits)
            after = slowdown.overlay(limits, now)
            self.assertLessEqual(after[MESSAGES].number, before[MESSAGES].number)
            for key, value in slowdown.values.items():
                self.assertTrue(rule.values[key] / 8 <= value <= rule.values[key])
            self.assertGreaterEqual(slowdown.until, slowdown.began)


class Notes(SynchronousTestCase):
    """Over a restart."""

    @given(SLOWDOWNS)
    def test_there_and_back(self, slowdown: SlowDown) -> None:
        """It comes back from JSON as it was."""
        self.assertEqual(from_note(json.loads(json.dumps(msgspec.to_builtins(slowdown)))), slowdown)

    def test_unusable(self) -> None:
        """What cannot hold is refused."""
        good = msgspec.to_builtins(slow())
        wrong: list[dict[str, Any]] = [{"until": NOW - 1}, {"until": 1e300}, {"began": "?"}, {"values": {MESSAGES: 0}}]
        for change in wrong:
            self.assertRaises(ValueError, from_note, {**good, **change})
        self.assertRaises(ValueError, from_note, {})
