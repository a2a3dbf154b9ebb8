"""Asking: one question to several workers, and what each has answered so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from mailerq.admin import questions
from mailerq.workers.life import Life
from mailerq.workers.messages import Answer, Ask

PATIENCE = 5.0  # seconds in which nothing comes from a worker, and its part is done without


class Asked:
    """By the worker's number: ``lines`` that it has answered, ``errors`` why it has not. ``unheard`` says of whom
    nothing, or not all, has come."""

    def __init__(self, clock: Any) -> None:
        self.lines: dict[int, list[bytes]] = {}
        self.errors: dict[int, str] = {}
        self.unheard: dict[int, str] = {}
        self._clock = clock
        self._open: dict[int, Any] = {}  # by worker: when we give up
        self._moved: Deferred[None] | None = None

    def all(self) -> Iterator[Any]:
        """Gives what is to be waited for (a Deferred) as long as something is."""
        while self._open:
            self._moved = Deferred()
            yield self._moved

    def await_it(self, index: int) -> None:
        """A worker has been asked."""
        self.lines[index] = []
        self._open[index] = self._clock.callLater(PATIENCE, self.lost, index, "does not answer")

    def came(self, index: int, answer: Answer) -> None:
        """Some of it has come."""
        if index not in self._open:
            return
        self.lines[index] += map(bytes, answer.lines)
        if answer.error:
            self.errors[index] = answer.error
        if answer.end:
            self._open.pop(index).cancel()
        else:
            self._open[index].reset(PATIENCE)
        self._move()

    def lost(self, index: int, why: str = "does not run") -> None:
        """No more will come."""
        timer = self._open.pop(index, None)
        if timer is None:
            return
        if timer.active():
            timer.cancel()
        self.unheard[index] = f"worker {index} {why}"
        self.lines.pop(index, None)
        self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.callback(None)


class Asking:
    """``lives`` are the workers that run, ``count`` how many there are to be."""

    def __init__(self, clock: Any, lives: Mapping[int, Life], count: int) -> None:
        self._clock = clock
        self._lives = lives
        self._count = count
        self._number = 0
        self._open: dict[int, Asked] = {}

    def ask(self, question: questions.Question, of: Iterable[int] | None = None) -> Asked:
        """Ask all, or some of them."""
        self._number += 1
        asked = self._open[self._number] = Asked(self._clock)
        line = questions.write(question).decode()
        for index in range(self._count) if of is None else of:
            life = self._lives.get(index)
            if life is None:
                asked.unheard[index] = f"worker {index} does not run"
            else:
                asked.await_it(index)
                life.send(Ask(self._number, line))
        return asked

    def done(self, asked: Asked) -> None:
        """What else comes is not read."""
        self._open = {number: one for number, one in self._open.items() if one is not asked}

    def answered(self, index: int, answer: Answer) -> None:
        """A worker answers something."""
        asked = self._open.get(answer.number)
        if asked is not None:
            asked.came(index, answer)

    def lost(self, index: int) -> None:
        """A worker is no more."""
        for asked in list(self._open.values()):
            asked.lost(index)
