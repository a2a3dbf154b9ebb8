"""The log of a worker's process: whole lines to standard output, each with the number of the worker."""

from __future__ import annotations

import os
from contextlib import suppress

from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText, globalLogBeginner
from zope.interface import implementer


@implementer(ILogObserver)
class WorkerLog:
    """Writes each event with one call, so that lines of several processes stay whole. ``bare``: without the time. Where
    nobody reads it any more, it is lost."""

    def __init__(self, index: int, bare: bool, handle: int = 1) -> None:
        self._index = index
        self._bare = bare
        self._handle = handle

    def __call__(self, event: LogEvent) -> None:
        """An event."""
        level = event.get("log_level")
        system = event.get("log_system") or f"{event.get('log_namespace', '-')}#{level.name if level else 'info'}"
        shown = {**event, "log_system": f"worker {self._index} {system}"}
        text = formatEventAsClassicLogText(shown)
        if text is None:
            return
        if self._bare:
            text = text.partition(" ")[2]
        with suppress(OSError):
            os.write(self._handle, text.encode("utf-8", "backslashreplace"))


def begin_logging(index: int, *, bare: bool) -> None:
    """From now on; what is printed is an event, too."""
    globalLogBeginner.beginLoggingTo([WorkerLog(index, bare)])
