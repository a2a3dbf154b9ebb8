"""Cuts what an AMQP 0-9-1 broker sends into what it says (specification section 4.2).

Pure. What comes once per message (a delivery whose frames are all here, a confirm) is read where it lies; a body that
comes in several pieces is put together once, when the last is here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from mailerq.queues.frames import BODY, FRAME_END, HEADER, HEARTBEAT, METHOD, FrameError

DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"
GET_OK = b"\x00\x3c\x00\x47"
ACK = b"\x00\x3c\x00\x50"

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIHHQ")  # frame of a content header up to the body size
_CONTENT_PAYLOAD = struct.Struct(">HHQ")
_TAG = struct.Struct(">QB")


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
