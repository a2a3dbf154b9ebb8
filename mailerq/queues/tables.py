"""AMQP 0-9-1's strings and field tables as bytes (specification section 4.2.5, with RabbitMQ's types).

Pure. ``ValueError`` is the only error to the outside.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

DEEPEST = 64  # nested tables; RabbitMQ itself sends two or three levels


class Timestamp(int):
    """Epoch seconds that travel as AMQP's timestamp type ``T``."""


def short_string(text: str | bytes) -> bytes:
    """``text`` with its length in one byte; ValueError above 255 bytes of UTF-8."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    if len(raw) > 255:
        raise ValueError(f"{len(raw)} bytes are too many for a name: at most 255")
    return bytes((len(raw),)) + raw


def long_string(text: str | bytes) -> bytes:
    """``text`` with its length in four bytes."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return len(raw).to_bytes(4, "big") + raw


def encode_table(table: Mapping[str, Any]) -> bytes:
    """A field table with its length in front. Numbers take the narrowest of int32 and int64; ValueError for what has no
    type in AMQP (int beyond 64 bits, unknown classes)."""
    return long_string(b"".join(short_string(name) + _encode_value(value) for name, value in table.items()))


def _encode_value(value: Any) -> bytes:
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    for kind, encode in _ENCODERS.items():
        if isinstance(value, kind):
            return encode(value)
    if isinstance(value, Mapping):
        return b"F" + encode_table(value)
    raise ValueError(f"{type(value).__name__} has no type in an AMQP table")


def _encode_integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"I" + value.to_bytes(4, "big", signed=True)
    if -(2**63) <= value < 2**63:
        return b"l" + value.to_bytes(8, "big", signed=True)
    raise ValueError("an integer in an AMQP table has at most 64 bits")


def _encode_decimal(value: Decimal) -> bytes:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent > 0 or exponent < -255:
        raise ValueError("this decimal does not fit into an AMQP table")
    number = int("".join(map(str, digits)) or "0")
    if value.is_signed() or number >= 2**32:
        raise ValueError("this decimal does not fit into an AMQP table")
    return b"D" + struct.pack(">BI", -exponent, number)


def _encode_timestamp(value: Timestamp) -> bytes:
    if not 0 <= value < 2**64:
        raise ValueError("a timestamp in an AMQP table has 64 bits without a sign")
    return b"T" + value.to_bytes(8, "big")


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    bool: lambda value: b"t\x01" if value else b"t\x00",
    Timestamp: _encode_timestamp,
    int: _encode_integer,
    str: lambda value: b"S" + long_string(value),
    bytes: lambda value: b"x" + long_string(value),
    float: lambda value: b"d" + struct.pack(">d", value),
    Decimal: _encode_decimal,
    type(None): lambda value: b"V",
    dict: lambda value: b"F" + encode_table(value),
    list: lambda value: b"A" + long_string(b"".join(map(_encode_value, value))),
    tuple: lambda value: b"A" + long_string(b"".join(map(_encode_value, value))),
}

_FIXED = {
    ord(mark): struct.Struct(">" + shape)
    for mark, shape in zip("bBsuIilLfdT", ["b", "B", "h", "H", "i", "I", "q", "Q", "f", "d", "Q"], strict=True)
}


def decode_table(raw: bytes, at: int = 0, depth: int = 0) -> tuple[dict[str, Any], int]:
    """The table at ``at`` and where it ends. Every type RabbitMQ knows; text that is no UTF-8 comes as surrogate
    escapes, so that it goes out again byte for byte. ValueError for anything that is no table."""
    table: dict[str, Any] = {}
    start, end = stretch(raw, at)
    if depth > DEEPEST:
        raise ValueError("a table is nested too deeply")
    while start < end:
        name, start = decode_short_string(raw, start)
        table[name], start = _decode_value(raw, start, depth)
    if start != end:
        raise ValueError("a table ends in the middle of a value")
    return table, end


def decode_short_string(raw: bytes, at: int) -> tuple[str, int]:
    """The short string at ``at`` and where it ends."""
    if at >= len(raw):
        raise ValueError("a string is missing")
    end = at + 1 + raw[at]
    if end > len(raw):
        raise ValueError("a string is cut off")
    return raw[at + 1 : end].decode("utf-8", "surrogateescape"), end


def stretch(raw: bytes, at: int) -> tuple[int, int]:
    """Where what has its length in the four bytes at ``at`` starts and ends."""
    start = at + 4
    end = start + int.from_bytes(raw[at:start], "big")
    if start > len(raw) or end > len(raw):
        raise ValueError("a value is cut off")
    return start, end


def _decode_value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    if at >= len(raw):
        raise ValueError("a value is missing")
    mark = raw[at]
    at += 1
    fixed = _FIXED.get(mark)
    if fixed is not None:
        if at + fixed.size > len(raw):
            raise ValueError("a value is cut off")
        value = fixed.unpack_from(raw, at)[0]
        return (Timestamp(value) if mark == 0x54 else value), at + fixed.size
    if mark in (0x53, 0x78):  # S, x
        start, end = stretch(raw, at)
        return (raw[start:end].decode("utf-8", "surrogateescape") if mark == 0x53 else raw[start:end]), end
    if mark == 0x46:  # F
        return decode_table(raw, at, depth + 1)
    if mark == 0x41:  # A
        return _decode_array(raw, at, depth + 1)
    if mark == 0x56:  # V
        return None, at
    if mark == 0x74 and at < len(raw):  # t
        return raw[at] != 0, at + 1
    if mark == 0x44 and at + 5 <= len(raw):  # D
        scale, number = struct.unpack_from(">BI", raw, at)
        return Decimal((0, tuple(map(int, str(number))), -scale)), at + 5
    raise ValueError(f"unknown type {chr(mark)!r} in a table, or a value that is cut off")


def _decode_array(raw: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    start, end = stretch(raw, at)
    if depth > DEEPEST:
        raise ValueError("a table is nested too deeply")
    values = []
    while start < end:
        value, start = _decode_value(raw, start, depth)
        values.append(value)
    if start != end:
        raise ValueError("an array ends in the middle of a value")
    return values, end
