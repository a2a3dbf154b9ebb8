"""Regular expressions in templates: only those that cannot take long. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from mailerq.content.template_budget import Budget, TemplateError
from mailerq.regex_cost import MOST, steps

_LONGEST_PATTERN = 500
_LONGEST_TEXT = 20_000
_WORTH = 200  # steps of a regular expression that are one of ours
_REFERENCE = re.compile(r"[$\\]([0-9&])")


def found_in(budget: Budget, text: str, pattern: str) -> bool:
    """``text =~ pattern``. Raises TemplateError."""
    return _affordable(budget, text, pattern).search(text) is not None


def replaced(budget: Budget, text: str, pattern: str, instead: str) -> str:
    """``text`` with ``instead`` for all that is found; in it, ``$1`` is what the first group found and ``$&`` all.
    Raises TemplateError."""
    regex = _affordable(budget, text, pattern)
    pieces = _REFERENCE.split(instead)  # text, reference, text, reference, … text
    if any(name.isdigit() and int(name) > regex.groups for name in pieces[1::2]):
        raise TemplateError(f"the regular expression {_cut(pattern)!r} has only {regex.groups} groups")

    def replace(found: re.Match[str]) -> str:
        made = "".join(
            (found[int(piece) if piece.isdigit() else 0] or "") if number % 2 else piece
            for number, piece in enumerate(pieces)
        )
        budget.make(len(made) + len(pieces))
        return made

    return regex.sub(replace, text)


def _affordable(budget: Budget, text: str, pattern: str) -> re.Pattern[str]:
    if len(text) > _LONGEST_TEXT:
        raise TemplateError(f"regular expressions are for texts of at most {_LONGEST_TEXT} characters")
    if len(pattern) > _LONGEST_PATTERN:
        raise TemplateError(f"a regular expression is longer than {_LONGEST_PATTERN} characters")
    budget.take(10 + len(text) // 100)
    unit = 16 << max(len(text).bit_length() - 7, 0)  # few different lengths, so that what is known of them is kept
    magnitude = (len(text) // unit + 1) * unit
    if budget.is_new(pattern):
        budget.take(1000 + sum(map(pattern.count, "*+?{")) * magnitude // 4)
    regex, takes = _judged(pattern, magnitude)
    if takes > MOST:
        raise TemplateError(f"the regular expression {_cut(pattern)!r} takes too long for some texts")
    budget.take(int(takes / _WORTH))
    return regex


@lru_cache(maxsize=256)
def _judged(pattern: str, longest: int) -> tuple[re.Pattern[str], float]:
    """The pattern, and how many steps it may take."""
    try:
        return re.compile(pattern), steps(pattern, longest)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise TemplateError(f"{_cut(pattern)!r} is no regular expression: {error}") from None


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
