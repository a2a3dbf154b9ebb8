"""A DNS server in a process of its own, over UDP: ``python zone_server.py PORT HOSTS``.

The MX of a domain ``dNUMBER.example`` is ``mxK.hosts.example``, K being NUMBER modulo HOSTS, whose A record is the K-th
loopback address. All else exists and has no records. It is as cheap as it can be in Python: bytes from a template.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path[:1] = [str(Path(__file__).resolve().parent.parent.parent)]

from benchmarks.lib.engine_process import address  # noqa: E402
from benchmarks.lib.processes import cpu, free_port  # noqa: E402

MX, A = 15, 1
TTL = (3600).to_bytes(4, "big")
SOA = b"\xc0\x0c\x00\x06\x00\x01" + TTL + b"\x00\x16\x00\x00" + TTL * 5  # the root's, of no names


def label(text: str) -> bytes:
    """A name in one piece."""
    return b"".join(bytes((len(part),)) + part.encode() for part in text.split(".")) + b"\0"


def answer(query: bytes, hosts: int) -> bytes:
    """To a question of one name."""
    end = query.index(b"\0", 12) + 5
    kind = int.from_bytes(query[end - 4 : end - 2], "big")
    first = query[13 : 13 + query[12]]
    records = b""
    if kind == MX and first[:1] == b"d" and first[1:].isdigit():
        name = label(f"mx{int(first[1:]) % hosts}.hosts.example")
        records = b"\x00\x0f\x00\x01" + TTL + (len(name) + 2).to_bytes(2, "big") + b"\x00\x0a" + name
    elif kind == A and first[:2] == b"mx":
        records = b"\x00\x01\x00\x01" + TTL + b"\x00\x04" + socket.inet_aton(address(int(first[2:])))
    if records:
        return query[:2] + b"\x85\x80\0\1\0\1\0\0\0\0" + query[12:end] + b"\xc0\x0c" + records
    return query[:2] + b"\x85\x80\0\1\0\0\0\1\0\0" + query[12:end] + SOA


def serve(port: int, hosts: int) -> None:
    """Until it is ended."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        server.bind(("127.0.0.1", port))
        while True:
            query, sender = server.recvfrom(4096)
            server.sendto(answer(query, hosts), sender)


class ZoneServer:
    """The process. ``hosts``: how many there are."""

    def __init__(self, hosts: int) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self.process = subprocess.Popen([sys.executable, __file__, str(self.port), str(hosts)])
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", self.port))
            probe.settimeout(0.1)
            until = time.monotonic() + 20
            while time.monotonic() < until and self.process.poll() is None:
                try:
                    probe.send(bytes(12) + label("d0.example") + b"\x00\x0f\x00\x01")
                    if probe.recv(512):
                        return
                except OSError:
                    time.sleep(0.02)
        raise SystemExit("the DNS server did not start")

    def cpu(self) -> float:
        """Seconds of processor time."""
        return cpu(self.process.pid)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
