"""RabbitMQ for ``loop.Loop``: login, declarations, one consumer; it confirms once a turn all that was published, as
RabbitMQ does under load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mailerq.queues import frames, methods
from mailerq.queues.amqp_link import specification

FRAME_MAX = 131072


class PlayedRabbitmq:
    """One connection, and the queues behind it. ``published`` counts by queue, ``acknowledged`` the deliveries."""

    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self.acknowledged = 0
        self.consumed: int | None = None  # on which channel
        self._tag = 0
        self._sequence = 0
        self._unacked: set[int] = set()
        self._rest = b""

    def began(self) -> None:
        """The client speaks first."""

    def push(self, bodies: Iterable[bytes]) -> None:
        """Deliver them to the consumer."""
        assert self.consumed is not None
        properties = methods.encode_properties({"content_type": "application/json", "delivery_mode": 2})
        for body in bodies:
            self._tag += 1
            self._unacked.add(self._tag)
            method = _method(self.consumed, "basic.deliver", "mailerq", self._tag, False, "", "outbox")
            self.write(method + b"".join(frames.content_frames(self.consumed, properties, body, FRAME_MAX)))

    def heard(self, data: bytes) -> None:
        """All frames that are whole, then one confirm."""
        rest, at, before = self._rest + data, 0, self._sequence
        if rest.startswith(b"AMQP"):
            at = 8
            self._say(0, "connection.start", 0, 9, {"product": "RabbitMQ"}, "AMQPLAIN PLAIN", "en_US")
        while len(rest) - at >= 8:
            end = at + 7 + int.from_bytes(rest[at + 3 : at + 7], "big")
            if end >= len(rest):
                break
            if rest[at] == frames.METHOD:
                self._method(int.from_bytes(rest[at + 1 : at + 3], "big"), rest[at + 7 : end])
            at = end + 1
        self._rest = rest[at:]
        if self._sequence > before and self.consumed is not None:
            self._say(self.consumed, "basic.ack", self._sequence, True)

    def _method(self, channel: int, payload: bytes) -> None:
        known = specification().classes.byid[int.from_bytes(payload[:2], "big")]
        method = known.methods.byid[int.from_bytes(payload[2:4], "big")]
        name = f"{known.name}.{method.name}"
        values = methods.decode_arguments([field.type for field in method.fields], payload)
        fields = dict(zip(method.fields.byname, values, strict=True))
        if name == "basic.publish":
            self._sequence += 1
            self.published[fields["routing-key"]] += 1
        elif name == "basic.ack":
            self._acknowledge(fields["delivery-tag"], fields["multiple"])
        else:
            self._answer(channel, name, fields)

    def _acknowledge(self, tag: int, multiple: bool) -> None:
        gone = {one for one in self._unacked if one <= tag} if multiple else {tag} & self._unacked
        self._unacked -= gone
        self.acknowledged += len(gone)

    def _answer(self, channel: int, name: str, fields: dict[str, Any]) -> None:
        if name == "connection.start-ok":
            self._say(0, "connection.tune", 2047, FRAME_MAX, 60)
            return
        if name == "connection.tune-ok":
            return
        if name == "basic.consume":
            self.consumed = channel
        values: dict[str, tuple[Any, ...]] = {
            "connection.open": ("",),
            "channel.open": ("",),
            "queue.declare": (fields.get("queue"), 0, 0),
            "basic.consume": (fields.get("consumer-tag"),),
            "basic.cancel": (fields.get("consumer-tag"),),
        }
        self._say(channel, f"{name}-ok", *values.get(name, ()))

    def _say(self, channel: int, name: str, *values: Any) -> None:
        self.write(_method(channel, name, *values))


def _method(channel: int, name: str, *values: Any) -> bytes:
    klass, _, method = name.partition(".")
    known = specification().classes.byname[klass].methods.byname[method]
    return methods.encode_method(channel, (known.klass.id, known.id), [field.type for field in known.fields], values)
