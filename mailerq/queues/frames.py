"""AMQP 0-9-1's frames (specification section 4.2): their marks, and those that go out once per message.

Pure. What is written for each message has precompiled structs; the method's frame is made once a queue, the properties
once a kind of message, and what the two copies of a result have in common once for both.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from mailerq.queues.tables import short_string

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
END = b"\xce"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BASIC = 60
SMALL = 4096  # bytes of a body up to which copying costs less than one more piece

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIHHQ")  # frame of a content header up to the body size
_BODY = struct.Struct(">BBHI")  # the end of the frame before, and the beginning of the body's
_ACK_FRAME = struct.Struct(">BHIHHQBB")
_PUBLISH = struct.Struct(">HHHB")


class FrameError(ValueError):
    """What came is no AMQP 0-9-1; the connection cannot be used any more."""


def publish_method(channel: int, queue: str) -> bytes:
    """The frame of basic.publish to a queue by the default exchange, mandatory: made once a queue, used for all."""
    payload = _PUBLISH.pack(BASIC, 40, 0, 0) + short_string(queue) + b"\x01"
    return _FRAME.pack(METHOD, channel, len(payload)) + payload + END


def content_frames(channel: int, properties: bytes, body: bytes, largest: int) -> Sequence[bytes]:
    """The header and body frames that follow a ``publish_method``, in pieces to be joined. ``largest`` is the
    negotiated frame_max; 0 = no limit."""
    size = len(body)
    head = _CONTENT.pack(HEADER, channel, len(properties) + 12, BASIC, 0, size)
    if size and (size + 8 <= largest or not largest):
        pieces = (head, properties, _BODY.pack(FRAME_END, BODY, channel, size), body, END)
        return pieces if size > SMALL else (b"".join(pieces),)
    many = [head, properties, END]
    for start in range(0, size, largest - 8 if largest else 1):
        piece = body[start : start + largest - 8]
        many += (_FRAME.pack(BODY, channel, len(piece)), piece, END)
    return many


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack of one delivery, or of all up to it."""
    return _ACK_FRAME.pack(METHOD, channel, 13, BASIC, 80, tag, multiple, FRAME_END)


def reject_frame(channel: int, tag: int) -> bytes:
    """basic.reject with requeue."""
    return _ACK_FRAME.pack(METHOD, channel, 13, BASIC, 90, tag, 1, FRAME_END)
