"""What a host offers in its answer to EHLO (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Extensions:
    """``size`` is the largest message in bytes, 0 where the host names no limit, None where SIZE is not offered.
    ``auth`` holds the mechanisms, upper case. ``names`` are all keywords, upper case."""

    pipelining: bool = False
    eightbit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    size: int | None = None
    auth: frozenset[str] = frozenset()
    dsn: bool = False
    names: frozenset[str] = frozenset()


NONE = Extensions()
"""Before EHLO, and after HELO."""


def parse_extensions(lines: Sequence[bytes]) -> Extensions:
    """``lines`` are the texts of the reply without codes, the first being the host's name. Never raises.

    ``AUTH=LOGIN PLAIN``, an old spelling, counts as ``AUTH LOGIN PLAIN``.
    """
    words: dict[str, list[str]] = {}
    for line in lines[1:]:
        keyword, *parameters = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ", 1).split() or [""]
        words.setdefault(keyword, []).extend(parameters)
    size = None
    if "SIZE" in words:
        limit = "".join(words["SIZE"][:1])
        size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 20 else 0
    return Extensions(
        pipelining="PIPELINING" in words,
        eightbit="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        starttls="STARTTLS" in words,
        size=size,
        auth=frozenset(words.get("AUTH", ())),
        dsn="DSN" in words,
        names=frozenset(words) - {""},
    )
