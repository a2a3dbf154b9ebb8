"""Values in a template: what they are as text, as number, as truth; how they are counted with and compared. Pure.

As in the original: an empty text and "0" are false, lists have no text, a text is the number that it begins with, whole
numbers have whole quotients. None is what is not there.
"""

from __future__ import annotations

import math
import re
from typing import Any

from mailerq.content.template_budget import Budget, TemplateError

_NUMBER = re.compile(r"\s*([+-]?[0-9]+)(\.[0-9]+)?(e[+-]?[0-9]{1,3}(?![0-9]))?", re.IGNORECASE | re.ASCII)
_MOST = 2**63
_LONGEST_NUMBER = 400  # digits of a number in a text that are looked at


def text_of(value: Any) -> str:
    """A value as it is shown."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, float):
        shown = f"{value:.5f}"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    return ""


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python shows
        raise TemplateError("a number has too many digits") from None


def number_of(value: Any) -> int | float:
    """A value as it is counted with; 0 for what is no number. Whole numbers of more than 64 bits are floats."""
    if isinstance(value, str):
        return _read(value[:_LONGEST_NUMBER])
    if isinstance(value, int):
        return _bounded(int(value))
    return value if isinstance(value, float) else 0


def _read(text: str) -> int | float:
    found = _NUMBER.match(text)
    if found is None:
        return 0
    return float(found[0]) if found[2] or found[3] else _bounded(int(found[1]))


def _bounded(value: int) -> int | float:
    if -_MOST <= value < _MOST:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def whole_of(value: Any) -> int:
    """A value as a whole number of at most 64 bits."""
    number = number_of(value)
    if isinstance(number, float):
        if math.isnan(number):
            return 0
        return int(max(-_MOST, min(number, _MOST - 1024)))
    return number


def truth_of(value: Any) -> bool:
    """Whether a value is true: any but empty ones, 0 and "0"."""
    return bool(value) and value != "0"


def arithmetic(sign: str, left: Any, right: Any) -> int | float:
    """``left sign right`` for + - * / %. Raises TemplateError."""
    one, other = number_of(left), number_of(right)
    if sign == "%":
        divisor = whole_of(other)
        if not divisor:
            raise TemplateError("division by zero")
        return int(math.copysign(abs(whole_of(one)) % abs(divisor), whole_of(one)))
    if sign == "/":
        return _quotient(one, other)
    if sign == "+":
        found = one + other
    elif sign == "-":
        found = one - other
    else:
        found = one * other
    return _bounded(found) if isinstance(found, int) else found


def _quotient(one: int | float, other: int | float) -> int | float:
    if not other:
        raise TemplateError("division by zero")
    if isinstance(one, float) or isinstance(other, float):
        return one / other
    quotient = abs(one) // abs(other)
    return _bounded(quotient if (one < 0) == (other < 0) else -quotient)


def compare(budget: Budget, sign: str, left: Any, right: Any) -> bool:
    """``left sign right`` for == != < <= > >=."""
    if sign in ("==", "!="):
        return _equal(budget, left, right) is (sign == "==")
    one, other = number_of(left), number_of(right)
    if sign == "<":
        return one < other
    if sign == "<=":
        return one <= other
    return one > other if sign == ">" else one >= other


def _equal(budget: Budget, left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return truth_of(left) is truth_of(right)
    if isinstance(left, int | float) or isinstance(right, int | float):
        return number_of(left) == number_of(right)
    one, other = text_of(left), text_of(right)
    budget.take(min(len(one), len(other)) // 1000)
    return one == other


def member(budget: Budget, of: Any, key: Any) -> Any:
    """``of.key``; None where there is none. Of a list, ``key`` counts from 0. A name with ``-`` is written with
    ``_``."""
    if isinstance(of, list):
        at = whole_of(key)
        return of[at] if 0 <= at < len(of) and (not isinstance(key, str) or key.isdigit()) else None
    if not isinstance(of, dict):
        return None
    name = text_of(key)
    if name in of:
        return of[name]
    if "_" not in name:
        return None
    budget.take(1 + len(of) // 10)
    return next((value for other, value in of.items() if other.replace("-", "_") == name), None)
