"""Parts: a rate in whole numbers, so that it is divided as a count is.

Pure. A part is as much as one member can use at an even pace without having to wait long for its next unit; a rate that
gives less than two of those is one part, which goes around.
"""

from __future__ import annotations

MOST = 64  # parts of a rate
_ONE = 60.0  # messages or connections a minute that make a part: one a second
_ONE_OF_BYTES = 6_000_000.0


def parts_of(per_minute: float, counts_bytes: bool) -> int:
    """In how many parts a rate is shared."""
    return max(1, min(MOST, int(per_minute / (_ONE_OF_BYTES if counts_bytes else _ONE))))


def rate_of(held: int, parts: int, per_minute: float, counts_bytes: bool) -> float:
    """What ``held`` of ``parts`` parts of a rate are, a minute.

    Who holds some, but not all of them, goes without one unit a minute: each member's first unit in a minute may be one
    that was paid for before it, so that together they would send as many more as there are members.
    """
    if held <= 0:
        return 0.0
    if held >= parts:
        return per_minute
    rate = per_minute * held / parts
    return rate if counts_bytes else rate - 1.0


def wanted_parts(waiting: int, parts: int, per_minute: float, counts_bytes: bool) -> int:
    """How many parts a member can make use of that has so many mails waiting: what sends them in two seconds."""
    if waiting <= 0:
        return 0
    units = waiting * (50_000 if counts_bytes else 1)
    return max(1, min(parts, -int(-units * parts * 30 // per_minute)))
