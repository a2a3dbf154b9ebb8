"""The header that comes back of a message that was only described (a JSON object). Pure."""

from __future__ import annotations

from email.header import Header
from email.utils import formataddr, getaddresses
from typing import Any

import msgspec

from mailerq.content.header_block import make

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_MOST = 1000  # characters of a value


def is_described(body: bytes) -> bool:
    """Whether it is a description, not a message."""
    return body[:64].lstrip()[:1] == b"{"


def header_of(description: bytes) -> bytes | None:
    """From, To and Subject, as far as they are there; None: none of them is."""
    try:
        pieces = msgspec.json.decode(description, type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return None
    found = [_field(name, pieces[name.lower()]) for name in ("From", "To", "Subject") if name.lower() in pieces]
    return b"".join(found) or None


def _field(name: str, piece: msgspec.Raw) -> bytes:
    try:
        value = msgspec.json.decode(piece)
        text = _text(value) if name == "Subject" else ", ".join(filter(None, map(_address, _listed(value))))
        return make(name, text).raw if text else b""
    except _UNREADABLE:
        return b""


def _listed(value: Any) -> list[Any]:
    return value[:20] if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    line = " ".join(value.split())[:_MOST]
    return line if line.isascii() else Header(line, "utf-8", header_name="Subject").encode(linesep="").strip()


def _address(value: Any) -> str:
    if isinstance(value, str):
        return ", ".join(
            _mailbox(name, address) for name, address in getaddresses([value[:_MOST]]) if address.isascii()
        )
    if not isinstance(value, dict):
        return ""
    return _mailbox(value.get("name"), value.get("address") or value.get("email"))


def _mailbox(name: Any, address: Any) -> str:
    if not (isinstance(address, str) and address and address.isascii()):
        return ""
    return formataddr((" ".join(name.split())[:_MOST] if isinstance(name, str) else "", address))
