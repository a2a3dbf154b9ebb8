"""AMQP bytes, in and out: tables of every type, properties, methods, and a stream cut anywhere."""

from __future__ import annotations

import contextlib
import struct
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.queues import frame_reader, frames, methods, tables

SHORT = st.text(max_size=40)
SIMPLE = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False)
    | st.none()
    | st.integers(0, 2**64 - 1).map(tables.Timestamp)
    | st.builds(lambda number, scale: Decimal(number).scaleb(-scale), st.integers(0, 2**32 - 1), st.integers(0, 9))
)
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4), max_leaves=12
)
TABLES = st.dictionaries(SHORT, VALUES, max_size=6)


class TableTests(SynchronousTestCase):
    """Field tables."""

    @settings(max_examples=300, deadline=None)
    @given(TABLES)
    def test_round_trip(self, table: dict[str, Any]) -> None:
        """What goes in comes out, with its types."""
        raw = tables.encode_table(table)
        self.assertEqual(tables.decode_table(raw), (table, len(raw)))

    def test_every_type_of_the_broker(self) -> None:
        """All types that RabbitMQ sends are understood, signed ones with their sign."""
        rows: list[tuple[bytes, Any]] = [
            (b"t\x01", True),
            (b"b\xff", -1),
            (b"B\xff", 255),
            (b"s\xff\xfe", -2),
            (b"u\xff\xfe", 65534),
            (b"I\xff\xff\xff\xff", -1),
            (b"i\xff\xff\xff\xff", 2**32 - 1),
            (b"l" + b"\xff" * 8, -1),
            (b"L" + b"\xff" * 8, 2**64 - 1),
            (b"f" + struct.pack(">f", 0.5), 0.5),
            (b"d" + struct.pack(">d", 0.1), 0.1),
            (b"D\x02\x00\x00\x01\x00", Decimal("2.56")),
            (b"S\x00\x00\x00\x02\xc3\xa9", "é"),
            (b"x\x00\x00\x00\x02\xc3\xa9", b"\xc3\xa9"),
            (b"A\x00\x00\x00\x03Vt\x00", [None, False]),
            (b"T" + (7).to_bytes(8, "big"), 7),
            (b"F\x00\x00\x00\x03\x01aV", {"a": None}),
            (b"V", None),
        ]
        for raw, value in rows:
            inside = b"\x01k" + raw
            table, _ = tables.decode_table(len(inside).to_bytes(4, "big") + inside)
            self.assertEqual(table, {"k": value}, raw)

    def test_true_is_a_boolean(self) -> None:
        """True goes out as ``t``: RabbitMQ refuses x-single-active-consumer as a number."""
        self.assertEqual(tables.encode_table({"a": True})[4:], b"\x01at\x01")

    def test_text_that_is_no_utf8_survives(self) -> None:
        """Latin-1 in a header goes out again byte for byte."""
        raw = b"\x00\x00\x00\x08\x01kS\x00\x00\x00\x01\xe9"
        self.assertEqual(tables.encode_table(tables.decode_table(raw)[0]), raw)

    def test_lengths_count_bytes(self) -> None:
        """The length in front of a string counts bytes, not characters."""
        self.assertEqual(tables.short_string("é"), b"\x02\xc3\xa9")
        self.assertEqual(tables.long_string("é"), b"\x00\x00\x00\x02\xc3\xa9")

    def test_what_does_not_fit_is_an_error(self) -> None:
        """Integers beyond 64 bits, unknown classes and names beyond 255 bytes raise ValueError."""
        for bad in ({"a": 2**63}, {"a": object()}, {"a" * 256: 1}, {"é" * 128: 1}, {"a": Decimal(-1)}):
            self.assertRaises(ValueError, tables.encode_table, bad)

    @settings(max_examples=500, deadline=None)
    @given(st.binary(max_size=80))
    def test_noise(self, raw: bytes) -> None:
        """Bytes of any kind are a table or a ValueError."""
        for read in (tables.decode_table, methods.decode_properties):
            with contextlib.suppress(ValueError):
                read(raw)

    @settings(max_examples=200, deadline=None)
    @given(TABLES, st.data())
    def test_damaged(self, table: dict[str, Any], data: st.DataObject) -> None:
        """A table with one byte changed, or cut off, is a table or a ValueError."""
        raw = bytearray(tables.encode_table(table))
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
        for damaged in (bytes(raw), bytes(raw[:place])):
            with contextlib.suppress(ValueError):
                tables.decode_table(damaged)

    def test_depth(self) -> None:
        """A table nested a thousand deep is refused, not followed."""
        raw = b"\x00\x00\x00\x00"
        for _ in range(1000):
            raw = tables.long_string(b"\x01kF" + raw)
        self.assertRaises(ValueError, tables.decode_table, raw)
        raw = b"A\x00\x00\x00\x00"
        for _ in range(1000):
            raw = b"A" + tables.long_string(raw)
        self.assertRaises(ValueError, tables.decode_table, tables.long_string(b"\x01k" + raw))


class PropertiesTests(SynchronousTestCase):
    """The properties of a message."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "content_type": SHORT,
                "content_encoding": SHORT,
                "headers": TABLES,
                "delivery_mode": st.integers(0, 255),
                "priority": st.integers(0, 255),
                "expiration": SHORT,
                "message_id": SHORT,
                "timestamp": st.integers(0, 2**64 - 1),
                "cluster_id": SHORT,
            },
        )
    )
    def test_round_trip(self, properties: dict[str, Any]) -> None:
        """What goes in comes out."""
        self.assertEqual(methods.decode_properties(methods.encode_properties(properties)), properties)

    def test_unknown_name(self) -> None:
        """A name that is none is an error, not a message that silently is transient."""
        self.assertRaises(ValueError, methods.encode_properties, {"delivery-mode": 2})

    def test_known_bytes(self) -> None:
        """The flags stand where the specification puts them."""
        raw = methods.encode_properties({"content_type": "a", "delivery_mode": 2, "message_id": "b"})
        self.assertEqual(raw, b"\x90\x80\x01a\x02\x01b")


class MethodTests(SynchronousTestCase):
    """Methods by the field types of the specification."""

    TYPES = ("short", "shortstr", "bit", "bit", "bit", "table", "bit", "longlong", "longstr", "octet", "long")

    def test_round_trip(self) -> None:
        """Neighbouring bits share a byte; everything comes out."""
        values = [1, "é", True, False, True, {"a": [1]}, True, 2**64 - 1, b"\xff", 255, 2**32 - 1]
        frame = methods.encode_method(3, (50, 10), self.TYPES, values)
        self.assertEqual(frame[:3] + frame[-1:], b"\x01\x00\x03\xce")
        self.assertEqual(int.from_bytes(frame[3:7], "big"), len(frame) - 8)
        self.assertEqual(methods.decode_arguments(self.TYPES, frame[7:-1]), values)

    def test_nine_bits(self) -> None:
        """The ninth bit starts a second byte."""
        values = [True] * 8 + [False, True]
        frame = methods.encode_method(0, (1, 1), ["bit"] * 10, values)
        self.assertEqual(frame[11:-1], b"\xff\x02")
        self.assertEqual(methods.decode_arguments(["bit"] * 10, frame[7:-1]), values)

    def test_does_not_fit(self) -> None:
        """A number out of range is a ValueError, before anything is written."""
        self.assertRaises(ValueError, methods.encode_method, 0, (1, 1), ["short"], [65536])
        self.assertRaises(ValueError, methods.encode_method, 0, (1, 1), ["short"], [-1])

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_noise(self, raw: bytes) -> None:
        """Bytes of any kind are values or a ValueError."""
        with contextlib.suppress(ValueError):
            methods.decode_arguments(self.TYPES, b"\x00\x32\x00\x0a" + raw)


def delivery(tag: int, body: bytes, largest: int = 0, channel: int = 1, redelivered: bool = False) -> bytes:
    """What a broker sends for one message."""
    types = ("shortstr", "longlong", "bit", "shortstr", "shortstr")
    method = methods.encode_method(channel, (60, 60), types, ("mailerq", tag, redelivered, "", "outbox"))
    properties = methods.encode_properties({"delivery_mode": 2, "headers": {"n": tag}})
    return method + b"".join(frames.content_frames(channel, properties, body, largest))


class Heard:
    """Everything a reader says, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.reader = frame_reader.Reader(
            lambda *what: self.events.append(("deliver", *what)),
            lambda *what: self.events.append(("confirm", *what)),
            lambda *what: self.events.append(("content", *what)),
            lambda *what: self.events.append(("method", *what)),
        )


class ReaderTests(SynchronousTestCase):
    """The stream."""

    def stream(self) -> tuple[bytes, list[tuple[Any, ...]]]:
        """Something of everything, and what is to be heard of it."""
        confirm = methods.encode_method(1, (60, 80), ("longlong", "bit"), (9, True))
        returned = methods.encode_method(
            2, (60, 50), ("short", "shortstr", "shortstr", "shortstr"), (312, "NO_ROUTE", "", "gone")
        )
        other = methods.encode_method(2, (50, 11), ("shortstr", "long", "long"), ("q", 1, 2))
        props = [methods.encode_properties({"delivery_mode": 2, "headers": {"n": tag}}) for tag in range(6)]
        back = methods.encode_properties({"message_id": "m"})
        raw = (
            delivery(1, b'{"name":"J\xc3\xa9r\xc3\xb4me"}')
            + frames.HEARTBEAT_FRAME
            + delivery(2, b"")
            + confirm
            + delivery(3, b"\xff" * 50, largest=20)
            + returned
            + b"".join(frames.content_frames(2, back, b"lost", 0))
            + other
            + delivery(4, "ä".encode() * 9, largest=13, redelivered=True)
            + delivery(5, b"end")
        )
        return raw, [
            ("deliver", 1, 0, props[1], b'{"name":"J\xc3\xa9r\xc3\xb4me"}'),
            ("deliver", 2, 0, props[2], b""),
            ("confirm", 9, 1),
            ("deliver", 3, 0, props[3], b"\xff" * 50),
            ("content", 2, returned[7:-1], back, b"lost"),
            ("method", 2, other[7:-1]),
            ("deliver", 4, 1, props[4], "ä".encode() * 9),
            ("deliver", 5, 0, props[5], b"end"),
        ]

    def test_every_cut(self) -> None:
        """Cut in two at every place, the stream says the same."""
        raw, expected = self.stream()
        for cut in range(len(raw) + 1):
            heard = Heard()
            heard.reader.feed(raw[:cut])
            heard.reader.feed(raw[cut:])
            self.assertEqual(heard.events, expected, cut)

    def test_every_size(self) -> None:
        """In pieces of every size, the stream says the same."""
        raw, expected = self.stream()
        for size in range(1, 90):
            heard = Heard()
            for at in range(0, len(raw), size):
                heard.reader.feed(raw[at : at + size])
            self.assertEqual(heard.events, expected, size)

    def test_interleaved_channels(self) -> None:
        """Frames of two channels may alternate."""
        one, two = delivery(1, b"aaaa", largest=10, channel=1), delivery(2, b"bbbb", largest=10, channel=2)
        heard = Heard()
        for frame in _zip(_frames(one), _frames(two)):
            heard.reader.feed(frame)
        self.assertEqual([(event[1], event[4]) for event in heard.events], [(1, b"aaaa"), (2, b"bbbb")])

    def test_nothing_after_stop(self) -> None:
        """Once stopped, what is left is not heard."""
        heard = Heard()

        def deliver(tag: int, *_: Any) -> None:
            heard.events.append((tag,))
            heard.reader.stopped = True

        heard.reader._deliver = deliver
        heard.reader.feed(delivery(1, b"a") + delivery(2, b"b"))
        self.assertEqual(heard.events, [(1,)])

    def test_no_amqp(self) -> None:
        """HTTP, another AMQP version, a wrong frame end, a huge frame: FrameError, without waiting for more."""
        frame = bytearray(delivery(1, b"a"))
        frame[-1] = 0
        for raw in (
            b"HTTP/1.1 400 Bad Request",
            b"AMQP\x00\x01\x00\x00",
            bytes(frame),
            b"\x01\x00\x01\x7f\xff\xff\xff\x00",
        ):
            self.assertRaises(frames.FrameError, Heard().reader.feed, raw)

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """A stream with bytes changed raises nothing but ValueError."""
        raw = bytearray(self.stream()[0])
        for _ in range(3):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(ValueError):
            Heard().reader.feed(bytes(raw))


def _frames(raw: bytes) -> list[bytes]:
    frames = []
    while raw:
        size = int.from_bytes(raw[3:7], "big") + 8
        frames.append(raw[:size])
        raw = raw[size:]
    return frames


def _zip(one: list[bytes], two: list[bytes]) -> list[bytes]:
    return [frame for pair in zip(one, two, strict=True) for frame in pair]


class OutTests(SynchronousTestCase):
    """What is written per message."""

    def test_large_bodies_are_split(self) -> None:
        """No frame is larger than frame_max, and the body comes together again, for every size around the limits."""
        for size in range(60):
            body = bytes(range(size))
            raw = b"".join(frames.content_frames(1, b"\x00\x00", body, 20))
            written = _frames(raw)
            self.assertTrue(all(len(frame) <= 20 for frame in written[1:]), size)
            self.assertEqual(b"".join(frame[7:-1] for frame in written[1:]), body)
            self.assertTrue(all(frame[-1] == frames.FRAME_END for frame in written))

    def test_publish(self) -> None:
        """basic.publish by the default exchange, mandatory."""
        types = ("short", "shortstr", "shortstr", "bit", "bit")
        raw = frames.publish_method(1, "é")
        self.assertEqual(raw, methods.encode_method(1, (60, 40), types, (0, "", "é", True, False)))
        self.assertRaises(ValueError, frames.publish_method, 1, "é" * 128)

    def test_ack_and_reject(self) -> None:
        """The frames are those of the specification."""
        self.assertEqual(
            frames.ack_frame(1, 2**40, True), methods.encode_method(1, (60, 80), ("longlong", "bit"), (2**40, True))
        )
        self.assertEqual(frames.reject_frame(1, 7), methods.encode_method(1, (60, 90), ("longlong", "bit"), (7, True)))
