"""How much an address may send on its first, second, third day."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.limits import Value
from mailerq.schedule_rules import ScheduleRule
from mailerq.warmup import DAY, Schedule, Warmup

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC).timestamp()
ONE, TWO = "192.0.2.7", "192.0.2.8"
POOLS = {"fresh": (ONE, TWO)}
GMAIL, GOOGLE = {"gmail.com"}, {"gmail-smtp-in.l.google.com"}
RULE = ScheduleRule(5, pool="fresh", mx="*.google.com", steps=((1, 1.0), (2, 2.0), (4, 4.0), (6, None)))
TODAY = {"pool fresh, mx *.google.com from 192.0.2.7": {"day": 1, "date": "2026-11-24"}}


def schedule_of(warmup: Warmup) -> Schedule:
    """The one that there is."""
    schedule = warmup.schedule_of(ONE, GMAIL, GOOGLE, POOLS)
    assert schedule is not None
    return schedule


def rate(warmup: Warmup, now: float, source: str | None = ONE) -> float | None:
    """Messages per minute; None: no limit."""
    schedule = warmup.schedule_of(source, GMAIL, GOOGLE, POOLS)
    value = None if schedule is None else schedule.value(now)
    return None if value is None else value.number


def sent(warmup: Warmup, now: float, source: str | None = ONE) -> bool:
    schedule = warmup.schedule_of(source, GMAIL, GOOGLE, POOLS)
    return schedule is not None and schedule.sent(now)


class Days(SynchronousTestCase):
    """Which day it is."""

    def setUp(self) -> None:
        self.warmup = Warmup((RULE,))

    def test_first(self) -> None:
        """Before the first mail it is the first day, with the line of the schedule."""
        value = schedule_of(self.warmup).value(NOW)
        self.assertEqual(value, Value(1.0, 5, True, cause="warm-up day 1 of 6", shared="pool fresh, mx *.google.com"))

    def test_counted_once_a_day(self) -> None:
        """The first mail of a day counts it; until midnight nothing changes."""
        self.assertTrue(sent(self.warmup, NOW))
        self.assertEqual(self.warmup.counts, TODAY)
        midnight = self.warmup.next_change(NOW)
        self.assertEqual(midnight, NOW + DAY / 4)
        self.assertFalse(sent(self.warmup, midnight - 0.001))
        self.assertEqual((rate(self.warmup, midnight - 0.001), rate(self.warmup, midnight)), (1, 2))
        self.assertTrue(sent(self.warmup, midnight))
        self.assertEqual(rate(self.warmup, midnight), 2)

    def test_days_without_mail(self) -> None:
        """Only days with mail count."""
        sent(self.warmup, NOW)
        self.assertEqual([rate(self.warmup, NOW + days * DAY) for days in (0, 1, 2, 30)], [1, 2, 2, 2])

    def test_to_the_end(self) -> None:
        """Day by day to the last, from which on there is no limit here."""
        found = []
        for day in range(8):
            found.append(rate(self.warmup, NOW + day * DAY))
            sent(self.warmup, NOW + day * DAY)
        self.assertEqual(found, [1, 2, 2, 4, 4, None, None, None])

    def test_beyond(self) -> None:
        """Where the last day has a rate, it stays."""
        self.warmup = Warmup((ScheduleRule(5, ip=ONE, domain="*", steps=((1, 3.0),)),))
        sent(self.warmup, NOW)
        value = schedule_of(self.warmup).value(NOW + DAY)
        cause = "warm-up day 2, as on day 1"
        self.assertEqual(value, Value(3.0, 5, True, cause=cause, shared="ip 192.0.2.7, domain *"))

    def test_clock_set_back(self) -> None:
        """A clock that is set back counts no day twice."""
        sent(self.warmup, NOW)
        self.assertFalse(sent(self.warmup, NOW - 3 * DAY))
        self.assertEqual(rate(self.warmup, NOW - 3 * DAY), 1)

    @given(st.lists(st.floats(0, 3 * DAY), max_size=40))
    def test_count(self, pauses: list[float]) -> None:
        """The day is the number of different dates with mail, whatever the times; told by whether they changed."""
        warmup, now, dates = Warmup((RULE,)), NOW, set()
        for later in pauses:
            now += later
            date = datetime.fromtimestamp(now, UTC).date().isoformat()
            before = rate(warmup, now)
            self.assertEqual(sent(warmup, now), date not in dates)
            dates.add(date)
            self.assertEqual(rate(warmup, now), before)
            self.assertEqual(list(warmup.counts.values()), [{"day": len(dates), "date": date}])


class Whose(SynchronousTestCase):
    """For whom a schedule is."""

    def test_each_address(self) -> None:
        """Each address of a pool has its own days."""
        warmup = Warmup((RULE,))
        sent(warmup, NOW)
        self.assertEqual((rate(warmup, NOW + DAY), rate(warmup, NOW + DAY, TWO)), (2, 1))

    def test_others(self) -> None:
        """Other addresses and other providers have none."""
        warmup = Warmup((RULE,))
        self.assertIsNone(warmup.schedule_of("192.0.2.9", GMAIL, GOOGLE, POOLS))
        self.assertIsNone(warmup.schedule_of(None, GMAIL, GOOGLE, POOLS))
        self.assertIsNone(warmup.schedule_of(ONE, {"a.example"}, {"mx.a.example"}, POOLS))
        self.assertIsNone(warmup.schedule_of("192.0.2.9", GMAIL, GOOGLE, POOLS))

    def test_sites_share(self) -> None:
        """All sites of a provider count the same days."""
        warmup = Warmup((RULE,))
        one = warmup.schedule_of(ONE, GMAIL, GOOGLE, POOLS)
        other = warmup.schedule_of(ONE, {"a.example"}, {"aspmx.l.google.com"}, POOLS)
        self.assertIs(one, other)

    def test_last_wins(self) -> None:
        """As with limits, the last that fits wins."""
        warmup = Warmup((RULE, ScheduleRule(9, ip="192.0.2.*", domain="gmail.com", steps=((1, 7.0),))))
        self.assertEqual(rate(warmup, NOW), 7)

    def test_none(self) -> None:
        """Without schedules it is false."""
        self.assertFalse(Warmup(()))
        self.assertTrue(Warmup((RULE,)))


class Restart(SynchronousTestCase):
    """What was counted goes on."""

    def test_goes_on(self) -> None:
        """After a restart, or with other rates, the days go on."""
        warmup = Warmup((RULE,))
        sent(warmup, NOW)
        noted = json.loads(json.dumps(warmup.counts))
        again = Warmup((ScheduleRule(8, pool="fresh", mx="*.google.com", steps=((1, 10.0), (2, 20.0))),), noted)
        self.assertEqual((rate(again, NOW), rate(again, NOW + DAY)), (10, 20))
        self.assertFalse(sent(again, NOW))

    def test_kept(self) -> None:
        """Counts of a schedule that is not there at present are kept."""
        self.assertEqual(Warmup((), TODAY).counts, TODAY)

    def test_unreadable(self) -> None:
        """What cannot be read is said and left out."""
        wrong: dict[str, object] = {
            "a": {"day": 0, "date": "2026-11-24"},
            "b": {"day": 1, "date": "x"},
            "c": 1,
            "d": {},
        }
        warmup = Warmup((RULE,), {**wrong, **TODAY})
        self.assertEqual((warmup.counts, len(warmup.problems)), (TODAY, 4))
        self.assertEqual(len(Warmup((RULE,), ["?"]).problems), 1)

    @given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.dictionaries(st.text(), one)))
    def test_anything(self, noted: object) -> None:
        """Whatever was noted breaks nothing."""
        name = next(iter(TODAY))
        for counts in (noted, {name: noted}, {name: {"day": noted, "date": "2026-11-24"}}, {name: {"date": noted}}):
            warmup = Warmup((RULE,), counts)
            sent(warmup, NOW)
            rate(warmup, NOW)
