"""The control socket: programs ask the running engine, one question a connection.

A question is one line of JSON (``questions.py``). The answer is lines of JSON, one object each; the last one is
``{"end": N}`` after N lines, or ``{"error": "…"}``; an empty line says that more is to come. Then the engine closes.
The answer is made piece by piece, as fast as the client takes it: who asks for a lot, or hangs, holds up nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Talk
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.admin import questions
from mailerq.admin.unix_socket import listen

MOST_OPEN = 32  # connections at once; who comes then is told to come again
PATIENCE = 30.0  # seconds without anything moving, and a connection is cut
PIECE = 64  # lines that are made and written at once

_log = Logger()


class Answers(Protocol):
    """Who knows."""

    def answer(self, question: questions.Asked) -> Iterator[Any]:
        """The lines of the answer, made as they are asked for (None: not yet; a Deferred: not before it fires). Raises
        ``questions.Refused``."""


def control_service(reactor: Any, path: str, answers: Answers) -> IService:
    """A service that answers on the Unix socket ``path`` (mode 0600). Where it cannot listen, a line in the log says
    why and all else goes on."""
    return Control(reactor, path, answers)


class Control(Service):
    """Listens while the service runs. ``talks`` are the connections that are open."""

    def __init__(self, reactor: Any, path: str, answers: Answers) -> None:
        self.talks: set[Answering] = set()
        self._reactor = reactor
        self._path = path
        self._answers = answers
        self._port: Any = None

    def startService(self) -> None:
        """Listen, if that can be."""
        super().startService()  # type: ignore[no-untyped-call]
        factory = Factory.forProtocol(lambda: Answering(self._reactor, self._answers, self.talks))
        factory.noisy = False
        self._port = listen(self._reactor, self._path, factory, "control socket")

    def stopService(self) -> Deferred[None] | None:
        """Close the socket and what is open; the file is removed."""
        super().stopService()  # type: ignore[no-untyped-call]
        for talk in list(self.talks):
            talk.cut()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


@implementer(IPullProducer, IHalfCloseableProtocol)
class Answering(Talk):
    """One connection: a question, its answer, the end."""

    transport: Any

    def __init__(self, clock: Any, answers: Answers, talks: set[Answering]) -> None:
        self._clock = clock
        self._answers = answers
        self._talks = talks
        self._come = b""
        self._lines: Iterator[Any] | None = None
        self._count = 0
        self._deadline: Any = None
        self._awaited: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """Somebody is here."""
        self._deadline = self._clock.callLater(PATIENCE, self.cut)
        if len(self._talks) >= MOST_OPEN:
            self._answer(_refused("too many ask at once: try again"))
        self._talks.add(self)

    def connectionLost(self, reason: Any = None) -> None:
        """They have left, with their answer or without."""
        self._talks.discard(self)
        self._lines = iter(())
        if self._deadline.active():
            self._deadline.cancel()

    def readConnectionLost(self) -> None:
        """No more will be asked; what came is the question, and its answer can still be read."""
        if self._lines is None:
            self._answer(self._about(self._come))

    def writeConnectionLost(self) -> None:
        """We have said all."""

    def cut(self) -> None:
        """End it at once."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """The question, maybe in pieces; what comes after it means nothing."""
        if self._lines is not None:
            return
        self._come += data
        line, end, _ = self._come.partition(b"\n")
        if len(line) > questions.LONGEST:
            self._answer(_refused("the question is too long"))
        elif end:
            self._answer(self._about(line))

    def _about(self, line: bytes) -> Iterator[Any]:
        yield from self._answers.answer(questions.read(line))

    def _answer(self, lines: Iterator[Any]) -> None:
        self._come = b""
        self._lines = lines
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The next piece; the one before has been taken."""
        self._deadline.reset(PATIENCE)
        piece, end = self._piece()
        if self._awaited is None:
            self.transport.write(piece)
        else:
            awaited, self._awaited = self._awaited, None
            awaited.addCallback(lambda _: self._goes_on(piece))
        if end:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _goes_on(self, piece: bytes) -> None:
        """What was awaited is there: that what was made is written has the next piece asked for."""
        if self._deadline.active():
            self.transport.write(piece)

    def stopProducing(self) -> None:
        """Nobody reads any more."""
        self._lines = iter(())

    def _piece(self) -> tuple[bytes, bool]:
        """Some lines of the answer, and whether those are its end."""
        lines: list[bytes] = []
        end: dict[str, Any] | None = None
        try:
            end = self._make(lines)
        except questions.Refused as error:
            end = {"error": str(error)}
        except Exception:
            _log.failure("a question could not be answered")
            end = {"error": "this is an error in the engine; its log says more"}
        if end is not None:
            lines.append(msgspec.json.encode(end))
        return b"\n".join([*lines, b""]) or b"\n", end is not None

    def _make(self, lines: list[bytes]) -> dict[str, Any] | None:
        """Up to ``PIECE`` of them, fewer where the next takes longer; at the end, what is said then."""
        assert self._lines is not None
        for line in self._lines:
            if isinstance(line, Deferred):
                self._awaited = line
            if line is None or self._awaited is not None:
                return None
            lines.append(msgspec.json.encode(line))
            self._count += 1
            if len(lines) == PIECE:
                return None
        return {"end": self._count}


def _refused(why: str) -> Iterator[Any]:
    """An answer that is none."""
    raise questions.Refused(why)
    yield
