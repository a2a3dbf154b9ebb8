"""The dialogues in ``talks/``, played: each is a text that says who says what, and what the owner is told.

# what it shows
mails one two            the mails that wait (also: one@5 = of 5 bytes)
options security=none    of ConnectOptions
S: 220 mx.test           the host says it; lines that follow each other come in one piece, "--" parts them
C: EHLO client.test      what we say next; "C: (message)" is one whole message with its dot
close, reset             the host does
wait 60                  seconds pass
told finished one: …     what the owner is told next ("told nothing": nothing more)
quit, abort              the owner asks for it
closed                   we have closed the connection
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from mailerq.smtp.factory import ConnectOptions, HostFactory
from tests.mx import Net
from tests.owner import ADDRESS, Mail, Owner

TALKS = Path(__file__).parent / "talks"


class Listener(Protocol):
    """The host's side: keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


class Player:
    """Plays one talk; ``play`` raises AssertionError with the line that does not come true."""

    def __init__(self, text: str) -> None:
        self.lines = [line.rstrip() for line in text.splitlines()]
        self.net = Net()
        self.host = Listener()
        self.owner = Owner()
        self.options: dict[str, Any] = {"security": "none", "hostname": "client.test"}
        self.connection: Any = None
        self.told = 0

    def play(self) -> None:
        for number, line in self.grouped():
            try:
                self.step(line)
            except AssertionError as wrong:
                raise AssertionError(f"line {number}: {line.splitlines()[0]}\n{wrong}") from None

    def grouped(self) -> Iterator[tuple[int, str]]:
        """Lines, those of the host that follow each other as one."""
        said: list[str] = []
        for number, line in enumerate([*self.lines, ""], 1):
            if line.startswith("S:"):
                said.append(line)
                continue
            if said:
                yield number - len(said), "\n".join(said)
                said = []
            if line and not line.startswith(("#", "--")):
                yield number, line

    def step(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "mails":
            for word in rest.split():
                name, _, size = word.partition("@")
                body = b"x" * int(size) if size else Mail().body
                self.owner.waiting.append(Mail(f"{name}@example.org", body))
        elif verb == "options":
            self.options |= dict(word.split("=", 1) for word in rest.split())
        else:
            self.connect()
            getattr(self, "do_" + verb.strip(":").lower())(line if verb == "S:" else rest)

    def connect(self) -> None:
        if self.connection is None:
            factory = Factory()
            factory.buildProtocol = lambda addr: self.host  # type: ignore[method-assign]
            self.net.add(ADDRESS, factory)
            made = ConnectOptions(ADDRESS, **self.options)
            self.connection = HostFactory(self.net, self.owner, None, made).connect()
            self.net.run()

    def do_s(self, lines: str) -> None:
        said = "".join(line[3:] + "\r\n" for line in lines.splitlines())
        self.host.transport.write(said.encode("latin-1"))  # type: ignore[union-attr]
        self.net.run()

    def do_c(self, line: str) -> None:
        end = b"\r\n.\r\n" if line == "(message)" else b"\r\n"
        said, found, self.host.heard = self.host.heard.partition(end)
        if line == "(message)":
            assert found and not said.startswith((b"MAIL", b"QUIT", b"RSET")), f"we say {said!r}"
        else:
            assert said.decode() == line and found, f"we say {said.decode()!r}"

    def do_told(self, what: str) -> None:
        there = self.owner.told[self.told : self.told + 1]
        assert there == ([] if what == "nothing" else [what]), f"told {self.owner.told[self.told :]}"
        self.told += len(there)

    def do_wait(self, seconds: str) -> None:
        self.net.run(float(seconds))

    def do_close(self, _: str) -> None:
        self.host.transport.loseConnection()  # type: ignore[union-attr]
        self.net.run()

    def do_reset(self, _: str) -> None:
        self.host.transport.abortConnection()  # type: ignore[union-attr]
        self.net.run()

    def do_quit(self, _: str) -> None:
        self.connection.quit()
        self.net.run()

    def do_abort(self, _: str) -> None:
        self.connection.abort()
        self.net.run()

    def do_give(self, name: str) -> None:
        self.connection.give(Mail(f"{name}@example.org"))
        self.net.run()

    def do_closed(self, _: str) -> None:
        assert self.host.lost, "the connection is open"


class TalkTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Every talk goes as it is written; nothing is said that is not in it, no timer is left."""
        texts = sorted(TALKS.glob("*.txt"))
        self.assertGreater(len(texts), 8)
        for path in texts:
            player = Player(path.read_text(encoding="utf-8"))
            try:
                player.play()
                assert not player.host.heard, f"and then we say {player.host.heard!r}"
                assert player.told == len(player.owner.told), f"and then told {player.owner.told[player.told :]}"
            except AssertionError as wrong:
                self.fail(f"{path.name}, {wrong}")
            player.connection.abort()
            player.net.run()
            self.assertEqual(player.net.getDelayedCalls(), [], path.name)
