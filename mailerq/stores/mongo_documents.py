"""Bodies as documents of MongoDB.

A body is a document: ``_id`` is its key, ``value`` the bytes, ``expire`` and ``modified`` are dates (no ``expire``:
never), ``encoding`` is ``gzip`` or null. A larger one is a master, with ``parts`` (how many), ``token`` and ``size``
instead of ``value``, and as many parts, whose ``_id`` is the document ``{of: key, token, part: 0…}``. Each time that it
is put it has another token: whoever reads it meanwhile has parts of one body. Parts are swept a day after their master:
only those that a crash has left without one are still there then.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

WHOLE = 16_000_000
"""Bytes of a body that fit in a document, which has at most 16 MiB."""
PART = 4_000_000
GRACE = 86400.0
LEADS = {"_id": True, "parts": True, "token": True}
"""The fields that say whether a body has parts, and which."""
_FAR = 253_370_764_800.0  # the year 9999


class Unreadable(ConnectionError):
    """There is something by that key, but no body that can be made out."""


def moment(at: float) -> datetime:
    """Epoch seconds as a date."""
    return datetime.fromtimestamp(min(max(at, 0.0), _FAR), UTC)


def whole(key: str, body: bytes, expires: float | None, now: float) -> dict[str, Any]:
    """A body as one document."""
    return {"_id": key, "value": body, **_times(expires, now), "encoding": _encoding(body)}


def parts(key: str, token: str, body: bytes, expires: float | None, now: float) -> Iterator[dict[str, Any]]:
    """Its parts, one at a time."""
    times = _times(None if expires is None else expires + GRACE, now)
    for number, at in enumerate(range(0, len(body), PART)):
        yield {"_id": _part_id(key, token, number), "value": body[at : at + PART], **times}


def master(key: str, token: str, body: bytes, expires: float | None, now: float) -> dict[str, Any]:
    """What leads to its parts."""
    count = -(-len(body) // PART)
    size = {"parts": count, "token": token, "size": len(body)}
    return {"_id": key, **size, **_times(expires, now), "encoding": _encoding(body)}


def _encoding(body: bytes) -> str | None:
    return "gzip" if body.startswith(b"\x1f\x8b\x08") else None


def _times(expires: float | None, now: float) -> dict[str, Any]:
    return {"expire": None if expires is None else moment(expires), "modified": moment(now)}


def _part_id(key: str, token: str, number: int) -> dict[str, Any]:
    return {"of": key, "token": token, "part": number}


def is_master(document: dict[str, Any]) -> bool:
    """Whether its body lies in parts."""
    return isinstance(document.get("parts"), int)


def is_part(document: dict[str, Any]) -> bool:
    """Whether it is one of those parts."""
    return isinstance(document["_id"], dict)


def token_of(master: dict[str, Any]) -> str:
    """Which parts are its own."""
    return str(master.get("token"))


def part_ids(master: dict[str, Any]) -> list[dict[str, Any]]:
    """The ``_id`` of each of its parts, in order."""
    return [_part_id(master["_id"], token_of(master), number) for number in range(min(master["parts"], 10_000))]


def is_over(document: dict[str, Any], now: float) -> bool:
    """Whether its time is over. ``expire`` may be a date or, of another program, epoch seconds."""
    expire = document.get("expire")
    if isinstance(expire, datetime):
        return expire.timestamp() <= now
    return isinstance(expire, int | float) and not isinstance(expire, bool) and expire <= now


def body_of(document: dict[str, Any]) -> bytes:
    """The body; one whose ``encoding`` is gzip as it is. Unreadable, where another program has put something else."""
    value = document.get("value")
    body = value.encode() if isinstance(value, str) else value
    if not isinstance(body, bytes):
        raise Unreadable(f"the document {document['_id']!r:.100} has no body in 'value'")
    if document.get("encoding") not in (None, "", "identity", "gzip"):
        raise Unreadable(f"the document {document['_id']!r:.100} has an unknown encoding")
    return bytes(body)
