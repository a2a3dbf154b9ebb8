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

_KINDS = frozenset((METHOD, HEADER, BODY, HEARTBEAT))
_FRAME = struct.Struct(">BHI")
_BODY = struct.Struct(">BBHI")  # the end of the frame before, and the beginning of the body's
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
        self._filling: _Content | None = None  # the one whose body's frame is not all here
        self._left = 0  # bytes of that frame which are missing, without its end

    def feed(self, arrived: bytes) -> None:
        """Raises FrameError (ValueError), after which the connection is of no use."""
        try:
            self._feed(arrived)
        except (struct.error, IndexError) as problem:
            raise FrameError(f"a frame is malformed: {problem}") from None

    def _feed(self, arrived: bytes) -> None:
        if self.stopped:
            return
        at = 0 if self._filling is None else self._fill(arrived)
        buffer = arrived
        if self._rest:
            buffer = self._rest + arrived
            self._rest = b""
        size = len(buffer)
        while size - at >= 8 and not self.stopped:
            kind, channel, length = _FRAME.unpack_from(buffer, at)
            start = at + 7
            end = start + length
            if end >= size:
                if kind not in _KINDS or length + 8 > self.largest:
                    self._refuse(buffer[at : at + 8])
                if kind == BODY and channel in self._parts:
                    self._begin_to_fill(channel, buffer[start:], length)
                    return
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
            self._rest = buffer[at:] if at else buffer

    def _whole(self, buffer: bytes, size: int, channel: int, start: int, at: int) -> int:
        """The common case: a delivery whose header and only body frame are here too. 0 where it is none."""
        if size - at < 30:
            return 0
        kind, channel2, length, _, _, expected = _CONTENT.unpack_from(buffer, at)
        end = at + 7 + length
        if kind != HEADER or channel2 != channel or end + 9 > size:
            return 0
        mark, kind, channel2, length = _BODY.unpack_from(buffer, end)
        body = end + 8
        behind = body + length
        if (
            mark != FRAME_END
            or kind != BODY
            or channel2 != channel
            or length != expected
            or behind >= size
            or buffer[behind] != FRAME_END
            or channel in self._parts
        ):
            return 0
        tag, redelivered = _TAG.unpack_from(buffer, start + 5 + buffer[start + 4])
        self._deliver(tag, redelivered & 1, buffer[at + 19 : end], buffer[body:behind])
        return int(behind) + 1

    def _begin_to_fill(self, channel: int, piece: bytes, length: int) -> None:
        """The first part of a body's frame: it is not kept with the rest, to be joined and cut again."""
        part = self._filling = self._parts[channel]
        part.expect(length)
        part.pieces.append(piece)
        self._left = length - len(piece)

    def _fill(self, arrived: bytes) -> int:
        """More of that frame; where the next one begins in what has arrived."""
        part, left = self._filling, self._left
        assert part is not None
        if len(arrived) <= left:
            part.pieces.append(arrived)
            self._left = left - len(arrived)
            return len(arrived)
        if arrived[left] != FRAME_END:
            self._refuse(arrived[max(left - 7, 0) : left + 1])
        part.pieces.append(arrived[:left])
        self._filling = None
        if part.missing == 0:
            self._complete(part)
        return left + 1

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == HEARTBEAT:
            return
        if kind == METHOD:
            if channel in self._parts:
                raise FrameError("a method came in the middle of a message")
            if payload[:4] in (DELIVER, RETURN, GET_OK):
                self._parts[channel] = _Content(channel, payload)
            else:
                self._method(channel, payload)
            return
        part = self._parts.get(channel)
        if part is None:
            raise FrameError("a piece of a message came without its beginning")
        if kind == HEADER:
            part.begin(payload)
        elif kind == BODY:
            part.expect(len(payload))
            part.pieces.append(payload)
        else:
            raise FrameError(f"unknown kind of frame: {kind}")
        if part.missing == 0:
            self._complete(part)

    def _complete(self, part: _Content) -> None:
        del self._parts[part.channel]
        body = b"".join(part.pieces)
        if part.method[:4] == DELIVER:
            tag, redelivered = _TAG.unpack_from(part.method, 5 + part.method[4])
            self._deliver(tag, redelivered & 1, part.properties, body)
        else:
            self._content(part.channel, part.method, part.properties, body)

    def _refuse(self, begin: bytes) -> None:
        if begin[:4] == b"AMQP":
            raise FrameError("the broker does not speak AMQP 0-9-1")
        raise FrameError(f"what came is no AMQP frame: {begin!r}")


class _Content:
    """A message of which not all frames are here. ``missing``: bytes of its body whose frame has not begun; None before
    its header."""

    __slots__ = ("channel", "method", "missing", "pieces", "properties")

    def __init__(self, channel: int, method: bytes) -> None:
        self.channel = channel
        self.method = method
        self.properties = b""
        self.pieces: list[bytes] = []
        self.missing: int | None = None

    def begin(self, payload: bytes) -> None:
        """Its header."""
        if self.missing is not None:
            raise FrameError("a message has two headers")
        _, _, self.missing = _CONTENT_PAYLOAD.unpack_from(payload)
        self.properties = payload[12:]

    def expect(self, size: int) -> None:
        """A frame with so many bytes of its body."""
        if self.missing is None or size > self.missing:
            raise FrameError("a message is longer than its header says")
        self.missing -= size
