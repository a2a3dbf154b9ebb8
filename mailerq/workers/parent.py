"""The parent: starts the workers, starts again what dies, and has them reload and stop. It delivers nothing itself.

What one worker finds out and all must know goes through it, and is noted by it. It answers questions for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailerq import __version__
from mailerq.admin.control import control_service
from mailerq.files import lock
from mailerq.notes import Notes
from mailerq.process import each, end_in_failure, on_hangup
from mailerq.settings import Settings, SettingsError, parse, running
from mailerq.shared_memory import clear_dead
from mailerq.worker import Worker
from mailerq.workers.as_one import AsOne
from mailerq.workers.changes import Change
from mailerq.workers.delay import Delay
from mailerq.workers.life import Life
from mailerq.workers.memory import Memory
from mailerq.workers.messages import Answer, Begin, Ready, Refused, Reload, Reopen, ToParent, ToWorker

GRACE = 20.0  # seconds beyond delivery.drain, and a worker that does not end is killed
LOOK_AGAIN = 0.2  # seconds between two looks whether the workers of a parent that was killed have ended

Spawn = Callable[[Life, Worker, int], Any]
"""``spawn(life, worker, lock)`` starts the process of a worker; ``lock`` is a file handle that it inherits."""

_log = Logger()


class Parent(MultiService):
    """``read`` gives the text of the configuration, ``settings`` is what it said. ``lives``: the processes, by the
    worker's number; what is dead and will be started again is not among them."""

    def __init__(self, reactor: Any, settings: Settings, read: Callable[[], str], count: int, spawn: Spawn) -> None:
        super().__init__()
        self.setName("mailerq")
        self.reactor = reactor
        self.settings = settings
        self.count = count
        self.lives: dict[int, Life] = {}
        self.restarts = 0
        self._started: set[int] = set()  # those that have taken jobs
        self._read = read
        self._first = self._text = read()
        self._spawn = spawn
        self._delays = [Delay() for _ in range(count)]
        self._timers: dict[int, Any] = {}
        self._lock = -1
        self._stopped: Deferred[None] | None = None
        self._killer: Any = None
        self._tried_until: float | None = None

    # -- start -------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Start all workers at once. Where those of an earlier parent still finish what is on the wire, wait."""
        super().startService()
        on_hangup(self.reactor, self.reload)
        state = Path(self.settings.state)
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock(state / "workers")
            self.notes = Notes(str(state / "notes.json"), self.reactor)
        except BlockingIOError:
            self._wait_for_others()
            return
        except OSError as error:
            self._refuse(f"state: {error}")
            return
        self.memory = Memory(self.notes.get)
        for problem in self.memory.problems:
            _log.error("what was noted cannot be used: {problem}", problem=problem)
        _log.info(
            "mailerq {version}, configuration {path}, {count} workers",
            version=__version__,
            path=self.settings.source,
            count=self.count,
        )
        self.answers = AsOne(self)
        if self.settings.control:
            control_service(self.reactor, self.settings.control, self.answers).setServiceParent(self)
        each(self, self.reactor, 1.0, self._forget_old)
        for index in range(self.count):
            self._start(index)

    def _wait_for_others(self) -> None:
        """Another parent has this state, or it was killed and its workers have not ended yet."""
        now = self.reactor.seconds()
        if self._tried_until is None:
            self._tried_until = now + self.settings.delivery.drain + GRACE
            _log.warn("workers of another parent run on {state}: waiting for their end", state=self.settings.state)
        if now >= self._tried_until:
            self._refuse(f"{self.settings.state} is in use by the workers of another parent")
        else:
            self._timers[-1] = self.reactor.callLater(LOOK_AGAIN, self._try_again)

    def _try_again(self) -> None:
        del self._timers[-1]
        self.startService()

    def _start(self, index: int) -> None:
        self._timers.pop(index, None)
        life = Life(index, self.reactor.seconds(), self)
        try:
            self._spawn(life, Worker(index, self.count), self._lock)
        except OSError as error:
            _log.error("worker {index} cannot be started: {why}", index=index, why=str(error))
            self._start_later(life)
            return
        self.lives[index] = life
        for change in self.memory.all():
            life.send(change)
        life.send(Begin(self._first, self._text, self.settings.source))

    # -- what workers do ---------------------------------------------------------------------------------------------

    def said(self, life: Life, message: ToParent) -> None:
        """A worker says something."""
        if isinstance(message, Answer):
            self.answers.answered(life.index, message)
        elif isinstance(message, Ready):
            life.ready = True
            self._started.add(life.index)
            _log.info("worker {index} takes jobs, process {pid}", index=life.index, pid=life.pid)
        elif isinstance(message, Refused):
            life.refused = message.why
        else:
            self._learn(life, message)

    def _learn(self, life: Life, change: Change) -> None:
        try:
            heard = self.memory.learn(change, self.reactor.seconds())
        except ValueError as error:
            _log.warn("worker {index} has found what cannot be: {why}", index=life.index, why=str(error))
            return
        if heard is not None:
            self.tell(heard)
            self._note()

    def tell(self, message: ToWorker) -> None:
        """Say it to all workers."""
        for life in self.lives.values():
            life.send(message)

    def note_now(self) -> None:
        """What all must know is on the disk when this returns."""
        self._note(at_once=True)

    def _note(self, at_once: bool = False) -> None:
        *some, last = self.memory.sections().items()
        for section, made in some:
            self.notes.put(section, made)
        self.notes.put(*last, at_once=at_once)

    def _forget_old(self) -> None:
        if self.memory.forget_old(self.reactor.seconds()):
            self._note()

    def ended(self, life: Life) -> None:
        """The process of a worker is no more."""
        if self.lives.get(life.index) is life:
            del self.lives[life.index]
        self.answers.lost(life.index)
        try:
            clear_dead(self.settings.state, life.index, self.count)
        except OSError as error:
            _log.error("the connections of worker {index} still count: {error}", index=life.index, error=error)
        if self._stopped is not None:
            self._one_less(life)
        elif life.refused and (life.index not in self._started or not any(one.ready for one in self.lives.values())):
            self._refuse(life.refused)
        else:
            self._start_later(life)

    def _start_later(self, life: Life) -> None:
        lived = self.reactor.seconds() - life.began
        wait = self._delays[life.index].after(lived)
        self.restarts += 1
        _log.error(
            "worker {index}, process {pid}, {end} after {lived:.1f} s{why}; it is started again{when}",
            index=life.index,
            pid=life.pid,
            end=life.end,
            lived=lived,
            why=f" (cannot run: {life.refused})" if life.refused else "",
            when=f" in {wait:g} s" if wait else "",
        )
        self._timers[life.index] = self.reactor.callLater(wait, self._start, life.index)

    def _refuse(self, why: str) -> None:
        """There is nothing to be done without a person: say why, and end with status 1."""
        _log.critical("cannot run: {why}", why=why)
        end_in_failure(self.reactor)

    # -- reload ------------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again, and have all workers use it; what is wrong with it is said once, and nothing
        changes then. Logs are opened anew in any case."""
        try:
            text = self._read()
            settings = parse(text, self.settings.source, os.environ)
        except SettingsError as error:
            _log.error("not reloaded, the configuration cannot be used:\n{errors}", errors=str(error))
            self.tell(Reopen())
            return
        self._text = text
        self.settings, fixed = running(settings, self.settings)
        self.tell(Reload(text))
        _log.info("reloaded{but}", but=f"; needs a restart: {', '.join(fixed)}" if fixed else "")

    # -- stop --------------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Have all workers finish what is on the wire; then this is done."""
        self._stopped = Deferred()
        _log.info("stopping: the workers finish what is on the wire")
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for life in self.lives.values():
            life.signal_it("TERM")
        if self.lives:
            self._killer = self.reactor.callLater(self.settings.delivery.drain + GRACE, self._kill)
        else:
            self._stopped.callback(None)
        return Deferred.fromCoroutine(self._stop(self._stopped))

    async def _stop(self, ended: Deferred[None]) -> None:
        await ended
        closed = super().stopService()
        if isinstance(closed, Deferred):
            await closed
        if self._lock >= 0:
            self.notes.close()
            os.close(self._lock)
            self._lock = -1

    def _kill(self) -> None:
        self._killer = None
        for life in self.lives.values():
            _log.error("worker {index} does not end: it is killed", index=life.index)
            life.signal_it("KILL")

    def _one_less(self, life: Life) -> None:
        if life.end != "ended" and life.ready:  # one that was not may be killed by what it was told to end with
            _log.warn("worker {index}, process {pid}, {end}", index=life.index, pid=life.pid, end=life.end)
        if self.lives or self._stopped is None or self._stopped.called:
            return
        if self._killer is not None:
            self._killer.cancel()
        self._stopped.callback(None)
