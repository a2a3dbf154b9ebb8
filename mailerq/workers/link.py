"""Link: a worker's end of the line to its parent."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailerq.workers.changes import Change, Crowded, Paused, Resumed, Slowed, Warmed
from mailerq.workers.lines import Lines
from mailerq.workers.memory import Memory
from mailerq.workers.messages import (
    Ask,
    Begin,
    NoMessage,
    Ready,
    Refused,
    Reload,
    Reopen,
    ToParent,
    to_worker,
    written,
)
from mailerq.workers.telling import Telling

PATIENCE = 30.0  # seconds for what is told at the start

_log = Logger()


class Orphaned(Exception):
    """There is no parent, or it does not say what is to be done."""


@attrs.frozen
class Served:
    """What an engine does for its parent. ``answers`` knows the answers; ``hear`` is told what others have found."""

    answers: Any
    hear: Callable[[Change], None]
    reload: Callable[[str], None]
    reopen: Callable[[], None]


class Notes:
    """What all workers know, as it was told at the start. What is put is the parent's to note."""

    def __init__(self, memory: Memory) -> None:
        self._sections = memory.sections()

    def get(self, section: str) -> Any:
        """What was noted; None where nothing was."""
        made = self._sections.get(section)
        return None if made is None else made()

    def put(self, section: str, value: Any, *, at_once: bool = False) -> None:
        """Nothing: the change itself is told."""

    def close(self) -> None:
        """Nothing is due."""


@implementer(IPushProducer)
class Link(Protocol):
    """``begin`` and ``notes`` are what was said at the start. What is said later is done by what ``serve`` is given;
    until then it waits. ``orphaned`` is called when the parent is gone."""

    transport: Any

    def __init__(self, clock: Any, start: Start) -> None:
        self.begin = start.begin
        self.notes = Notes(start.memory)
        self.orphaned: Callable[[], None] = lambda: None
        self._clock = clock
        self._lines = start.lines
        self._waiting = start.rest
        self._served: Served | None = None
        self._telling: Telling | None = None
        self._unsent: list[bytes] = []  # before there is a transport

    # -- to the parent -----------------------------------------------------------------------------------------------

    def tell(self, message: ToParent) -> None:
        """Say it."""
        line = written(message)
        if self.transport is None:
            self._unsent.append(line)
        else:
            self.transport.write(line)

    def ready(self) -> None:
        """Jobs are taken."""
        self.tell(Ready())

    def refused(self, why: str) -> None:
        """This worker cannot run."""
        self.tell(Refused(why))

    def pauseProducing(self) -> None:
        """The parent is slow: answers wait."""
        if self._telling is not None:
            self._telling.paused = True

    def resumeProducing(self) -> None:
        """It has taken what there was."""
        if self._telling is not None:
            self._telling.resume()

    def stopProducing(self) -> None:
        """It takes nothing any more."""
        self.pauseProducing()

    # -- from the parent ---------------------------------------------------------------------------------------------

    def serve(self, served: Served) -> None:
        """The engine is there: do what was said meanwhile, and what is said from now on."""
        self._served = served
        self._telling = Telling(self._clock, served.answers, self.tell)
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self._line(line)

    def connectionMade(self) -> None:
        """The line stands."""
        self.transport.registerProducer(self, True)
        for line in self._unsent:
            self.transport.write(line)
        self._unsent.clear()

    def dataReceived(self, data: bytes) -> None:
        """Something is said."""
        for line in self._lines.feed(data):
            if self._served is None:
                self._waiting.append(line)
            else:
                self._line(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The parent is gone: nobody would restart us, or stop us."""
        self.pauseProducing()
        self.orphaned()

    def _line(self, line: bytes) -> None:
        try:
            self._do(line)
        except NoMessage as error:
            _log.warn("the parent said what is no message: {why}", why=str(error))
        except Exception:
            _log.failure("what the parent said could not be done")

    def _do(self, line: bytes) -> None:
        assert self._served is not None and self._telling is not None
        message = to_worker(line)
        if isinstance(message, Paused | Resumed | Slowed | Crowded | Warmed):
            self._served.hear(message)
        elif isinstance(message, Ask):
            self._telling.ask(message)
        elif isinstance(message, Reload):
            self._served.reload(message.config)
        elif isinstance(message, Reopen):
            self._served.reopen()


@attrs.define
class Start:
    """What the parent says at the start: ``begin``, and ``memory``, what all workers know. ``rest`` are the lines that
    came after it, ``lines`` the reader of those to come."""

    lines: Lines
    memory: Memory
    begin: Begin
    rest: list[bytes]


def await_start(handle: int, now: float) -> Start:
    """Read it from a file handle. Raises ``Orphaned``."""
    lines, memory = Lines(), Memory()
    end = time.monotonic() + PATIENCE
    while True:
        if not select.select([handle], [], [], max(0.0, end - time.monotonic()))[0]:
            raise Orphaned(f"the parent said nothing for {PATIENCE:.0f} seconds")
        data = os.read(handle, 65536)
        if not data:
            raise Orphaned("the parent is gone")
        said = lines.feed(data)
        for at, line in enumerate(said):
            begin = _begin(line, memory, now)
            if begin is not None:
                return Start(lines, memory, begin, said[at + 1 :])


def _begin(line: bytes, memory: Memory, now: float) -> Begin | None:
    """What is to be known is put into ``memory``; the last of what is said at the start is returned."""
    try:
        message = to_worker(line)
        if isinstance(message, Begin):
            return message
        if isinstance(message, Paused):
            memory.pauses.put(message.pause)
        elif isinstance(message, Resumed | Slowed | Warmed):
            memory.learn(message, now)
    except ValueError as error:
        _log.warn("the parent said what cannot be used: {why}", why=str(error))
    return None
