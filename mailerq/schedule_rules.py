"""The entries of ``schedules``: how a local address is warmed up at a provider; from YAML, with all that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import attrs

from mailerq.limit_rules import SCOPES as LIMIT_SCOPES
from mailerq.shapes import each_entry, rate, scalar, wrong
from mailerq.yaml_source import Entry, Items, Node, Problem, Scalar, Table, Wrong, quoted, suggestion

Steps = tuple[tuple[int, float | None], ...]
SCOPES = {name: LIMIT_SCOPES[name] for name in ("ip", "pool", "mx", "domain")}
KEYS = (*SCOPES, "days", "steps")
UNLIMITED = "unlimited"
LAST_DAY = 10_000


@attrs.frozen
class ScheduleRule:
    """One entry of ``schedules``: for which local addresses and where (patterns as in the shell), and from which day on
    how many messages per minute (None: without limit). The first step is that of day 1; days ascend."""

    line: int = attrs.field(eq=False)
    ip: str | None = None
    pool: str | None = None
    mx: str | None = None
    domain: str | None = None
    steps: Steps = ()

    @property
    def name(self) -> str:
        """What it is known by over restarts, wherever it stands: for whom it is."""
        parts = ((name, getattr(self, name)) for name in SCOPES)
        return ", ".join(f"{name} {part}" for name, part in parts if part is not None)

    def rate(self, day: int) -> float | None:
        """Messages per minute on a day; None: without limit."""
        found = None
        for first, per_minute in self.steps:
            if first > day:
                break
            found = per_minute
        return found


def schedule_rule(node: Node) -> ScheduleRule:
    """One entry of ``schedules``."""
    if not isinstance(node, Table):
        raise wrong(node, 'must be a mapping, as in {ip: 192.0.2.7, mx: "*.google.com", days: [50/d, 100/d]}')
    rule: dict[str, Any] = {}

    def read(name: str, entry: Entry) -> None:
        if name in SCOPES:
            rule[name] = SCOPES[name](entry.node)
        else:
            rule["steps"] = _days(entry.node) if name == "days" else _steps(entry.node)

    problems = _missing(node) + each_entry(node, KEYS, read, "cannot be null")
    if problems:
        raise Wrong(problems)
    return ScheduleRule(node.mark.line, **rule)


def _missing(node: Table) -> list[Problem]:
    """What an entry must say."""
    names = node.entries
    problems = []
    if any(name not in KEYS for name in names):
        return []  # one of those may be meant
    if ("ip" in names) == ("pool" in names):
        problems.append("must say for which local addresses it is: either ip or pool")
    if "mx" not in names and "domain" not in names:
        problems.append('must say where to: mx or domain (everywhere: domain: "*")')
    if ("days" in names) == ("steps" in names):
        problems.append("needs either days: [50/d, 100/d] or steps: {1: 50/d, 3: 100/d}")
    return [Problem(node.mark, "", what) for what in problems]


def _days(node: Node) -> Steps:
    if not isinstance(node, Items) or not node.nodes:
        raise wrong(node, "must be a list with a rate for each day: [50/d, 100/d, unlimited]")
    return _rates([(day, str(day - 1), entry) for day, entry in enumerate(node.nodes, 1)])


def _steps(node: Node) -> Steps:
    if not isinstance(node, Table) or not node.entries:
        raise wrong(node, "must be a mapping from days to rates: {1: 50/d, 3: 100/d, 10: unlimited}")
    found: list[tuple[int, str, Node]] = []
    problems = []
    for name, entry in node.entries.items():
        day = int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else 0
        if not 1 <= day <= LAST_DAY:
            problems.append(Problem(entry.mark, name, f"is no day: a number from 1 to {LAST_DAY}"))
        elif found and day <= found[-1][0]:
            problems.append(Problem(entry.mark, name, "days must ascend"))
        else:
            found.append((day, name, entry.node))
    if found and found[0][0] != 1 and not problems:
        problems.append(Problem(node.mark, "", "must begin with day 1"))
    if problems:
        raise Wrong(problems)
    return _rates(found)


def _rates(days: list[tuple[int, str, Node]]) -> Steps:
    """The rates of days, each with the name that an error calls it."""
    read = rate()
    found: list[tuple[int, float | None]] = []
    problems = []
    for at, (day, name, node) in enumerate(days):
        try:
            if isinstance(node, Scalar) and scalar(node).text == UNLIMITED:
                if at + 1 < len(days):
                    raise wrong(node, "only the last day can be unlimited")
                found.append((day, None))
            else:
                found.append((day, read(node)))
        except Wrong as error:
            problems += [problem.under(name) for problem in error.problems]
    if problems:
        raise Wrong(problems)
    return tuple(found)


def doubtful(rules: Iterable[ScheduleRule], pools: Collection[str]) -> list[tuple[str, str]]:
    """What does not fit the rest of the configuration: (the rule's place in the list or a key of it, what)."""
    found = []
    lines: dict[str, int] = {}
    for number, rule in enumerate(rules):
        if rule.pool is not None and rule.pool not in pools:
            found.append((f"{number}.pool", f"there is no pool {quoted(rule.pool)}{suggestion(rule.pool, pools)}"))
        if rule.name in lines:
            found.append((str(number), f"is for the same as the one in line {lines[rule.name]}"))
        lines.setdefault(rule.name, rule.line)
    return found
