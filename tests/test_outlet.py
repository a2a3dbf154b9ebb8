"""Bytes that are handed to the system at once, or to the transport: always in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.smtp.outlet import Outlet, outlet


class Wire:
    """A socket and a transport over it, as Twisted's: ``room`` is how many bytes the socket takes yet."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent = b""
        self.kept = b""
        self.producer: Any = None
        self.streaming = False
        self.direct = 0
        self.lost = False

    def getHandle(self) -> Any:
        return self

    def send(self, data: bytes) -> int:
        if self.lost:
            raise ConnectionResetError
        if not self.room:
            raise BlockingIOError
        self.direct += 1
        return self._send(data)

    def _send(self, data: bytes) -> int:
        many = min(self.room, len(data))
        self.room -= many
        self.sent += data[:many]
        return many

    def write(self, data: bytes) -> None:
        self.kept += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def takes(self, room: int) -> None:
        """The host reads; the reactor finds that the socket takes more."""
        self.room += room
        if self.kept:
            self.kept = self.kept[self._send(self.kept) :]
            if not self.kept and self.producer is not None:
                self.producer.resumeProducing()


class Large:
    """Another producer, which writes to the transport itself."""

    def resumeProducing(self) -> None:
        """It writes when the test says so."""


class OutletTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """What the socket takes does not wait for the reactor."""
        wire = Wire(100)
        out = outlet(wire)
        assert out is not None
        out.write(b"one")
        out.write(b"two")
        self.assertEqual((wire.sent, wire.kept, wire.producer), (b"onetwo", b"", None))

    def test_no_socket(self) -> None:
        """There is none for a transport without a socket."""
        self.assertIsNone(outlet(object()))

    def test_behind(self) -> None:
        """What follows something that the socket did not take follows it to the transport."""
        wire = Wire(4)
        out = Outlet(wire, wire.send)
        out.write(b"123456")
        wire.room = 100
        out.write(b"78")
        self.assertEqual((wire.sent, wire.kept), (b"1234", b"5678"))

    def test_caught_up(self) -> None:
        """When the transport has nothing left, the socket is tried first again."""
        wire = Wire(0)
        out = Outlet(wire, wire.send)
        out.write(b"123")
        wire.takes(100)
        out.write(b"456")
        self.assertEqual((wire.sent, wire.direct, wire.producer), (b"123456", 1, None))

    def test_lost(self) -> None:
        """Where the connection is lost, the transport has what was written, and finds it out."""
        wire = Wire(100)
        out = Outlet(wire, wire.send)
        wire.lost = True
        out.write(b"123")
        self.assertEqual((wire.sent, wire.kept), (b"", b"123"))
        out.stopProducing()

    @given(st.lists(st.one_of(st.integers(0, 9), st.binary(min_size=1, max_size=9), st.sampled_from(["large", "end"]))))
    def test_order(self, steps: list[Any]) -> None:
        """Whatever the socket takes when, and whoever else writes to the transport, nothing is lost or overtaken."""
        wire = Wire(5)
        out = Outlet(wire, wire.send)
        written, large = b"", False
        for step in steps:
            if isinstance(step, int):
                wire.takes(step)
            elif isinstance(step, bytes):
                written += step
                (wire if large else out).write(step)
            elif step == "large" and not large:
                out.hold()
                wire.registerProducer(Large(), True)
                large = True
            elif step == "end" and large:
                wire.unregisterProducer()
                out.free()
                large = False
        self.assertEqual(wire.sent + wire.kept, written)
        wire.takes(10_000)
        if not large and wire.producer is None:
            before = wire.direct
            out.write(b"more")
            self.assertEqual(wire.direct, before + 1)
