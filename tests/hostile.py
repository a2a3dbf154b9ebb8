"""Hosts that do anything at any step, the same each time for the same dice; in memory or on real sockets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

OFFERS = (b"PIPELINING", b"SIZE 100000", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES", b"STARTTLS", b"SIZE x", b"")
CODES = (150, 199, 200, 211, 220, 221, 250, 251, 252, 300, 334, 354, 400, 421, 450, 452, 500, 550, 552, 554, 599)
STEPS = ("greeting", "ehlo", "helo", "starttls", "mail", "rcpt", "data", "end", "rset", "quit")
GOOD = {
    "greeting": b"220 hostile.test ESMTP\r\n",
    "helo": b"250 hostile.test\r\n",
    "starttls": b"220 2.0.0 Begin\r\n",
    "data": b"354 Go ahead\r\n",
    "quit": b"221 2.0.0 Bye\r\n",
}
FINE = b"250 2.0.0 Fine\r\n"


class Hostile(Factory):
    """The host. ``calm``: how probable it is that it does at a step what it should. ``taken``: recipients whose message
    it took, saying so clearly. ``opened``, ``open``: connections. ``certificate``: so that STARTTLS can come about."""

    noisy = False

    def __init__(self, clock: Any, dice: random.Random, calm: float = 0.85, certificate: Any = None) -> None:
        self.clock = clock
        self.dice = dice
        self.calm = calm
        self.certificate = certificate
        self.taken: list[str] = []
        self.opened = self.open = 0

    def buildProtocol(self, addr: Any) -> HostileSession:
        return HostileSession(self)


class HostileSession(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, host: Hostile) -> None:
        self.host = host
        self.dice = host.dice
        self.buffer = b""
        self.recipient = ""
        self.in_message = self.mute = self.over = self.secure = False
        self.clean = True  # what it has said so far, the client cannot take for anything else

    def connectionMade(self) -> None:
        self.host.opened += 1
        self.host.open += 1
        self.answer("greeting")

    def connectionLost(self, reason: Failure) -> None:
        self.host.open -= 1
        self.mute = self.over = True

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while not self.mute:
            end = b"\r\n.\r\n" if self.in_message and not self.buffer.startswith(b".\r\n") else b"\r\n"
            line, found, rest = self.buffer.partition(end)
            if not found:
                return
            self.buffer = rest
            if self.in_message:
                self.in_message = False
                self.answer("end")
            else:
                self.command(line)

    def command(self, line: bytes) -> None:
        step = line[:4].decode("latin-1").lower().strip()
        step = {"star": "starttls"}.get(step, step)
        if step == "rcpt":
            self.recipient = line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")
        self.answer(step)

    # -- what it does

    def answer(self, step: str) -> None:
        """What it should do, or anything."""
        good = self.good(step)
        if self.dice.random() < self.host.calm:
            self.say_good(step, good)
            return
        self.clean = False
        self.in_message = step == "data" and self.dice.random() < 0.5
        act: Callable[[bytes], None] = self.dice.choice(ACTS)
        act(self, good)  # type: ignore[call-arg]

    def good(self, step: str) -> bytes:
        if step != "ehlo":
            return GOOD.get(step, FINE)
        offers = [offer for offer in OFFERS if self.dice.random() < 0.5 and not (self.secure and offer == b"STARTTLS")]
        lines = [b"hostile.test", *offers]
        return b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"

    def say_good(self, step: str, good: bytes) -> None:
        self.write(good)
        self.in_message = step == "data"
        if step == "end" and self.clean:
            self.host.taken.append(self.recipient)
        elif step == "quit":
            self.close(b"")
        elif step == "starttls":
            self.secure = True
            self.tls()

    def tls(self) -> None:
        """A handshake, or what is none."""
        if self.host.certificate is not None and self.dice.random() < self.host.calm:
            self.transport.startTLS(self.host.certificate.context())
            return
        self.mute = True
        act: Callable[[bytes], None] = self.dice.choice((*ACTS, HostileSession.half_handshake))
        act(self, b"")  # type: ignore[call-arg]

    def half_handshake(self, good: bytes) -> None:
        self.write(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + self.dice.randbytes(self.dice.randrange(200)))

    def code(self, good: bytes) -> None:
        """Another code."""
        self.write(b"%d %b\r\n" % (self.dice.choice(CODES), self.dice.choice((b"", b"5.1.1 No", b"4.0.0", b"Fine"))))

    def refuse(self, good: bytes) -> None:
        self.write(self.dice.choice((b"450 4.2.0 Not now\r\n", b"550 5.1.1 Not here\r\n")))

    def leave(self, good: bytes) -> None:
        """421, with or without an end."""
        self.write(b"421 4.3.2 Closing\r\n")
        if self.dice.random() < 0.7:
            self.close(good)

    def bytes_of_any_kind(self, good: bytes) -> None:
        self.write(self.dice.randbytes(self.dice.choice((1, 3, 20, 300, 5000))) + self.dice.choice((b"", b"\n")))

    def huge_line(self, good: bytes) -> None:
        self.write(good[:4] + b"x" * self.dice.choice((600, 8000, 9000, 200_000)) + self.dice.choice((b"", b"\r\n")))

    def many_lines(self, good: bytes) -> None:
        self.write((good[:3] + b"-more\r\n") * self.dice.choice((2, 1000, 30_000)) + self.dice.choice((b"", good)))

    def cut(self, good: bytes) -> None:
        """A reply that ends anywhere; then nothing, or the end."""
        self.write(good[: self.dice.randrange(len(good) + 1)])
        self.dice.choice((self.silence, self.close, self.reset))(good)

    def several(self, good: bytes) -> None:
        replies = (good, FINE, b"550 5.0.0 No\r\n", b"354 More\r\n", b"421 Bye\r\n", b"\r\n")
        self.write(b"".join(self.dice.choice(replies) for _ in range(self.dice.randrange(2, 6))))

    def codes_that_differ(self, good: bytes) -> None:
        self.write(b"250-one\r\n550 two\r\n")

    def close(self, good: bytes) -> None:
        self.mute = True
        self.transport.loseConnection()

    def reset(self, good: bytes) -> None:
        self.mute = True
        self.transport.abortConnection()

    def answer_and_close(self, good: bytes) -> None:
        self.write(good)
        self.dice.choice((self.close, self.reset))(good)

    def silence(self, good: bytes) -> None:
        self.mute = True

    def deaf(self, good: bytes) -> None:
        """Reads nothing for longer than anybody waits."""
        self.mute = True
        if hasattr(self.transport, "pauseProducing"):
            self.transport.pauseProducing()
            self.host.clock.callLater(2.0, self.transport.resumeProducing)

    def unasked(self, good: bytes) -> None:
        """The right answer, and some time later one more."""
        self.write(good)
        more = self.dice.choice((b"421 4.4.2 Idle for too long\r\n", FINE, b"!\r\n"))
        self.host.clock.callLater(self.dice.random() * 0.3, self.write, more)

    def drip(self, good: bytes) -> None:
        """Byte by byte; perhaps without end."""
        pieces = good if self.dice.random() < 0.5 else good[:-2] + b" and so on" * 20
        self.one_more(pieces, self.dice.choice((0.001, 0.01, 0.1)))

    def one_more(self, left: bytes, pause: float) -> None:
        if left and not self.over:
            self.transport.write(left[:1])
            self.host.clock.callLater(pause, self.one_more, left[1:], pause)

    def late(self, good: bytes) -> None:
        self.host.clock.callLater(self.dice.random(), self.write, good)

    def write(self, what: bytes) -> None:
        if not self.over and what:
            self.transport.write(what)


ACTS = (
    HostileSession.code,
    HostileSession.code,
    HostileSession.refuse,
    HostileSession.refuse,
    HostileSession.leave,
    HostileSession.bytes_of_any_kind,
    HostileSession.huge_line,
    HostileSession.many_lines,
    HostileSession.cut,
    HostileSession.several,
    HostileSession.codes_that_differ,
    HostileSession.close,
    HostileSession.reset,
    HostileSession.answer_and_close,
    HostileSession.silence,
    HostileSession.deaf,
    HostileSession.unasked,
    HostileSession.drip,
    HostileSession.late,
)
