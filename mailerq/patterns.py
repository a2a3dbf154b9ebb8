"""Patterns for the text of a reply: a part of it, a wildcard, a regular expression. Never case-sensitive.

What a host says is hostile: at most ``LONGEST`` characters are looked at, and regular expressions that take too long
for some texts are refused where that can be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST = 1000  # characters of a text that are looked at
_ENDLESS = 64  # repeats from which on a repeat counts as one without end
_MOST_ENDLESS = 3


def is_regex(given: str) -> bool:
    """Whether it is written as a regular expression: /…/."""
    return len(given) > 2 and given.startswith("/") and given.endswith("/")


def trouble(given: str) -> str:
    """What is wrong with a pattern; empty if nothing is."""
    if not is_regex(given):
        return "matches every text" if not given.strip("* ") else ""
    try:
        re.compile(given[1:-1], re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return _slowness(given[1:-1])


def _slowness(pattern: str) -> str:
    """Why a regular expression may take too long: repeats within repeats, or too many without end."""
    import re._parser as parser  # type: ignore[import-not-found]  # the standard library's own

    endless = 0

    def walk(items: Any, inside: bool) -> str:
        nonlocal endless
        for operator, argument in items:
            repeats = str(operator) in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] >= _ENDLESS
            endless += repeats
            if repeats and inside:
                return "repeats what is repeated, as (a+)+ does: some texts would take for ever"
            for part in _parts(argument):
                found = walk(part, inside or repeats)
                if found:
                    return found
        return ""

    def _parts(argument: Any) -> Iterable[Any]:
        if isinstance(argument, parser.SubPattern):
            yield argument
        elif isinstance(argument, tuple | list):
            for one in argument:
                yield from _parts(one)

    found = walk(parser.parse(pattern), False)
    if not found and endless > _MOST_ENDLESS:
        return f"has more than {_MOST_ENDLESS} of * and +: some texts would take long"
    return found


class Texts:
    """Some patterns, of which one must be found. None at all: every text will do."""

    __slots__ = ("_parts", "_regexes", "_wildcards", "any")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.any = not patterns
        self._regexes = [re.compile(given[1:-1], re.IGNORECASE) for given in patterns if is_regex(given)]
        plain = [given.lower() for given in patterns if not is_regex(given)]
        self._parts = tuple(given for given in plain if "*" not in given)
        self._wildcards = [given.split("*") for given in plain if "*" in given]

    def found(self, text: str) -> bool:
        """Whether a text has one of them."""
        return self.any or self.found_in(text[:LONGEST], text[:LONGEST].lower())

    def found_in(self, text: str, lower: str) -> bool:
        """The same, for a text that is short enough, and itself in lower case."""
        for part in self._parts:
            if part in lower:
                return True
        for pieces in self._wildcards:
            if _wild(pieces, lower):
                return True
        return any(regex.search(text) for regex in self._regexes)


def _wild(pieces: list[str], text: str) -> bool:
    """Whether the whole text is these pieces in this order, with anything between them. Never goes back."""
    first, *middle, last = pieces
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return text.endswith(last)
