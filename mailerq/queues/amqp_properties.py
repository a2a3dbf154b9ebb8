"""The content properties of what is published over AMQP.

Pure. All but headers and message id are encoded once for each kind of message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailerq.interfaces import Publication
from mailerq.queues import delays, methods, tables

_KEEP = 4096  # kinds of messages of which the encoded properties are kept
_COPIES = ("CC", "BCC")  # headers that make the broker copy a message


class Properties:
    """``persistent``: whether the broker is to write what is published to its disk."""

    def __init__(self, persistent: bool) -> None:
        self._mode = 2 if persistent else 1
        self._ends: dict[tuple[int | None, str | None, bool], tuple[bytes, bytes]] = {}

    def written(self, publication: Publication, headers: Mapping[str, Any] | None) -> bytes:
        """Those of a publication, with these headers."""
        identity = publication.message_id
        key = (publication.priority, publication.encoding, identity is not None)
        front, back = self._ends.get(key) or self._encoded(*key)
        if headers:
            front = (front[0] | 0x20).to_bytes(1, "big") + front[1:] + _headers(headers)
        if identity is None:
            return front + back
        raw = identity.encode("utf-8", "replace")[:255]
        return b"%b%b%c%b" % (front, back, len(raw), raw)

    def _encoded(self, priority: int | None, encoding: str | None, with_id: bool) -> tuple[bytes, bytes]:
        """Flags and what stands in front of the headers; what stands between them and the message id."""
        flags = 0x9000 | (0x4000 if encoding else 0) | (0x0800 if priority is not None else 0) | 0x80 * with_id
        front = flags.to_bytes(2, "big") + tables.short_string("application/json")
        if encoding:
            front += tables.short_string(encoding)
        back = bytes((self._mode,)) + (b"" if priority is None else bytes((min(max(priority, 0), 255),)))
        if len(self._ends) >= _KEEP:
            self._ends.clear()
        ends = self._ends[priority, encoding, with_id] = (front, back)
        return ends

    def passed_on(self, properties: dict[str, Any], due: int) -> bytes:
        """Those of a message that goes on to its next delay queue: without the trace of the way so far, and without
        what makes the broker copy or refuse it."""
        kept = {name: value for name, value in properties.items() if name not in ("user_id", "expiration")}
        kept["headers"] = {
            name: value
            for name, value in properties["headers"].items()
            if name not in _COPIES and not name.startswith(("x-death", "x-first-death", "x-last-death"))
        }
        try:
            return methods.encode_properties(kept)
        except ValueError:  # a type that comes but cannot go: what is ours is enough
            return methods.encode_properties({"headers": {delays.DUE_HEADER: due}, "delivery_mode": self._mode})


def message_id(properties: bytes) -> Any:
    """The message id in encoded properties; None where there is none, or where they cannot be read."""
    try:
        return methods.decode_properties(properties).get("message_id")
    except ValueError:
        return None


def _headers(headers: Mapping[str, Any]) -> bytes:
    """A table; values that AMQP has no type for become text."""
    try:
        return tables.encode_table(headers)
    except ValueError:
        return tables.encode_table({_text(name)[:60]: _text(value) for name, value in headers.items()})


def _text(value: Any) -> str:
    """As text without lone surrogates."""
    return str(value).encode("utf-8", "replace").decode()
