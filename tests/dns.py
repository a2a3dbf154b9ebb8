"""A DNS server for tests, with zones that are written down: answers, silence, lies.

    server = TestDns(reactor)
    port = server.listen()                       # UDP and TCP on 127.0.0.1
    server.zone["example.test"] = ["MX 10 mx.example.test", "TTL 300"]
    server.zone["mx.example.test"] = ["A 127.0.0.2", "AAAA ::1"]
    server.zone["*.wild.test"] = ["A 127.0.0.3"]
    server.zone["slow.test"] = ["DELAY 0.2", "A 127.0.0.4"]
    yield server.stop()

A name without an entry does not exist; one with ``[]`` exists and has nothing. Names are absolute, with or without the
dot at the end; a CNAME is followed within the zone. Words that change the answer: ``TTL seconds`` (60), ``DELAY
seconds``, ``NXDOMAIN``, ``SERVFAIL``, ``REFUSED``, ``FORMERR``, ``SILENT`` (no answer), ``TRUNCATED`` (all of it over
TCP only), ``CLOSED`` (the same, and TCP is closed without answer), ``GARBAGE`` (bytes that are no DNS), ``WRONG-ID``,
``OTHER`` (the answer to another question), ``NOSOA`` (a negative answer that says nothing about its time). One that is
followed by a type holds for that type only: ``SILENT AAAA``. ``queries`` lists (name, type, ``udp`` or ``tcp``) as they
came.
"""

from __future__ import annotations

import struct
from fnmatch import fnmatchcase
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

WORDS = {"TTL", "DELAY", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "SILENT", "TRUNCATED", "CLOSED", "GARBAGE"}
WORDS |= {"WRONG-ID", "OTHER", "NOSOA"}
TYPES_WITH_NAME = ("MX", "CNAME", "NS", "PTR")


class TestDns:
    """The server. ``zone`` may be changed at any time."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.zone: dict[str, list[str]] = {}
        self.queries: list[tuple[str, str, str]] = []
        self.negative_ttl = 300
        self._ports: list[Any] = []
        self._calls: set[Any] = set()

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> int:
        """Serve UDP and TCP on the same port; gives the port."""
        factory = Factory()
        factory.buildProtocol = lambda addr: _Tcp(self)  # type: ignore[method-assign]
        factory.noisy = False
        tcp = self.reactor.listenTCP(port, factory, interface=interface)
        number = int(tcp.getHost().port)
        self._ports = [tcp, self.reactor.listenUDP(number, _Udp(self), interface=interface, maxPacketSize=65535)]
        return number

    def stop(self) -> Deferred[Any]:
        """Close; fires when closed."""
        for call in self._calls:
            if call.active():
                call.cancel()
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def later(self, delay: float, *what: Any) -> None:
        """Call after a delay, unless stopped before."""
        self._calls = {call for call in self._calls if call.active()}
        self._calls.add(self.reactor.callLater(delay, *what))

    def count(self, name: str, rdtype: str) -> int:
        """How often this was asked."""
        return sum(asked[:2] == (name, rdtype) for asked in self.queries)

    def entry(self, name: str) -> list[str] | None:
        """The lines of a name, or of the first pattern that fits it."""
        if name in self.zone:
            return self.zone[name]
        return next((lines for key, lines in self.zone.items() if "*" in key and fnmatchcase(name, key)), None)

    def asked(self, wire: bytes, way: str) -> tuple[float, bytes | None] | None:
        """The answer to a question and its delay; no bytes: the connection is closed; None: no answer."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, rdtype, way))
        lines = self.entry(name)
        words = _words(lines or [], rdtype)
        delay = float(words.get("DELAY", "0"))
        if "SILENT" in words:
            return None
        if "GARBAGE" in words:
            return delay, b"\xff" * 40
        if way == "tcp" and "CLOSED" in words:
            return delay, None
        response = self._answer(query, name, rdtype, lines, words)
        truncated = way == "udp" and words.keys() & {"TRUNCATED", "CLOSED"}
        size = min(max(query.payload, 512), 1232) if way == "udp" else 65535
        return delay, b"" if response is None else _wire(response, query, size, bool(truncated), words)

    def _answer(
        self, query: dns.message.Message, name: str, rdtype: str, lines: list[str] | None, words: dict[str, str]
    ) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        code = next((word for word in ("NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR") if word in words), None)
        if code or lines is None:
            response.set_rcode(dns.rcode.from_text(code or "NXDOMAIN"))
        else:
            self._fill(response, name, rdtype, 0)
        if not response.answer and "NOSOA" not in words and response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            soa = f"ns.{name}. hostmaster.{name}. 1 3600 600 86400 {self.negative_ttl}"
            response.authority.append(dns.rrset.from_text(f"{name}.", self.negative_ttl, "IN", "SOA", soa))
        return response

    def _fill(self, response: dns.message.Message, name: str, rdtype: str, depth: int) -> None:
        lines = self.entry(name)
        if lines is None or depth > 10:
            return
        ttl = int(_words(lines, rdtype).get("TTL", "60"))
        records = [line.split(None, 1) for line in lines if line.split()[0] not in WORDS]
        texts = [_absolute(kind, text) for kind, text in records if kind == rdtype]
        if texts:
            response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", rdtype, *texts))
            return
        for kind, text in records:
            if kind == "CNAME":
                response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", kind, _absolute(kind, text)))
                self._fill(response, text.rstrip(".").lower(), rdtype, depth + 1)


def _words(lines: list[str], rdtype: str) -> dict[str, str]:
    """The words among the lines that hold for a type, with what follows them."""
    words = {}
    for line in lines:
        word, *rest = line.split()
        if word in WORDS and (word in ("TTL", "DELAY") or not rest or rest[0] == rdtype):
            words[word] = rest[0] if rest else ""
    return words


def _absolute(kind: str, text: str) -> str:
    return text if kind not in TYPES_WITH_NAME or text.endswith(".") else f"{text}."


def _wire(
    response: dns.message.Message, query: dns.message.Message, size: int, cut: bool, words: dict[str, str]
) -> bytes:
    if "WRONG-ID" in words:
        response.id = (query.id + 1) & 0xFFFF
    if "OTHER" in words:
        response.question = [dns.rrset.RRset(dns.name.from_text("other.test."), dns.rdataclass.IN, dns.rdatatype.A)]
    if not cut:
        try:
            return response.to_wire(max_size=size)
        except dns.exception.TooBig:
            pass
    response.answer = []
    response.authority = []
    response.flags |= dns.flags.TC
    return response.to_wire()


class _Udp(DatagramProtocol):
    def __init__(self, server: TestDns) -> None:
        self.server = server

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.server.asked(datagram, "udp")
        if answer is None or answer[1] is None:
            return
        delay, wire = answer
        if delay:
            self.server.later(delay, self.send, wire, addr)
        else:
            self.send(wire, addr)

    def send(self, wire: bytes, addr: Any) -> None:
        if self.transport is not None:
            self.transport.write(wire, addr)


class _Tcp(Protocol):
    def __init__(self, server: TestDns) -> None:
        self.server = server
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 2:
            (length,) = struct.unpack("!H", self.buffer[:2])
            if len(self.buffer) < length + 2:
                return
            wire, self.buffer = self.buffer[2 : length + 2], self.buffer[length + 2 :]
            answer = self.server.asked(wire, "tcp")
            if answer is not None:
                self.server.later(answer[0], self.send, answer[1])

    def send(self, wire: bytes | None) -> None:
        if wire is None:
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self.transport.write(struct.pack("!H", len(wire)) + wire)  # type: ignore[union-attr]
