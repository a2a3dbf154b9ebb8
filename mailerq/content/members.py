"""Patterns of the configuration that members of a job are put into: ``bounce+{recipient.local}@bounces.example.org``.

Pure; what a member's value must look like where it is put is said by those who use the patterns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from mailerq.job import Job

Value = Callable[[str], str | None]
"""The value of a member by its name; None: there is none."""

ADDRESSES = ("recipient", "envelope")
NEVER = ("mime", "dkim", "smarthost", "queues", "results", "seen", "headers", "dsn")
"""Properties that are no short texts, or that nobody outside may see."""
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*")


@attrs.frozen
class Member:
    """A place in a pattern where the value of ``name`` is put."""

    name: str


Pieces = tuple[str | Member, ...]


def parse(text: str) -> Pieces:
    """The texts and members of a pattern, in their order; ``{{`` and ``}}`` are braces. Raises ValueError."""
    pieces: list[str | Member] = []
    for found in _PIECE.finditer(text):
        piece = found[0]
        if found[1] is not None:
            pieces.append(_member(found[1].strip()))
            continue
        if piece in ("{", "}"):
            raise ValueError(f"has a {piece} without its other half (a brace that is meant is written twice)")
        piece = piece[0] if piece in ("{{", "}}") else piece
        before = pieces[-1] if pieces else None
        if isinstance(before, str):
            pieces[-1] = before + piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def _member(name: str) -> Member:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{{{name}}} is no member: {{recipient.local}}, {{tag}}, or a property of the job by its name")
    first, _, rest = name.partition(".")
    if first in NEVER:
        raise ValueError(f"{{{name}}} cannot be used in a pattern")
    if first in ADDRESSES and rest not in ("", "local", "domain"):
        raise ValueError(f"{{{name}}} is no member: of an address there are local and domain")
    return Member(name)


def of(job: Job) -> Value:
    """The members of ``job``: ``recipient`` and ``envelope``, their ``.local`` and ``.domain`` (lower case), ``tag``
    (the first), and each property that is a text, a number or a truth by its name; dots lead into objects."""

    def value(name: str) -> str | None:
        first, _, rest = name.partition(".")
        if first in ADDRESSES:
            return _of_address(job.known.recipient if first == "recipient" else job.known.envelope, rest)
        if name == "tag":
            return job.tags[0] if job.tags else None
        return _of_pieces(job, first, rest)

    return value


def _of_address(address: str | None, part: str) -> str | None:
    if not address:
        return None
    local, _, domain = address.rpartition("@")
    return {"": address, "local": local, "domain": domain.lower()}[part]


def _of_pieces(job: Job, first: str, rest: str) -> str | None:
    raw = job.pieces.get(first)
    if raw is None:
        return None
    try:
        found: Any = json.loads(bytes(raw))
    except (ValueError, RecursionError):
        return None
    for name in rest.split(".") if rest else ():
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int | float) else None
