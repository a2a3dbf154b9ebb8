"""Blocking work in a few threads, each piece of it bounded in time and given up by whoever no longer waits for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailerq.stores.down import StoreDown

T = TypeVar("T")


class Abandoned(Exception):
    """Nobody waits for this work any more."""


class Call:
    """One piece of work. All but ``give_up`` is called in its thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._over = False
        self._interrupt: Callable[[], None] | None = None

    def check(self) -> None:
        """Abandoned, where nobody waits."""
        if self._over:
            raise Abandoned

    def begin(self, interrupt: Callable[[], None]) -> None:
        """``interrupt`` ends what is done until ``ended``; it is called in another thread. Abandoned, as ``check``."""
        with self._lock:
            self.check()
            self._interrupt = interrupt

    def ended(self) -> None:
        """There is nothing to interrupt."""
        with self._lock:
            self._interrupt = None

    def give_up(self) -> None:
        """Nobody waits."""
        with self._lock:
            self._over = True
            if self._interrupt is not None:
                self._interrupt()


class Calls:
    """Gives work to the threads of ``pool``. ``unusable`` says why the store cannot be used, of an error that says so;
    None: it is another error, and goes on as it is."""

    def __init__(
        self, reactor: Any, pool: ThreadPool, where: str, timeout: float, unusable: Callable[[BaseException], Any]
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._where = where
        self._timeout = timeout
        self._unusable = unusable
        self._calls: set[Call] = set()
        self._idle: list[Deferred[None]] = []

    def run(self, work: Callable[[Call], T]) -> Deferred[T]:
        """``work`` in a thread. Fails with StoreDown after the time-out at the latest; cancel it to give up."""
        call = Call()
        result: Deferred[T] = Deferred(lambda _: call.give_up())
        self._calls.add(call)
        timer = self._reactor.callLater(self._timeout, self._late, call, result)

        def in_thread() -> T:
            call.check()
            return work(call)

        def over(success: bool, value: Any) -> None:
            self._reactor.callFromThread(self._ended, call, result, timer, success, value)

        self._pool.callInThreadWithCallback(over, in_thread)
        return result

    def _late(self, call: Call, result: Deferred[Any]) -> None:
        call.give_up()
        if not result.called:
            result.errback(StoreDown(self._where, f"no answer within {self._timeout:g} seconds"))

    def _ended(self, call: Call, result: Deferred[Any], timer: Any, success: bool, value: Any) -> None:
        self._calls.discard(call)
        if timer.active():
            timer.cancel()
        if not result.called:
            result.callback(value if success else self._told(value))
        if not self._calls:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def _told(self, failure: Failure) -> Failure:
        error = failure.value
        why = None if error is None else self._unusable(error)
        return failure if why is None else Failure(StoreDown(self._where, why))

    def wait(self) -> Deferred[None]:
        """Fires once all work is over, within the time-out."""
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        if not self._calls:
            self._idle.remove(idle)
            idle.callback(None)
        return idle
