"""How long a regular expression may take on a hostile text: an upper bound, from its form alone.

``re`` tries one way after the other, and a text can be made for which it has to try them all. Counted are the steps for
a text of some length: places where it may begin, times the ways to go on from each part to the next.
"""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]  # the standard library's own
from collections.abc import Sequence
from typing import Any

import attrs

MOST = 1e8  # steps: about a second
_HUGE = 1e30


@attrs.define
class _Ways:
    """``longest``: how long the text is, ``paths``: in how many ways one may have come here, ``steps``: how many were
    taken, ``cuts``: how many places of the text were chosen on the way. They stand in order, so that of n places k can
    be chosen in n^k / k! ways."""

    longest: int
    paths: float = 1.0
    steps: float = 0.0
    cuts: int = 0

    def choose(self, looked_at: float, going_on: float) -> None:
        """One of many places is chosen: so many are looked at, and from so many it goes on."""
        self.steps = min(self.steps + self.paths * looked_at, _HUGE)
        self.cuts += 1
        self.paths = min(self.paths * max(going_on / self.cuts, 1.0), _HUGE)

    def multiply(self, ways: float) -> None:
        """There are so many ways to go on from each."""
        self.paths = min(self.paths * ways, _HUGE)
        self.steps = min(self.steps + self.paths, _HUGE)


def steps(pattern: str, longest: int) -> float:
    """The most steps that a search in a text of ``longest`` characters may take. Raises ``re.error``, ``OverflowError``
    or ``RecursionError`` where it is no regular expression."""
    parsed = parser.parse(pattern, re.IGNORECASE)
    items = list(parsed)
    ways = _Ways(longest)
    if not _is_anchored(items, parsed.state.flags):
        ways.choose(longest, longest / _period(items))
    _sequence(items, ways)
    return min(ways.steps + ways.paths, _HUGE)


def _is_anchored(items: Sequence[Any], flags: int) -> bool:
    if not items or str(items[0][0]) != "AT":
        return False
    where = str(items[0][1])
    return where == "AT_BEGINNING_STRING" or (where == "AT_BEGINNING" and not flags & re.MULTILINE)


def _period(items: Sequence[Any]) -> int:
    """How far apart two occurrences of the literal at the beginning of ``items`` are at least."""
    literal = []
    for operator, argument in items:
        if str(operator) != "LITERAL":
            break
        literal.append(chr(argument).lower())
    return next((size for size in range(1, len(literal)) if literal[size:] == literal[:-size]), len(literal)) or 1


def _sequence(items: Sequence[Any], ways: _Ways) -> None:
    for number, (operator, argument) in enumerate(items):
        name = str(operator)
        if name.endswith("_REPEAT"):
            least, most, body = argument
            _repeat((int(least), int(most)), list(body), ways, _period(items[number + 1 :]))
        elif name == "BRANCH":
            _branch(argument[1], ways)
        elif name == "GROUPREF":  # is compared sign by sign, and may be long
            ways.steps = min(ways.steps + ways.paths * ways.longest, _HUGE)
        elif name == "GROUPREF_EXISTS":
            _branch([part for part in argument[1:] if part], ways)
        else:
            for part in _parts(name, argument):
                _sequence(list(part), ways)


def _parts(name: str, argument: Any) -> list[Any]:
    if name == "ATOMIC_GROUP":
        return [argument]
    return [argument[-1]] if name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT") else []


def _repeat(times: tuple[int, int], body: Sequence[Any], ways: _Ways, period: int) -> None:
    least, most = min(times[0], ways.longest), min(times[1], ways.longest)
    inner = _Ways(ways.longest)
    _sequence(body, inner)
    each = max(inner.paths, 1.0)
    if each == 1.0 and inner.cuts == 0:  # so many times or one more: each number is one way
        if most > least:
            ways.choose(most - least + 1.0, min(most - least + 1.0, ways.longest / period))
        return
    total = 0.0
    for count in range(least, most + 1):
        total += each ** min(count, 60)
        if total > _HUGE:
            break
    ways.multiply(min(max(total, inner.steps), _HUGE))


def _branch(alternatives: Sequence[Any], ways: _Ways) -> None:
    """One or the other: where each begins with another character, only one can be meant."""
    found = []
    for part in alternatives:
        way = _Ways(ways.longest, cuts=ways.cuts)
        _sequence(list(part), way)
        found.append(way)
    firsts = [str(part[0]) if len(part) else "" for part in alternatives]
    differ = len(set(firsts)) == len(firsts) and all(first.startswith("(LITERAL,") for first in firsts)
    paths = [way.paths for way in found]
    ways.steps = min(ways.steps + ways.paths * sum(way.steps + 1.0 for way in found), _HUGE)
    ways.paths = min(ways.paths * (max(paths) if differ else sum(paths)), _HUGE)
    ways.cuts = max(way.cuts for way in found)
