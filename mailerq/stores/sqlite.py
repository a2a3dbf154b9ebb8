"""Bodies in a SQLite file of their own. Several processes may use it at once; what is asked together is written in one
transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.interfaces import IMessageStore
from mailerq.stores.sqlite_bodies import Bodies, Unfit
from mailerq.stores.threads import Task, Threads

MOST = 200  # requests in one transaction
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_log = Logger()


@implementer(IMessageStore)
class SqliteStore(Service):
    """See ``IMessageStore``. ``timeout``: seconds for each request."""

    def __init__(self, reactor: Any, path: str, timeout: float = 30.0) -> None:
        self.batch = 500
        self._reactor = reactor
        self._bodies = Bodies(path, timeout * 0.8)
        self._shrinks = False  # of the thread
        self._threads = Threads(reactor, f"sqlite:{path}", timeout, _why, size=1, most=MOST, serve=self._serve)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._threads.where}>"

    def startService(self) -> None:
        """Make the file where it is missing; if that cannot be done, it is tried again at each request."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()
        self._threads.run(_nothing).addErrback(_not_yet)

    def stopService(self) -> Deferred[None]:
        """Once what was asked is done."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._threads.stop()

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body."""
        return self._threads.run(self._bodies.get, key, self._reactor.seconds())

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        return self._threads.run(self._bodies.put, key, body, expires, writes=True)

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        return self._threads.run(self._bodies.remove, key, writes=True)

    def sweep(self, now: float) -> Deferred[int]:
        """Those whose time is over."""
        return self._threads.run(self._sweep, now, self.batch, writes=True)

    # -- in the thread

    def _sweep(self, now: float, most: int) -> int:
        removed = self._bodies.sweep(now, most)
        self._shrinks = self._shrinks or removed > 0
        return removed

    def _serve(self, tasks: Sequence[Task]) -> None:
        """In their order, in one transaction; no tasks: the end."""
        if not tasks:
            self._bodies.close()
            return
        try:
            self._bodies.open()
            with self._bodies.transaction(any(task.writes for task in tasks)):
                for task in tasks:
                    self._perform(task)
            if self._shrinks:
                self._shrinks = False
                self._bodies.shrink()
        except Unfit:
            raise
        except sqlite3.OperationalError as error:
            if not _is_passing(error):
                self._bodies.close()
            raise
        except Exception:
            self._bodies.close()
            raise

    def _perform(self, task: Task) -> None:
        """What is wrong with one request does not concern the others."""
        try:
            with self._bodies.attempt():
                task.perform()
        except (ValueError, OverflowError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
            if task.error is None:
                raise


def _nothing() -> None:
    """The file is opened before anything is done."""


def _not_yet(failure: Any) -> None:
    _log.warn("the message store cannot be used yet: {why}", why=failure.value)


def _is_passing(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)


def _why(error: BaseException) -> object | None:
    if isinstance(error, OSError):
        return error.strerror or error
    if isinstance(error, sqlite3.Error):
        return f"it is damaged: {error}" if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED else error
    return error if isinstance(error, Unfit) else None
