"""A small blocking AMQP client: publish much, ask how much lies there, purge. Costs the broker next to nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from mailerq.queues import frames, methods
from mailerq.queues.amqp_link import specification

CHUNK = 1 << 18


class AmqpProbe:
    """A connection to a node on this machine, as guest."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._socket.sendall(frames.PROTOCOL_HEADER)
        self._answer("connection.start")
        self._say(0, "connection.start-ok", {}, "PLAIN", "\0guest\0guest", "en_US")
        self._answer("connection.tune")
        self._say(0, "connection.tune-ok", 2047, 131072, 0)
        self._ask(0, "connection.open", "/", "", False)
        self._ask(1, "channel.open", "")

    def ready(self, queue: str) -> int:
        """How many messages are ready in a queue that exists."""
        declared = self._ask(1, "queue.declare", 0, queue, True, False, False, False, False, {})
        return int(declared["message-count"])

    def purge(self, queue: str) -> int:
        """Empty it; how many messages it were."""
        return int(self._ask(1, "queue.purge", 0, queue, False)["message-count"])

    def delete(self, queue: str) -> None:
        """Remove it; nothing where it is not there."""
        self._ask(1, "queue.delete", 0, queue, False, False, False)

    def declare(self, queue: str) -> None:
        """As the engine declares it: classic, durable."""
        self._ask(1, "queue.declare", 0, queue, False, True, False, False, False, {"x-queue-type": "classic"})

    def publish(self, queue: str, bodies: Iterable[bytes]) -> None:
        """Persistent; not confirmed."""
        method = frames.publish_method(1, queue).replace(b"\x01\xce", b"\x00\xce")  # not mandatory
        properties = methods.encode_properties({"content_type": "application/json", "delivery_mode": 2})
        pieces: list[bytes] = []
        size = 0
        for body in bodies:
            pieces += (method, *frames.content_frames(1, properties, body, 131072))
            size += len(body)
            if size > CHUNK:
                self._socket.sendall(b"".join(pieces))
                pieces, size = [], 0
        self._socket.sendall(b"".join(pieces))

    def close(self) -> None:
        """Without a word."""
        self._socket.close()

    def _ask(self, channel: int, name: str, *values: Any) -> dict[str, Any]:
        self._say(channel, name, *values)
        return self._answer(f"{name}-ok")

    def _say(self, channel: int, name: str, *values: Any) -> None:
        known = _method(name)
        types = [field.type for field in known.fields]
        self._socket.sendall(methods.encode_method(channel, (known.klass.id, known.id), types, values))

    def _answer(self, name: str) -> dict[str, Any]:
        known = _method(name)
        ids = known.klass.id.to_bytes(2, "big") + known.id.to_bytes(2, "big")
        while True:
            payload = self._frame()
            if payload[:4] == ids:
                values = methods.decode_arguments([field.type for field in known.fields], payload)
                return dict(zip(known.fields.byname, values, strict=True))
            if payload[:4] in (b"\0\x0a\0\x32", b"\0\x14\0\x28"):  # connection.close, channel.close
                raise SystemExit(f"RabbitMQ refused what was asked before {name}: {payload[6:200]!r}")

    def _frame(self) -> bytes:
        """The payload of the next method frame."""
        while True:
            if len(self._rest) >= 7:
                end = 7 + int.from_bytes(self._rest[3:7], "big")
                if len(self._rest) > end:
                    kind, payload = self._rest[0], self._rest[7:end]
                    self._rest = self._rest[end + 1 :]
                    if kind == frames.METHOD:
                        return payload
                    continue
            read = self._socket.recv(65536)
            if not read:
                raise SystemExit("RabbitMQ closed the connection of the benchmark")
            self._rest += read


def _method(name: str) -> Any:
    klass, _, method = name.partition(".")
    return specification().classes.byname[klass].methods.byname[method]
