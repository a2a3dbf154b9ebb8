"""AMQP 0-9-1's methods and content properties as bytes (specification sections 2.3.5.1, 2.3.5.2), field by field.

Pure. For what is seen once per message see ``frames.py`` and ``frame_reader.py``. ``ValueError`` is the only error to
the outside.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailerq.queues.frames import END, METHOD
from mailerq.queues.tables import decode_short_string, decode_table, encode_table, long_string, short_string, stretch

_FRAME = struct.Struct(">BHI")
_NUMBERS = {"octet": 1, "short": 2, "long": 4, "longlong": 8, "timestamp": 8}


def encode_method(channel: int, ids: tuple[int, int], types: Iterable[str], values: Sequence[Any]) -> bytes:
    """The whole frame of a method; ``types`` are the specification's field types. ValueError for what does not fit."""
    payload = bytearray(struct.pack(">HH", *ids))
    bits = 0  # how many bits the last byte of the payload holds
    for kind, value in zip(types, values, strict=True):
        if kind == "bit":
            if not bits % 8:
                payload.append(0)
            payload[-1] |= bool(value) << bits % 8
            bits += 1
            continue
        bits = 0
        if kind in _NUMBERS:
            try:
                payload += int(value).to_bytes(_NUMBERS[kind], "big")
            except OverflowError:
                raise ValueError(f"{value} does not fit into a {kind}")
        elif kind == "shortstr":
            payload += short_string(value)
        elif kind == "longstr":
            payload += long_string(value)
        else:
            payload += encode_table(value)
    return _FRAME.pack(METHOD, channel, len(payload)) + bytes(payload) + END


def decode_arguments(types: Iterable[str], payload: bytes) -> list[Any]:
    """The values of a method's fields; ``payload`` starts with the class and method ids. Long strings come as bytes."""
    at = 4
    bits = 0
    values: list[Any] = []
    for kind in types:
        if kind == "bit":
            at += not bits % 8
            values.append(bool(payload[at - 1] >> bits % 8 & 1) if at <= len(payload) else False)
            bits += 1
            continue
        bits = 0
        if kind in _NUMBERS:
            end = at + _NUMBERS[kind]
            value: Any = int.from_bytes(payload[at:end], "big")
        elif kind == "shortstr":
            value, end = decode_short_string(payload, at)
        elif kind == "longstr":
            start, end = stretch(payload, at)
            value = payload[start:end]
        else:
            value, end = decode_table(payload, at)
        if end > len(payload):
            raise ValueError("a method is cut off")
        at = end
        values.append(value)
    return values


_PROPERTIES = [
    ("content_type", "shortstr"),
    ("content_encoding", "shortstr"),
    ("headers", "table"),
    ("delivery_mode", "octet"),
    ("priority", "octet"),
    ("correlation_id", "shortstr"),
    ("reply_to", "shortstr"),
    ("expiration", "shortstr"),
    ("message_id", "shortstr"),
    ("timestamp", "timestamp"),
    ("type", "shortstr"),
    ("user_id", "shortstr"),
    ("app_id", "shortstr"),
    ("cluster_id", "shortstr"),
]


def encode_properties(properties: Mapping[str, Any]) -> bytes:
    """Flags and values of a basic content header; None counts as missing. ValueError for unknown names and for values
    that do not fit."""
    flags = 0
    raw = b""
    for place, (name, kind) in enumerate(_PROPERTIES):
        value = properties.get(name)
        if value is None:
            continue
        flags |= 0x8000 >> place
        if kind == "shortstr":
            raw += short_string(value)
        elif kind == "table":
            raw += encode_table(value)
        else:
            try:
                raw += int(value).to_bytes(_NUMBERS[kind], "big")
            except OverflowError:
                raise ValueError(f"{value} does not fit into {name}")
    unknown = set(properties) - {name for name, _ in _PROPERTIES}
    if unknown:
        raise ValueError(f"no such property: {', '.join(sorted(unknown))}")
    return flags.to_bytes(2, "big") + raw


def decode_properties(raw: bytes) -> dict[str, Any]:
    """What ``encode_properties`` made, or the broker."""
    if len(raw) < 2:
        raise ValueError("content properties are cut off")
    flags = int.from_bytes(raw[:2], "big")
    if flags & 3:
        raise ValueError("unknown content properties")
    found: dict[str, Any] = {}
    at = 2
    for place, (name, kind) in enumerate(_PROPERTIES):
        if not flags & 0x8000 >> place:
            continue
        if kind == "shortstr":
            found[name], at = decode_short_string(raw, at)
        elif kind == "table":
            found[name], at = decode_table(raw, at)
        else:
            end = at + _NUMBERS[kind]
            if end > len(raw):
                raise ValueError("content properties are cut off")
            found[name] = int.from_bytes(raw[at:end], "big")
            at = end
    return found
