"""The entries of ``schedules``, from YAML."""
# ruff: noqa: RUF001 (the quotes of messages)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.schedule_rules import ScheduleRule
from mailerq.settings import SettingsError, parse

FIRST = "pools: {fresh: [192.0.2.7, 192.0.2.8]}\nschedules:\n"
PER_DAY = 1 / 1440


def good(*entries: str) -> tuple[ScheduleRule, ...]:
    """What entries say."""
    return parse(FIRST + "".join(f"  - {entry}\n" for entry in entries), "f", {}).schedules


def said(*entries: str) -> list[str]:
    """What is wrong with them."""
    try:
        good(*entries)
    except SettingsError as error:
        return error.errors
    return []


class Good(SynchronousTestCase):
    """What can be said."""

    def test_none(self) -> None:
        """There are none unless they are written."""
        self.assertEqual(parse("", "f", {}).schedules, ())

    def test_days(self) -> None:
        """A rate for each day, the last without limit if one likes."""
        (rule,) = good('{ip: 192.0.2.7, mx: "*.Google.com", days: [50/d, 100/d, 10, unlimited]}')
        steps = ((1, 50 * PER_DAY), (2, 100 * PER_DAY), (3, 10.0), (4, None))
        self.assertEqual(rule, ScheduleRule(0, ip="192.0.2.7", mx="*.google.com", steps=steps))
        self.assertEqual(rule.line, 3)

    def test_steps(self) -> None:
        """Or only the days on which it changes."""
        (rule,) = good("{pool: fresh, domain: gmail.com, steps: {1: 50/d, 3: 200/d, 10: unlimited}}")
        self.assertEqual(rule.steps, ((1, 50 * PER_DAY), (3, 200 * PER_DAY), (10, None)))
        found = [rule.rate(day) for day in (1, 2, 3, 9, 10, 1000)]
        self.assertEqual(found, [50 * PER_DAY] * 2 + [200 * PER_DAY] * 2 + [None] * 2)

    def test_last_stays(self) -> None:
        """The last rate stays."""
        (rule,) = good("{pool: fresh, domain: gmail.com, days: [1, 2]}")
        self.assertEqual(rule.rate(99), 2)

    def test_name(self) -> None:
        """It is known by whom it is for, wherever it stands and whatever its rates."""
        one, other = good(
            '{ip: "192.0.2.*", mx: "*.google.com", days: [1]}', '{days: [2], mx: "*.google.com", ip: 192.0.2.7}'
        )
        self.assertEqual(one.name, "ip 192.0.2.*, mx *.google.com")
        self.assertEqual(other.name, "ip 192.0.2.7, mx *.google.com")


class Wrong(SynchronousTestCase):
    """What is wrong is said, with its place."""

    def test_what_is_missing(self) -> None:
        """From where, to where, how many."""
        self.assertEqual(said("{tag: x}"), ["f:3:6: schedules.0.tag: unknown key (did you mean ‘limits.tag’?)"])
        self.assertEqual(
            said("{days: [1], steps: {1: 5}}"),
            [
                "f:3:5: schedules.0: must say for which local addresses it is: either ip or pool",
                'f:3:5: schedules.0: must say where to: mx or domain (everywhere: domain: "*")',
                "f:3:5: schedules.0: needs either days: [50/d, 100/d] or steps: {1: 50/d, 3: 100/d}",
            ],
        )

    def test_one_thing(self) -> None:
        """One wrong thing, one error."""
        for rest, where, what in (
            ("days: [unlimited, 5]", "days.0", "only the last day can be unlimited"),
            ("days: []", "days", "must be a list with a rate for each day: [50/d, 100/d, unlimited]"),
            ("days: [0]", "days.0", "must be above zero"),
            ("steps: {2: 5}", "steps", "must begin with day 1"),
            ("steps: {1: 5, 1x: 5}", "steps.1x", "is no day: a number from 1 to 10000"),
            ("steps: {1: 5, 9: 5, 3: 5}", "steps.3", "days must ascend"),
            ("steps: {1: unlimited, 2: 5}", "steps.1", "only the last day can be unlimited"),
            ("days: [5], pool: frech", "pool", "there is no pool ‘frech’ (did you mean ‘fresh’?)"),
            ("days: [5], mx: null", "mx", "cannot be null"),
            ("dayz: [5]", "dayz", "unknown key (did you mean ‘days’?)"),
        ):
            source = "" if "pool" in rest else "ip: 192.0.2.7, "
            target = "" if "mx" in rest else 'mx: "*.google.com", '
            errors = said(f"{{{source}{target}{rest}}}")
            self.assertEqual(len(errors), 1, errors)
            self.assertTrue(errors[0].endswith(f" schedules.0.{where}: {what}"), errors[0])

    def test_twice(self) -> None:
        """Two for the same count the same days, so there can be one only."""
        entry = "{ip: 192.0.2.7, domain: gmail.com, days: [5]}"
        self.assertEqual(said(entry, entry), ["f:4:5: schedules.1: is for the same as the one in line 3"])

    @given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40))
    def test_anything(self, written: str) -> None:
        """Whatever stands there is read or refused."""
        said(written)
        said(f"{{ip: 192.0.2.7, domain: a, days: [{written}]}}")
        said(f"{{ip: 192.0.2.7, domain: a, steps: {{1: {written}}}}}")
        said(f"{{ip: 192.0.2.7, domain: a, steps: {{{written}: 5}}}}")
