"""What an engine and the parent of several do alike with their process: its end, its SIGHUP, what it does again and
again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.logger import Logger

_log = Logger()


def end_in_failure(reactor: Any) -> None:
    """End in good order, with status 1."""
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
    reactor.callWhenRunning(reactor.stop)


def on_hangup(reactor: Any, call: Callable[[], None]) -> None:
    """``call`` it in the reactor's turn at each SIGHUP."""
    try:
        signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(call))
    except ValueError:  # not in the main thread: nobody can hang up on us
        _log.debug("no SIGHUP in this thread")


def each(service: MultiService, reactor: Any, seconds: float, call: Callable[[], None]) -> None:
    """``call`` it now, and again after so many seconds each, as long as ``service`` runs."""
    timer = TimerService(seconds, call)
    timer.clock = reactor
    timer.setServiceParent(service)
