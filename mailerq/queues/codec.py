"""AMQP 0-9-1 as bytes: frames, methods, field tables, content properties (specification sections 2.3.5, 4.2).

Pure. What is seen once per message (deliver, publish, ack, confirm) has precompiled structs; everything else goes
through the field types of the specification. A body is bytes, always. ``ValueError`` is the only error to the outside.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
END = b"\xce"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BASIC = 60
DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"
GET_OK = b"\x00\x3c\x00\x47"
ACK = b"\x00\x3c\x00\x50"
NACK = b"\x00\x3c\x00\x78"
DEEPEST = 64  # nested tables; RabbitMQ itself sends two or three levels

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIHHQ")  # frame of a content header up to the body size
_BODY = struct.Struct(">BBHI")  # the end of the frame before, and the beginning of the body's
_CONTENT_PAYLOAD = struct.Struct(">HHQ")
_TAG = struct.Struct(">QB")
_ACK_FRAME = struct.Struct(">BHIHHQBB")
_PUBLISH = struct.Struct(">HHHB")


class FrameError(ValueError):
    """What came is no AMQP 0-9-1; the connection cannot be used any more."""


class Timestamp(int):
    """Epoch seconds that travel as AMQP's timestamp type ``T``."""


# --- field tables -----------------------------------------------------------------------------------------------------


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
    start, end = _stretch(raw, at)
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


def _stretch(raw: bytes, at: int) -> tuple[int, int]:
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
        start, end = _stretch(raw, at)
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
    start, end = _stretch(raw, at)
    if depth > DEEPEST:
        raise ValueError("a table is nested too deeply")
    values = []
    while start < end:
        value, start = _decode_value(raw, start, depth)
        values.append(value)
    if start != end:
        raise ValueError("an array ends in the middle of a value")
    return values, end


# --- methods ----------------------------------------------------------------------------------------------------------

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
            start, end = _stretch(payload, at)
            value = payload[start:end]
        else:
            value, end = decode_table(payload, at)
        if end > len(payload):
            raise ValueError("a method is cut off")
        at = end
        values.append(value)
    return values


# --- content properties -----------------------------------------------------------------------------------------------

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


# --- out --------------------------------------------------------------------------------------------------------------


def publish_method(channel: int, queue: str) -> bytes:
    """The frame of basic.publish to a queue by the default exchange, mandatory: made once a queue, used for all."""
    payload = _PUBLISH.pack(BASIC, 40, 0, 0) + short_string(queue) + b"\x01"
    return _FRAME.pack(METHOD, channel, len(payload)) + payload + END


def publish_frames(method: bytes, channel: int, properties: bytes, body: bytes, largest: int) -> Sequence[bytes]:
    """``method`` (of ``publish_method``) and the header and body frames behind it, in pieces to be joined. ``largest``
    is the negotiated frame_max; 0 = no limit."""
    size = len(body)
    head = _CONTENT.pack(HEADER, channel, len(properties) + 12, BASIC, 0, size)
    if size and (size + 8 <= largest or not largest):
        return (method, head, properties, _BODY.pack(FRAME_END, BODY, channel, size), body, END)
    pieces = [method, head, properties, END]
    for start in range(0, size, largest - 8 if largest else 1):
        piece = body[start : start + largest - 8]
        pieces += (_FRAME.pack(BODY, channel, len(piece)), piece, END)
    return pieces


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack of one delivery, or of all up to it."""
    return _ACK_FRAME.pack(METHOD, channel, 13, BASIC, 80, tag, multiple, FRAME_END)


def reject_frame(channel: int, tag: int) -> bytes:
    """basic.reject with requeue."""
    return _ACK_FRAME.pack(METHOD, channel, 13, BASIC, 90, tag, 1, FRAME_END)


# --- in ---------------------------------------------------------------------------------------------------------------


class Reader:
    """Cuts what arrives, in pieces of any size, into what it says.

    ``deliver(tag, redelivered, properties, body)`` for basic.deliver and ``confirm(tag, multiple)`` for basic.ack, on
    whatever channel; ``content(channel, method, properties, body)`` for other methods with a body and
    ``method(channel, payload)`` for those without. Nothing is called any more once ``stopped``. A message is gathered
    whatever its size: RabbitMQ lets in 128 MB by default, 512 MB at most, and to leave one in the queue helps nobody.
    """

    def __init__(
        self,
        deliver: Callable[[int, int, bytes, bytes], None],
        confirm: Callable[[int, int], None],
        content: Callable[[int, bytes, bytes, bytes], None],
        method: Callable[[int, bytes], None],
    ) -> None:
        self.largest = 0x100000  # of a frame; set to the negotiated frame_max
        self.stopped = False
        self._deliver = deliver
        self._confirm = confirm
        self._content = content
        self._method = method
        self._rest = b""
        self._parts: dict[int, _Content] = {}  # content that is under way, by channel

    def feed(self, arrived: bytes) -> None:
        """Raises FrameError (ValueError), after which the connection is of no use."""
        try:
            self._feed(arrived)
        except (struct.error, IndexError) as problem:
            raise FrameError(f"a frame is malformed: {problem}") from None

    def _feed(self, arrived: bytes) -> None:
        buffer = self._rest + arrived if self._rest else arrived
        self._rest = b""
        size = len(buffer)
        at = 0
        while size - at >= 8 and not self.stopped:
            kind, channel, length = _FRAME.unpack_from(buffer, at)
            start = at + 7
            end = start + length
            if end >= size:
                if kind not in (METHOD, HEADER, BODY, HEARTBEAT) or length + 8 > self.largest:
                    self._refuse(buffer[at : at + 8])
                break
            if buffer[end] != FRAME_END:
                self._refuse(buffer[at : at + 8])
            at = end + 1
            if kind == METHOD:
                which = buffer[start : start + 4]
                if which == DELIVER:
                    behind = self._whole(buffer, size, channel, start, at)
                    if behind:
                        at = behind
                        continue
                elif which == ACK:
                    tag, multiple = _TAG.unpack_from(buffer, start + 4)
                    self._confirm(tag, multiple)
                    continue
            self._frame(kind, channel, buffer[start:end])
        if at < size:
            self._rest = buffer[at:]

    def _whole(self, buffer: bytes, size: int, channel: int, start: int, at: int) -> int:
        """The common case: a delivery whose header and only body frame are here too. 0 where it is none."""
        if size - at < 30:
            return 0
        kind, channel2, length, _, _, expected = _CONTENT.unpack_from(buffer, at)
        head = at + 19
        end = at + 7 + length
        if kind != HEADER or channel2 != channel or end + 9 > size or buffer[end] != FRAME_END:
            return 0
        kind, channel2, length = _FRAME.unpack_from(buffer, end + 1)
        body = end + 8
        behind = body + length
        if (
            kind != BODY
            or channel2 != channel
            or length != expected
            or behind >= size
            or buffer[behind] != FRAME_END
            or channel in self._parts
        ):
            return 0
        tag, redelivered = _TAG.unpack_from(buffer, start + 5 + buffer[start + 4])
        self._deliver(tag, redelivered & 1, buffer[head:end], buffer[body:behind])
        return int(behind) + 1

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == HEARTBEAT:
            return
        if kind == METHOD:
            if channel in self._parts:
                raise FrameError("a method came in the middle of a message")
            if payload[:4] in (DELIVER, RETURN, GET_OK):
                self._parts[channel] = _Content(payload)
            else:
                self._method(channel, payload)
            return
        part = self._parts.get(channel)
        if part is None:
            raise FrameError("a piece of a message came without its beginning")
        if kind == HEADER:
            part.begin(payload)
        elif kind == BODY:
            part.add(payload)
        else:
            raise FrameError(f"unknown kind of frame: {kind}")
        if part.missing == 0:
            del self._parts[channel]
            self._complete(channel, part)

    def _complete(self, channel: int, part: _Content) -> None:
        body = b"".join(part.pieces)
        if part.method[:4] == DELIVER:
            tag, redelivered = _TAG.unpack_from(part.method, 5 + part.method[4])
            self._deliver(tag, redelivered & 1, part.properties, body)
        else:
            self._content(channel, part.method, part.properties, body)

    def _refuse(self, begin: bytes) -> None:
        if begin[:4] == b"AMQP":
            raise FrameError("the broker does not speak AMQP 0-9-1")
        raise FrameError(f"what came is no AMQP frame: {begin!r}")


class _Content:
    """A message of which not all frames are here. ``missing`` is None before its header."""

    __slots__ = ("method", "missing", "pieces", "properties")

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.properties = b""
        self.pieces: list[bytes] = []
        self.missing: int | None = None

    def begin(self, payload: bytes) -> None:
        if self.missing is not None:
            raise FrameError("a message has two headers")
        _, _, self.missing = _CONTENT_PAYLOAD.unpack_from(payload)
        self.properties = payload[12:]

    def add(self, piece: bytes) -> None:
        if self.missing is None or len(piece) > self.missing:
            raise FrameError("a message is longer than its header says")
        self.pieces.append(piece)
        self.missing -= len(piece)
