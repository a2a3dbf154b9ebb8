"""A mail host in a process of its own that takes everything and keeps the time: ``python stamping_sink.py OPTIONS``.

The number of messages stands in the file ``--count`` (8 bytes, native), renewed with each. At SIGTERM it writes to
``--stamps``, as JSON: how many messages and connections there were, when the first and the last message were answered,
and for each message that has a header ``X-Published: SECONDS`` how long after that the final dot was answered, in
seconds. Clock: the system's monotonic one.

``--tls FILE``: offers STARTTLS with that certificate and key (PEM). ``--silent``: takes connections, and says nothing.
"""

from __future__ import annotations

import argparse
import json
import mmap
import signal
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet import ssl  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402

from benchmarks.lib.played_host import ACCEPTED, EHLO, GREETING, PlayedHost  # noqa: E402

reactor: Any = _reactor
STAMP = b"X-Published: "


class StampingHost(PlayedHost):
    """Keeps the time of each message."""

    def __init__(self, sink: Sink, transport: Any) -> None:
        super().__init__([0])
        self._sink = sink
        self._transport = transport
        self.write = transport.write

    def _answer(self, line: bytes) -> bytes:
        if self._in_message:
            self._in_message = False
            self._sink.took(line)
            return ACCEPTED
        if self._sink.context is not None:
            if line[:4].upper() == b"EHLO" and not self._transport.TLS:
                return EHLO.replace(b"250 SIZE", b"250-STARTTLS\r\n250 SIZE")
            if line[:8].upper() == b"STARTTLS":
                self._transport.write(b"220 2.0.0 Go\r\n")
                self._transport.startTLS(self._sink.context)
                return b""
        return super()._answer(line)


class Connection(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def connectionMade(self) -> None:
        if not self.sink.silent:
            self.transport.setTcpNoDelay(True)
            self.host = StampingHost(self.sink, self.transport)
            self.transport.write(GREETING)

    def dataReceived(self, data: bytes) -> None:
        if not self.sink.silent:
            self.host.heard(data)


class Sink(Factory):
    """All connections."""

    noisy = False

    def __init__(self, asked: argparse.Namespace) -> None:
        self.silent = asked.silent
        self.context = ssl.PrivateCertificate.loadPEM(Path(asked.tls).read_bytes()).options() if asked.tls else None
        self.count = self.connections = 0
        self.first = self.last = 0.0
        self.late = array("d")
        self._path = asked.stamps
        with open(asked.count, "r+b") as file:
            self._counter = mmap.mmap(file.fileno(), 8)

    def buildProtocol(self, addr: Any) -> Connection:
        self.connections += 1
        return Connection(self)

    def took(self, message: bytes) -> None:
        """A message is about to be answered."""
        now = time.monotonic()
        self.count += 1
        self._counter[:8] = struct.pack("=Q", self.count)
        if not self.first:
            self.first = now
        self.last = now
        at = message.find(STAMP, 0, 400)
        if at >= 0:
            self.late.append(now - float(message[at + len(STAMP) : message.index(b"\r\n", at)]))

    def write_down(self) -> None:
        """At the end."""
        found = {
            "count": self.count,
            "connections": self.connections,
            "first": self.first,
            "last": self.last,
            "late": self.late.tolist(),
        }
        Path(self._path).write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", required=True)
    parser.add_argument("--stamps", required=True)
    parser.add_argument("--tls")
    parser.add_argument("--silent", action="store_true")
    asked = parser.parse_args()
    sink = Sink(asked)
    reactor.listenTCP(asked.port, sink, backlog=4096)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run(installSignalHandlers=False)
    sink.write_down()


if __name__ == "__main__":
    main()
