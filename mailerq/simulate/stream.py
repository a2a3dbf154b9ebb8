"""A stream of jobs: how many, to whom, and when.

Pure values; ``traffic.py`` makes jobs of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mailerq.shapes import ip, items, key, plain, size, table, text, time, whole
from mailerq.units import parse_rate


@attrs.frozen
class Stream:
    """``jobs`` of them, evenly ``over`` so many seconds (0: all at once), beginning ``after`` so many. ``to``: weights
    of the providers, by name; empty: the weights that the mix has. What the jobs say: ``tags`` (one of them each, in
    turn by chance), ``priority``, ``bytes`` (their size), ``envelope``, ``pool``, ``ips``."""

    jobs: int = key(attrs.NOTHING, whole(0))
    after: float = key(0.0, time(zero=True))
    over: float = key(0.0, time(zero=True))
    to: Mapping[str, float] = key(attrs.Factory(dict), table(plain(parse_rate)))
    tags: tuple[str, ...] = key((), items(text, single=True))
    priority: int | None = key(None, whole(0, 255), null=True)
    bytes: int = key(5000, size)
    envelope: str = key("news@sender.example", text)
    pool: str | None = key(None, text, null=True)
    ips: tuple[str, ...] = key((), items(ip, single=True))
    name: str = ""
