"""Bodies in a directory, one file each. Several processes may use it at once."""

from __future__ import annotations

import os
from itertools import count
from secrets import token_hex
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.interfaces import IMessageStore
from mailerq.stores.directory_files import Files, Gone
from mailerq.stores.threads import Threads

THREADS = 4  # a disk writes several at once sooner than one after the other
LOOK_AT = 20_000  # files that one sweep looks at
_log = Logger()


@implementer(IMessageStore)
class DirectoryStore(Service):
    """See ``IMessageStore``; ``directory_files`` says how the files look. ``timeout``: seconds for each request."""

    def __init__(self, reactor: Any, path: str, timeout: float = 30.0) -> None:
        self.batch = 1000
        self._reactor = reactor
        self._files = Files(path)
        self._threads = Threads(reactor, f"directory:{path}", timeout, _why, size=THREADS)
        self._numbers = (f"{os.getpid()}-{token_hex(4)}-{number}" for number in count())

    def __repr__(self) -> str:
        return f"<DirectoryStore {self._threads.where}>"

    def startService(self) -> None:
        """Make the directory where it is missing; if that cannot be done, it is tried again at each request."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()
        self._threads.run(self._files.prepare).addErrback(_not_yet)

    def stopService(self) -> Deferred[None]:
        """Once what was asked is done."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._threads.stop()

    def get(self, key: str) -> Deferred[bytes | None]:
        """The body. ContentError: it is damaged."""
        return self._threads.run(self._files.get, key, self._reactor.seconds())

    def put(self, key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep it."""
        return self._threads.run(self._files.put, key, body, expires, next(self._numbers))

    def remove(self, key: str) -> Deferred[None]:
        """Forget it."""
        return self._threads.run(self._files.remove, key)

    def sweep(self, now: float) -> Deferred[int]:
        """Some of those whose time is over. Of very many bodies each sweep looks at a part."""
        return self._threads.run(self._files.sweep, now, self.batch, LOOK_AT)


def _not_yet(failure: Any) -> None:
    _log.warn("the message store cannot be used yet: {why}", why=failure.value)


def _why(error: BaseException) -> object | None:
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return error if isinstance(error, Gone) else None
