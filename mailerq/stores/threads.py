"""Blocking work in threads of a store's own, one piece or many at a time; nobody waits longer than the time-out.

A thread that hangs (a network file system that is gone) keeps neither the bodies that wait behind it nor the end of the
process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailerq.stores.down import StoreDown


class Task:
    """``function(*arguments)``, once: what comes of it is ``answer``, or why there is none ``error``. ``writes``: it
    changes something."""

    __slots__ = ("answer", "deferred", "error", "timer", "work", "writes")

    def __init__(self, writes: bool, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.writes = writes
        self.work: tuple[Callable[..., Any], tuple[Any, ...]] | None = (function, arguments)
        self.answer: Any = None
        self.error: BaseException | None = None
        self.deferred: Deferred[Any] = Deferred(self.drop)
        self.timer: Any = None

    def drop(self, _: Any = None) -> None:
        """Nobody waits for it: what it would have worked on is let go."""
        self.work = None

    def perform(self) -> None:
        """Do it, in the thread, unless it was dropped. An error is kept and raised."""
        work, self.work = self.work, None
        if work is None:
            return
        try:
            self.answer = work[0](*work[1])
        except Exception as error:
            self.error = error
            raise


Serve = Callable[[Sequence[Task]], None]
"""Performs some tasks, in a thread. What it raises is the error of those that have none."""


def one_by_one(tasks: Sequence[Task]) -> None:
    """Each by itself."""
    for task in tasks:
        try:
            task.perform()
        except Exception:  # kept in the task
            continue


class Threads:
    """At most ``size`` threads, started when they are needed; a thread gets up to ``most`` tasks at a time, with all
    that ``serve`` needs to answer them. ``where``: the store as errors name it. An error for which ``is_down`` says
    why (None: it is another one) is passed on as StoreDown."""

    def __init__(
        self,
        reactor: Any,
        where: str,
        timeout: float,
        is_down: Callable[[BaseException], object | None],
        *,
        size: int = 4,
        most: int = 1,
        serve: Serve = one_by_one,
    ) -> None:
        self.where = where
        self._reactor = reactor
        self._timeout = timeout
        self._is_down = is_down
        self._size = size
        self._most = most
        self._serve = serve
        self._inbox: SimpleQueue[Task | None] = SimpleQueue()
        self._open = False
        self._started = 0
        self._tasks: set[Task] = set()
        self._alive = 0  # threads that have not ended, those of before a stop included
        self._ended: Deferred[None] | None = None
        self._patience: Any = None

    def start(self) -> None:
        """From now on tasks are taken."""
        self._open = True
        self._inbox = SimpleQueue()

    def run(self, function: Callable[..., Any], *arguments: Any, writes: bool = False) -> Deferred[Any]:
        """What ``function(*arguments)`` gives in a thread."""
        if not self._open:
            return fail(StoreDown(self.where, "it is not open"))
        task = Task(writes, function, arguments)
        task.timer = self._reactor.callLater(self._timeout, self._late, task)
        self._tasks.add(task)
        self._inbox.put(task)
        if self._started < min(self._size, len(self._tasks)):
            self._start_one()
        return task.deferred

    def _start_one(self) -> None:
        try:
            threading.Thread(target=self._work, args=(self._inbox,), name="store", daemon=True).start()
            self._started += 1
            self._alive += 1
        except RuntimeError:  # the system has no more of them: what waits is done by those there are, or is too late
            pass

    def stop(self) -> Deferred[None]:
        """Fires once all tasks are done and the threads have ended; after the time-out at the latest."""
        self._open = False
        for _ in range(self._started):
            self._inbox.put(None)
        self._started = 0
        ended: Deferred[None] = Deferred()
        self._ended = ended
        self._patience = self._reactor.callLater(self._timeout, self._end)
        self._look_for_end()
        return ended

    def _late(self, task: Task) -> None:
        task.drop()
        if not task.deferred.called:
            task.deferred.errback(StoreDown(self.where, f"no answer within {self._timeout:g} seconds"))
        self._forget(task)

    def _told(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task not in self._tasks:
                continue
            task.timer.cancel()
            if task.deferred.called:
                pass
            elif task.error is None:
                task.deferred.callback(task.answer)
            else:
                task.deferred.errback(self._failure(task.error))
            self._forget(task)

    def _failure(self, error: BaseException) -> Failure:
        why = self._is_down(error)
        return Failure(error if why is None else StoreDown(self.where, why))

    def _forget(self, task: Task) -> None:
        self._tasks.discard(task)
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._ended is not None and not self._tasks and not self._alive:
            self._patience.cancel()
            self._end()

    def _end(self) -> None:
        """The tasks are too late by now, if there are any."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _thread_ended(self) -> None:
        self._alive -= 1
        self._look_for_end()

    # -- in a thread

    def _work(self, inbox: SimpleQueue[Task | None]) -> None:
        while (task := inbox.get()) is not None:
            tasks, last = self._some(inbox, task)
            try:
                self._serve(tasks)
            except Exception as error:
                for one in tasks:
                    one.error = one.error or error
            self._reactor.callFromThread(self._told, tasks)
            del tasks, task
            if last:
                break
        try:
            self._serve(())
        finally:
            self._reactor.callFromThread(self._thread_ended)

    def _some(self, inbox: SimpleQueue[Task | None], first: Task) -> tuple[list[Task], bool]:
        """What waits, up to the number at a time; whether to end after that."""
        tasks = [first]
        try:
            while len(tasks) < self._most:
                task = inbox.get_nowait()
                if task is None:
                    return tasks, True
                tasks.append(task)
        except Empty:
            pass
        return tasks, False
