"""The words of NOTIFY and RET (RFC 3461 sections 4.1 and 4.3). Pure, and quick to import."""

from __future__ import annotations

import re

NEVER, SUCCESS, FAILURE, DELAY = "NEVER", "SUCCESS", "FAILURE", "DELAY"
WORDS = (NEVER, SUCCESS, FAILURE, DELAY)
NOTHING = (NEVER,)  # what somebody wants to know who wants to know nothing
FULL, HDRS = "FULL", "HDRS"
_SPLIT = re.compile(r"[\s,]+")


def read_notify(name: str, given: str | list[str]) -> tuple[str, ...]:
    """The words in their usual order, whatever their case. Raises ValueError that begins with ``name``."""
    parts = _SPLIT.split(given.strip()) if isinstance(given, str) else [part.strip() for part in given]
    words = {part.upper() for part in parts if part}
    for word in sorted(words.difference(WORDS)):
        raise ValueError(f"{name}: {word[:40]!r} is none of {', '.join(WORDS)}")
    if NEVER in words and len(words) > 1:
        raise ValueError(f"{name}: {NEVER} stands alone (RFC 3461 section 4.1)")
    return tuple(word for word in WORDS if word in words)


def read_ret(name: str, given: str) -> str:
    """FULL or HDRS, whatever its case. Raises ValueError that begins with ``name``."""
    word = given.strip().upper()
    if word not in (FULL, HDRS):
        raise ValueError(f"{name}: {given[:40]!r} is none of {FULL}, {HDRS}")
    return word
