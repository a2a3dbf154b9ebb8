"""Patterns for the text of a reply: a part of it, a wildcard, a regular expression. Never case-sensitive.

What a host says is hostile: at most ``LONGEST`` characters are looked at, and regular expressions that take too long
for some texts are refused.
"""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]  # the standard library's own
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mailerq.regex_cost import MOST, steps

LONGEST = 1000  # characters of a text that are looked at


def is_regex(given: str) -> bool:
    """Whether it is written as a regular expression: /…/."""
    return len(given) > 2 and given.startswith("/") and given.endswith("/")


def trouble(given: str) -> str:
    """What is wrong with a pattern; empty if nothing is."""
    if not is_regex(given):
        return "matches every text" if not given.strip("* ") else ""
    try:
        re.compile(given[1:-1], re.IGNORECASE)
        takes = steps(given[1:-1], LONGEST)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    if takes > MOST:
        return "takes too long for some texts, for its repeats multiply; a wildcard, as in *rate*limit*, never does"
    return ""


Test = Callable[[str, str], bool]  # of a text, and the same in lower case


def tests_of(patterns: Sequence[str]) -> list[tuple[str, Test | None]]:
    """Patterns as pairs: only a text that has the literal (lower case; may be empty) can be meant, and it is if it
    passes the test, or there is none. Looking for literals first makes hundreds of patterns cheap."""
    found: list[tuple[str, Test | None]] = []
    for given in patterns:
        if is_regex(given):
            test = partial(_searched, re.compile(given[1:-1], re.IGNORECASE))
            found += [(literal, test) for literal in _needed(given[1:-1])]
        elif "*" in given:
            pieces = given.lower().split("*")
            found.append((max(pieces, key=len), partial(_wild, pieces)))
        else:
            found.append((given.lower(), None))
    return found


def matches(patterns: Sequence[str], text: str) -> bool:
    """Whether a text has one of them. None at all: every text will do."""
    text = text[:LONGEST]
    lower = text.lower()
    return not patterns or any(
        literal in lower and (test is None or test(text, lower)) for literal, test in tests_of(patterns)
    )


def _searched(regex: re.Pattern[str], text: str, _lower: str) -> bool:
    return regex.search(text) is not None


def _needed(pattern: str) -> list[str]:
    """Literals of which a text must have one for a regular expression to be found in it."""
    return sorted(_literals(parser.parse(pattern, re.IGNORECASE)) or {""})


def _literals(items: Any) -> set[str]:
    """The longest of what must be there; empty: nothing must."""
    choices: list[set[str]] = []
    run = ""
    for operator, argument in items:
        name = str(operator)
        if name == "LITERAL" and argument < 128:
            run += chr(argument).lower()
            continue
        choices.append({run})
        run = ""
        if name == "SUBPATTERN":
            choices.append(_literals(argument[3]))
        elif name == "BRANCH":
            ways = [_literals(way) for way in argument[1]]
            choices.append(set().union(*ways) if all(ways) else set())
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and argument[0] > 0:
            choices.append(_literals(argument[2]))
    choices.append({run})
    return max((choice for choice in choices if choice and "" not in choice), key=_shortest, default=set())


def _shortest(choice: set[str]) -> int:
    return min(map(len, choice))


def _wild(pieces: list[str], _text: str, lower: str) -> bool:
    """Whether the whole text is these pieces in this order, with anything between them. Never goes back."""
    first, *middle, last = pieces
    if not lower.startswith(first) or len(lower) < len(first) + len(last):
        return False
    at, end = len(first), len(lower) - len(last)
    for piece in middle:
        at = lower.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return lower.endswith(last)
