"""Telling: a worker's answers to its parent's questions, piece by piece, so that mails have their turn between two."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw
from twisted.logger import Logger

from mailerq.admin import questions
from mailerq.workers.messages import Answer, Ask

PIECE = 64  # lines that are made and sent at once
MOST_OPEN = 100  # questions at once

_log = Logger()


class Telling:
    """``answers`` knows them (``admin/answers.py``), ``send`` takes the pieces. While ``paused``, none are made."""

    def __init__(self, clock: Any, answers: Any, send: Callable[[Answer], None]) -> None:
        self._clock = clock
        self._answers = answers
        self._send = send
        self._open: deque[tuple[int, Iterator[Any]]] = deque()
        self._turn: Any = None
        self.paused = False

    def ask(self, message: Ask) -> None:
        """A question; its answer is begun in the next turn."""
        if len(self._open) >= MOST_OPEN:
            self._send(Answer(message.number, (), True, "too many ask at once: try again"))
            return
        self._open.append((message.number, self._answer(message.question)))
        self._later()

    def _answer(self, question: str) -> Iterator[Any]:
        yield from self._answers.answer(questions.read(question.encode("utf-8", "surrogatepass")))

    def resume(self) -> None:
        """What was sent has been taken."""
        self.paused = False
        self._later()

    def _later(self) -> None:
        if self._turn is None and self._open and not self.paused:
            self._turn = self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        """One piece, each question in turn."""
        self._turn = None
        number, lines = self._open.popleft()
        piece = _piece(number, lines)
        if not piece.end:
            self._open.append((number, lines))
        self._send(piece)
        self._later()


def _piece(number: int, lines: Iterator[Any]) -> Answer:
    made: list[Raw] = []
    error = ""
    try:
        for line in lines:
            if line is None:
                return Answer(number, tuple(made))
            made.append(Raw(msgspec.json.encode(line)))
            if len(made) == PIECE:
                return Answer(number, tuple(made))
    except questions.Refused as refused:
        error = str(refused)
    except Exception:
        _log.failure("a question could not be answered")
        error = "this is an error in the engine; its log says more"
    return Answer(number, tuple(made), True, error)
