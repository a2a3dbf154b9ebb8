"""Division: how many units of a limit each of those members is to have that want some.

Pure. Every member divides by itself what the store told it; the store alone gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

TURN = 5.0
"""Seconds for which a member has what others wait for, where there is less than one unit for each."""

FRESH = 5.0
"""Who has not been heard of for so many seconds is given nothing more: it may be dead. What it holds stays its own."""


@attrs.frozen
class Claim:
    """What one member has of a limit. ``since``: for so many seconds it has held, or waited for, some (below 0: it may
    not use it yet). ``heard``: so many seconds ago it was heard of. ``rate`` and ``number``: the limit as it knows it.
    """

    member: str
    held: int
    want: int
    since: float = 0.0
    heard: float = 0.0
    rate: float = 0.0
    number: int = 0


def divide(limit: int, claims: Iterable[Claim]) -> dict[str, int]:
    """How much each member is to have: whole numbers, together at most ``limit``.

    As much as it wants, where that is enough for all; else nobody gets less than another who gets more than it wants
    (max-min). Where there is less than one for each, they take turns of ``TURN``. What nobody wants stays where it is.
    """
    found: dict[str, int] = {}
    wanting: list[Claim] = []
    all_claims = list(claims)
    for claim in all_claims:
        found[claim.member] = 0
        if claim.heard > FRESH:
            found[claim.member] = claim.held
            limit -= claim.held
        elif claim.want > 0:
            wanting.append(claim)
    limit = max(0, limit)
    if limit < len(wanting):
        for claim in sorted(wanting, key=_turn)[:limit]:
            found[claim.member] = 1
    else:
        _level(limit, wanting, found)
    _leave(limit - sum(found[claim.member] for claim in wanting), all_claims, found)
    return found


def _turn(claim: Claim) -> tuple[int, float, str]:
    """Whose turn it is: who is in the middle of it; then who has waited for longest; then who has had it."""
    if not claim.held:
        return 1, -claim.since, claim.member
    return (0 if claim.since < TURN else 2), -claim.since, claim.member


def _level(limit: int, wanting: Sequence[Claim], found: dict[str, int]) -> None:
    """The same for all, but for those who want less; what cannot be divided goes to who has most already."""
    left = limit
    rest = sorted(wanting, key=lambda claim: claim.want)
    while rest and rest[0].want <= left // len(rest):
        claim = rest.pop(0)
        found[claim.member] = claim.want
        left -= claim.want
    if not rest:
        return
    each, more = divmod(left, len(rest))
    for place, claim in enumerate(sorted(rest, key=lambda claim: (-claim.held, claim.member))):
        found[claim.member] = each + (place < more)


def _leave(spare: int, claims: Sequence[Claim], found: dict[str, int]) -> None:
    """What nobody wants stays with who has it."""
    for claim in claims:
        if spare <= 0:
            return
        kept = min(spare, claim.held - found[claim.member])
        if kept > 0:
            found[claim.member] += kept
            spare -= kept


def part_without_store(limit: int, members: int, rank: int, spread: int) -> int:
    """What a member may use of a limit that it has no share of, while the store is gone: its part of it where all
    ``members`` have one, together ``limit``. Single units go to others for each limit (``spread``)."""
    if members < 1:
        return 0
    return limit // members + ((rank + spread) % members < limit % members)
