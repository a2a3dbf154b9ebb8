"""A rule: one thing that may be wrong with a message; and a finding: one place where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from mailerq.lint.message import Message

RFC5322 = "RFC 5322"
BULK = "Gmail, Yahoo (February 2024) and Outlook.com (May 2025) demand it of who sends 5,000 mails a day"
GMAIL = "Gmail's guidelines for senders"


class Severity(StrEnum):
    """``error``: it is refused, or thrown away, by somebody large. ``warning``: it does harm. ``hint``: it could be
    better."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


Spot = tuple[int, str]
"""A line of the message, counted from 1 (0: the whole of it), and what is wrong there."""


class Rule(Struct, frozen=True):
    """``look`` gives the spots. ``why`` names who says so, ``fix`` what to do. ``bulk``: an error where the mail is
    known to be bulk."""

    name: str
    severity: Severity
    why: str
    fix: str
    look: Callable[[Message], Iterable[Spot]]
    bulk: bool = False


class Finding(Struct, frozen=True):
    """One thing that is wrong."""

    severity: Severity
    rule: str
    line: int
    what: str
    why: str
    fix: str


def error(name: str, why: str, fix: str, look: Callable[[Message], Iterable[Spot]]) -> Rule:
    """A rule whose findings are errors."""
    return Rule(name, Severity.ERROR, why, fix, look)


def warning(name: str, why: str, fix: str, look: Callable[[Message], Iterable[Spot]], bulk: bool = False) -> Rule:
    """A rule whose findings are warnings; ``bulk``: errors in bulk mail."""
    return Rule(name, Severity.WARNING, why, fix, look, bulk)


def hint(name: str, why: str, fix: str, look: Callable[[Message], Iterable[Spot]]) -> Rule:
    """A rule whose findings are hints."""
    return Rule(name, Severity.HINT, why, fix, look)
