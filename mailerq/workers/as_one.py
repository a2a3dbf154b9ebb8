"""AsOne: the answers of all workers as one answer, behind the parent's control socket.

A worker that does not answer within five seconds, or does not run, is left out, and that is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from mailerq import __version__
from mailerq.admin.pausing import begun, seen, which
from mailerq.admin.questions import Asked as Question
from mailerq.admin.questions import Explain, Pause, Pauses, Refused, Resume, Rows, Sites, Stats
from mailerq.explained import Line, Note, Row, Total
from mailerq.workers import merged
from mailerq.workers.asking import Asked, Asking
from mailerq.workers.changes import Resumed
from mailerq.workers.life import Life
from mailerq.workers.memory import Memory
from mailerq.workers.messages import Answer, ToWorker


class Family(Protocol):
    """The parent, as it is needed here."""

    reactor: Any
    lives: dict[int, Life]
    count: int
    restarts: int
    memory: Memory

    def tell(self, message: ToWorker) -> None:
        """Say it to all workers."""

    def note_now(self) -> None:
        """What all must know is on the disk when this returns."""


class AsOne:
    """Answers for ``family``."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._asking = Asking(family.reactor, family.lives, family.count)

    def answered(self, index: int, answer: Answer) -> None:
        """A worker answers something."""
        self._asking.answered(index, answer)

    def lost(self, index: int) -> None:
        """A worker is no more."""
        self._asking.lost(index)

    def answer(self, question: Question) -> Iterator[Any]:
        """The lines of an answer; a Deferred: not before it fires. Raises ``Refused``."""
        if isinstance(question, Explain):
            return self._explain(question)
        if isinstance(question, Sites):
            return self._sites(question)
        if isinstance(question, Rows):
            return self._rows(question)
        if isinstance(question, Pause):
            return self._pause(question)
        if isinstance(question, Resume):
            return self._resume(question)
        if isinstance(question, Pauses):
            return map(seen, list(self._family.memory.pauses))
        assert isinstance(question, Stats)
        return self._stats(question)

    # -- asking ------------------------------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> Iterator[Any]:
        """Until all have answered. Raises ``Refused`` where none has anything to say."""
        try:
            yield from asked.all()
        finally:
            self._asking.done(asked)
        if not asked.lines:
            raise Refused("; ".join(asked.unheard.values()) or "there is no worker")
        if len(asked.errors) == len(asked.lines):
            raise Refused(next(iter(asked.errors.values())))

    def _explain(self, question: Explain) -> Iterator[Any]:
        asked = self._asking.ask(question)
        yield from self._ask(asked)
        said = {index: _read(lines, list[Line]) for index, lines in asked.lines.items() if index not in asked.errors}
        yield from merged.explained(said, self._family.reactor.seconds())
        yield from self._unheard(asked)

    def _unheard(self, asked: Asked) -> Iterator[Note]:
        for index in sorted(asked.unheard):
            yield Note(f"{asked.unheard[index]}: what it has does not show here")

    def _sites(self, question: Sites) -> Iterator[Any]:
        asked = self._asking.ask(question)
        yield from self._ask(asked)
        totals: list[Total] = []
        by_worker: dict[int, list[Row]] = {}
        for index, lines in asked.lines.items():
            if index not in asked.errors and lines:
                totals += _read(lines[:1], list[Total])
                by_worker[index] = _read(lines[1:], list[Row])
        if not totals:
            raise Refused("no worker has said how much it has")
        rows = merged.rows(row for some in by_worker.values() for row in some)
        chosen = merged.first(rows, question.sort, question.most)
        more: list[Row] = []
        for one in self._missing(chosen, by_worker, totals):
            if isinstance(one, Row):
                more.append(one)
            else:
                yield one
        keys = {row.key for row in chosen}
        same = [row for some in by_worker.values() for row in some if row.key in keys]
        yield merged.total(totals, len(rows), asked.unheard.values())
        yield from merged.first(merged.rows([*same, *more]), question.sort, question.most)

    def _missing(self, chosen: list[Row], by_worker: dict[int, list[Row]], totals: list[Total]) -> Iterator[Any]:
        """Of a site that is among the first of one worker, the rows of those who have told only of others."""
        for (index, rows), total in zip(by_worker.items(), totals, strict=True):
            told = {row.key for row in rows}
            keys = [row.key for row in chosen if row.key not in told]
            if keys and total.sites > len(rows):
                asked = self._asking.ask(Rows(keys), [index])
                try:
                    yield from asked.all()
                finally:
                    self._asking.done(asked)
                yield from _read(asked.lines.get(index, []), list[Row])

    def _rows(self, question: Rows) -> Iterator[Any]:
        asked = self._asking.ask(question)
        yield from self._ask(asked)
        yield from merged.rows(row for lines in asked.lines.values() for row in _read(lines, list[Row]))

    def _stats(self, question: Stats) -> Iterator[Any]:
        asked = self._asking.ask(question)
        yield from self._ask(asked)
        each = {index: msgspec.json.decode(lines[0]) for index, lines in asked.lines.items() if lines}
        if not each:
            raise Refused("no worker has said how much it has")
        totals = msgspec.convert([{**one, "kind": "total"} for one in each.values()], list[Total])
        yield {
            **msgspec.to_builtins(merged.total(totals, 0, asked.unheard.values())),
            "kind": "stats",
            "version": __version__,
            "process": os.getpid(),
            "events": merged.counts(one["events"] for one in each.values()),
            "restarts": self._family.restarts,
            "workers": [{"worker": index, **one} for index, one in sorted(each.items())],
        }

    # -- pauses ------------------------------------------------------------------------------------------------------

    def _pause(self, question: Pause) -> Iterator[Any]:
        now = self._family.reactor.seconds()
        paused = self._family.memory.pause(now, question.until, question.why, **begun(question, now))
        self._family.note_now()
        self._family.tell(paused)
        yield from self._in_force()
        yield seen(paused.pause)

    def _resume(self, question: Resume) -> Iterator[Any]:
        memory = self._family.memory
        ended = which(question, memory.pauses)
        for pause in ended:
            memory.pauses.drop(pause.scope)
            self._family.tell(Resumed(pause.scope))
        if ended:
            self._family.note_now()
            yield from self._in_force()
        yield from map(seen, ended)

    def _in_force(self) -> Iterator[Any]:
        """Until all workers have done what was said before; one that does not answer does it when it can."""
        asked = self._asking.ask(Pauses())
        try:
            yield from asked.all()
        finally:
            self._asking.done(asked)


def _read(lines: list[bytes], shape: Any) -> Any:
    return msgspec.json.decode(b"[" + b",".join(lines) + b"]", type=shape)
