"""Warm-up: how much a local address may send to a provider on its first, second, third day.

Pure. Days are those of UTC, and only days on which mail was sent count. What was counted is plain JSON, which
``counts`` holds by schedule and address: ``{"day": 3, "date": "2026-11-24"}``: the third such day was that one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from mailerq.limits import Pools, Value, is_from, pattern

DAY = 86400.0
_EPOCH = date(1970, 1, 1).toordinal()
Counts = dict[str, dict[str, Any]]


class Rule(Protocol):
    """One entry of ``schedules``."""

    @property
    def line(self) -> int: ...
    @property
    def ip(self) -> str | None: ...
    @property
    def pool(self) -> str | None: ...
    @property
    def mx(self) -> str | None: ...
    @property
    def domain(self) -> str | None: ...
    @property
    def steps(self) -> Sequence[tuple[int, float | None]]: ...
    @property
    def name(self) -> str: ...
    def rate(self, day: int) -> float | None: ...


class Schedule:
    """One local address under one rule, wherever it sends to: all its sites share it."""

    __slots__ = ("_counts", "_day", "_key", "_last", "_next_midnight", "rule", "source")

    def __init__(self, rule: Rule, source: str, counts: Counts) -> None:
        self.rule = rule
        self.source = source
        self._counts = counts
        self._key = f"{rule.name} from {source}"
        count = counts.get(self._key)
        self._day = 0 if count is None else int(count["day"])
        self._last = 0 if count is None else date.fromisoformat(count["date"]).toordinal() - _EPOCH
        self._next_midnight = (self._last + 1) * DAY if self._day else 0.0

    def day(self, now: float) -> int:
        """Which day it is: 1 is the first. One on which nothing was sent yet is the one after the last with mail."""
        return self._day if now < self._next_midnight else self._day + 1

    def value(self, now: float) -> Value | None:
        """How many messages per minute may go; None: no limit."""
        day = self.day(now)
        rate = self.rule.rate(day)
        if rate is None:
            return None
        last = self.rule.steps[-1][0]
        cause = f"warm-up day {day} of {last}" if day <= last else f"warm-up day {day}, as on day {last}"
        return Value(rate, self.rule.line, True, cause=cause, shared=self.rule.name)

    def sent(self, now: float) -> bool:
        """A mail was sent. True: the counts have changed. Where the clock was set back, the day stays."""
        if now < self._next_midnight:
            return False
        self._last = int(now // DAY)
        self._day += 1
        self._next_midnight = (self._last + 1) * DAY
        self._counts[self._key] = {"day": self._day, "date": date.fromordinal(_EPOCH + self._last).isoformat()}
        return True

    def learn(self, day: int, last: date) -> None:
        """Elsewhere ``day`` days were counted, the last of them ``last``."""
        self._day = day
        self._last = last.toordinal() - _EPOCH
        self._next_midnight = (self._last + 1) * DAY

    @property
    def key(self) -> str:
        """Under which name it is counted."""
        return self._key

    def __repr__(self) -> str:
        return f"<Schedule {self._key}: {self._day} days, the last {date.fromordinal(_EPOCH + self._last)}>"


class Warmup:
    """All schedules, with what was counted: ``counts`` as an earlier one left them. What of it cannot be read is left
    out and stands in ``problems``; counts of schedules that are no longer configured are kept."""

    def __init__(self, rules: Collection[Rule], counts: object = None) -> None:
        self.rules = tuple(rules)
        self.counts: Counts = {}
        self.problems: list[str] = []
        self._schedules: dict[tuple[str, str], Schedule] = {}
        self._read({} if counts is None else counts)

    def _read(self, counts: object) -> None:
        if not isinstance(counts, Mapping):
            self.problems.append("the days of the warm-up are no object")
            return
        for name, count in counts.items():
            try:
                day, last = count["day"], date.fromisoformat(count["date"])
                if type(day) is not int or not 0 < day < 2**31 or last.toordinal() < _EPOCH:
                    raise ValueError
                self.counts[str(name)] = {"day": day, "date": last.isoformat()}
            except (ValueError, TypeError, KeyError, IndexError):
                self.problems.append(f"warm-up of {name}: is no day with its date")

    def learn(self, name: str, day: int, last: str) -> bool:
        """Elsewhere ``day`` days of the schedule ``name`` were counted, the last on the date ``last``. False: that is
        not later than what was counted here. Raises ValueError where it is no day."""
        when = date.fromisoformat(last)
        if not 0 < day < 2**31 or when.toordinal() < _EPOCH:
            raise ValueError(f"{day}, {last} is no day of a warm-up")
        count = self.counts.get(name)
        if count is not None and (count["date"], count["day"]) >= (when.isoformat(), day):
            return False
        day = max(day, count["day"] if count is not None else 0)
        self.counts[name] = {"day": day, "date": when.isoformat()}
        for schedule in self._schedules.values():
            if schedule.key == name:
                schedule.learn(day, when)
        return True

    def schedule_of(
        self, source: str | None, domains: Collection[str], mx_names: Collection[str], pools: Pools
    ) -> Schedule | None:
        """The schedule that holds for mail from ``source`` to a site: the last that fits. To be asked once for each
        (site, source) and remembered."""
        if source is None:
            return None
        for rule in reversed(self.rules):
            if is_from(rule, source, pools) and _is_to(rule, domains, mx_names):
                schedule = self._schedules.get((rule.name, source))
                if schedule is None:
                    schedule = self._schedules[rule.name, source] = Schedule(rule, source, self.counts)
                return schedule
        return None

    def next_change(self, now: float) -> float:
        """When the rates may be others: the next midnight, UTC."""
        return (now // DAY + 1) * DAY

    def __bool__(self) -> bool:
        return bool(self.rules)


def _is_to(rule: Rule, domains: Collection[str], mx_names: Collection[str]) -> bool:
    return _fits(rule.domain, domains) and _fits(rule.mx, mx_names)


def _fits(wanted: str | None, names: Collection[str]) -> bool:
    return wanted is None or any(pattern(wanted)(name.lower()) for name in names)
