"""Exchange: what a member says to the store, and what it is told: one text each way, for all limits it uses."""

from __future__ import annotations

import msgspec

from mailerq.shares.division import Claim


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One limit: what the member holds from now on (``claim``: at most what it was given), how much it would like to
    hold (``ask``), how much it could use (``want``), the limit as it knows it (``number`` units; ``rate``: what all the
    parts are), after how many seconds what it gives back is paid for (``due``), and what one more unit would take
    (``pay``: should it never be heard of again)."""

    claim: int
    ask: int
    want: int
    number: int
    rate: float
    due: float
    pay: float


class Question(msgspec.Struct, frozen=True):
    """Said by a member, its ``seq``-th in this ``life`` (of two lives the later is the greater text). ``leave``: the
    last."""

    me: str
    life: str
    seq: int
    lease: float
    grace: float
    leave: bool
    lines: list[Line]


class Told(msgspec.Struct, frozen=True):
    """Of one limit: what the member holds, after how many seconds what it was given may be used, for how many seconds
    it has held or awaited some, and what all others claim."""

    held: int
    due: float
    since: float
    others: list[Claim]


class Answer(msgspec.Struct, frozen=True):
    """``members``: all that were heard of lately. ``told`` is empty where the question came late: another, asked after
    it, was answered before."""

    members: list[str]
    told: list[Told]


class Unreadable(ValueError):
    """That is no answer."""


def read_answer(text: object) -> Answer:
    """The answer that the store's script wrote. Raises Unreadable."""
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        found = msgspec.json.decode(text, type=_Written)
        lines = found.told if isinstance(found.told, list) else []
        told = [Told(held, due, since, _claims(others)) for held, due, since, others in lines]
        return Answer(sorted(found.members), told)
    except (ValueError, TypeError) as error:
        raise Unreadable(f"the store gave an answer that cannot be read: {error}") from None


_Other = tuple[str, int, int, float, float, float, int]
_Empty = dict[str, int]  # Lua does not tell an empty list from an empty table


class _Written(msgspec.Struct):
    members: list[str] | _Empty
    told: list[tuple[int, float, float, list[_Other] | _Empty]] | _Empty


def _claims(others: list[_Other] | _Empty) -> list[Claim]:
    return [Claim(*other) for other in others] if isinstance(others, list) else []
