"""Where the lines about mails go: a file of their own, or the process's log."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.logger import Logger

from mailerq.events import Events, Fields, as_json, as_text
from mailerq.worker import ALONE, Worker

_log = Logger(namespace="mailerq.mail")


class LogSettings(Protocol):
    """``log`` of the configuration."""

    @property
    def mails(self) -> bool: ...
    @property
    def format(self) -> str: ...
    @property
    def file(self) -> str | None: ...


class MailLog:
    """Writes lines, with ``worker`` in each where there are several. What is written at once is one call, so that lines
    of several processes in one file stay whole. A full disk or a missing folder is told once and never stops a mail."""

    def __init__(self, settings: LogSettings, worker: Worker = ALONE) -> None:
        self._shape: Callable[[Fields], str] = as_json if settings.format == "json" else as_text
        self._also: Fields = {} if worker.alone else {"worker": worker.index}
        self._path = settings.file
        self._file: int | None = None
        self._failed = False
        self.reopen()

    def write(self, events: Sequence[Fields]) -> None:
        """One line for each event."""
        shape = self._shape
        if self._also:
            events = [{**fields, **self._also} for fields in events]
        if self._path is None:
            for fields in events:
                _log.info("{line}", line=shape(fields))
            return
        if self._file is None:
            return
        try:
            os.write(self._file, "".join([f"{shape(fields)}\n" for fields in events]).encode("utf-8", "replace"))
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.error("{path}: lines about mails are lost: {error}", path=self._path, error=error)

    def reopen(self) -> None:
        """Close the file and open it by name again (logrotate)."""
        self.close()
        if self._path is None:
            return
        try:
            os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            _log.error("{path}: cannot be written: {error}", path=self._path, error=error)

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def open_log(settings: LogSettings, events: Events, worker: Worker = ALONE) -> MailLog:
    """A log that writes what ``events`` tells, if that is wanted."""
    log = MailLog(settings, worker)
    if settings.mails:
        events.listen(log.write)
    return log
