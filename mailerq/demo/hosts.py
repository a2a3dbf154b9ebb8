"""Mail hosts that play a script on a loopback address."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from mailerq.attempt import State
from mailerq.demo.script import Say, Script


class Host(Factory):
    """All connections to one domain's host. ``seen``: tries by recipient; ``kept``: messages by recipient."""

    noisy = False

    def __init__(self, reactor: Any, script: Script) -> None:
        self.reactor = reactor
        self.script = script
        self.seen: dict[str, int] = {}
        self.kept: dict[str, list[bytes]] = {}

    def keep(self, recipient: str, message: bytes) -> None:
        """A message was taken."""
        self.kept.setdefault(recipient, []).append(message)

    def buildProtocol(self, addr: Any) -> Session:
        return Session(self)


class Session(LineOnlyReceiver):
    """One connection: as much of SMTP (RFC 5321) as a sender needs."""

    MAX_LENGTH = 100_000
    transport: Any

    def __init__(self, host: Host) -> None:
        self._host = host
        self._recipient = ""
        self._say: Say | None = None
        self._message: list[bytes] | None = None

    def connectionMade(self) -> None:
        self._answer(f"220 mx.{self._host.script.domain} ESMTP")

    def lineReceived(self, line: bytes) -> None:
        if self._message is not None:
            self._take(line)
            return
        verb = line[:4].upper()
        if verb == b"EHLO":
            offers = ["PIPELINING"] if self._host.script.pipelining else []
            names = [f"mx.{self._host.script.domain}", *offers, "8BITMIME", "ENHANCEDSTATUSCODES"]
            self._answer(*(f"250-{name}" for name in names[:-1]), f"250 {names[-1]}")
        elif verb == b"RCPT":
            self._rcpt(line)
        elif verb == b"DATA":
            self._data()
        elif verb == b"QUIT":
            self._answer("221 2.0.0 bye")
            self._later(self.transport.loseConnection)
        elif verb in (b"HELO", b"MAIL", b"RSET", b"NOOP"):
            self._answer("250 2.0.0 ok")
        else:
            self._answer("502 5.5.1 not known here")

    def _rcpt(self, line: bytes) -> None:
        recipient = line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")
        number = self._host.seen[recipient] = self._host.seen.get(recipient, 0) + 1
        say = self._host.script.say(number)
        if say.state is State.RCPT:
            self._play(say)
        else:
            self._recipient, self._say = recipient, say
            self._answer("250 2.1.5 ok")

    def _data(self) -> None:
        if self._say is None:
            self._answer("503 5.5.1 no recipient")
        else:
            self._message = []
            self._answer("354 go on, end with a dot")

    def _take(self, line: bytes) -> None:
        """A line of the message, or the dot that ends it."""
        assert self._message is not None
        if line != b".":
            self._message.append(line.removeprefix(b"."))
            return
        say, message = self._say, b"".join(part + b"\r\n" for part in self._message)
        self._message = self._say = None
        assert say is not None
        if say.reply is not None and say.reply.startswith("2"):
            self._host.keep(self._recipient, message)
        self._play(say)

    def _play(self, say: Say) -> None:
        if say.reply is None:
            self._later(self.transport.loseConnection)
        else:
            self._answer(say.reply)

    def _answer(self, *lines: str) -> None:
        self._later(self.transport.write, "".join(f"{line}\r\n" for line in lines).encode())

    def _later(self, do: Any, *arguments: Any) -> None:
        delay = self._host.script.delay
        if delay:
            self._host.reactor.callLater(delay, do, *arguments)
        else:
            do(*arguments)
