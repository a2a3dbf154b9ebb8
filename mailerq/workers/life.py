"""Life: the process of one worker, from its start to its end, as its parent sees it."""

from __future__ import annotations

import signal
from typing import Any, Protocol

from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from mailerq.workers.lines import Lines
from mailerq.workers.messages import NoMessage, ToParent, ToWorker, to_parent, written

TO_WORKER, TO_PARENT = 3, 4  # file handles of the worker's process
LONGEST_LOGGED = 65536

_log = Logger()


class Watcher(Protocol):
    """Who has started it."""

    def said(self, life: Life, message: ToParent) -> None:
        """The worker says something."""

    def ended(self, life: Life) -> None:
        """The process is no more; ``life.end`` says what became of it."""


class Life(ProcessProtocol):
    """``index``: which worker. ``pid``: the number of the process. ``ready``: it takes jobs. ``refused``: why it cannot
    run, as it has said."""

    transport: Any

    def __init__(self, index: int, began: float, watcher: Watcher) -> None:
        self.index = index
        self.began = began
        self.pid = 0
        self.ready = False
        self.refused = ""
        self.status = 0
        self.signal = 0
        self._watcher = watcher
        self._said = Lines()
        self._logged = {1: Lines(LONGEST_LOGGED), 2: Lines(LONGEST_LOGGED)}
        self._alive = True

    def connectionMade(self) -> None:
        """The process runs."""
        self.pid = self.transport.pid

    def send(self, message: ToWorker) -> None:
        """Say something to the worker; nothing happens if it is no more."""
        if self._alive:
            self.transport.writeToChild(TO_WORKER, written(message))

    def signal_it(self, name: str) -> None:
        """Send it a signal: ``TERM``."""
        try:
            self.transport.signalProcess(name)
        except Exception as error:  # it has ended a moment ago
            _log.debug("worker {index}: {why}", index=self.index, why=repr(error))

    # -- from the process --------------------------------------------------------------------------------------------

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something, or logs where we write its log."""
        if childFD == TO_PARENT:
            self._talked(data)
        elif childFD in self._logged:
            for line in self._logged[childFD].feed(data):
                self._log_line(line.decode("utf-8", "replace"))

    def _talked(self, data: bytes) -> None:
        dropped = self._said.dropped
        for line in self._said.feed(data):
            try:
                message = to_parent(line)
            except NoMessage as error:
                _log.warn("worker {index} said what is no message: {why}", index=self.index, why=str(error)[:200])
                continue
            try:
                self._watcher.said(self, message)
            except Exception:
                _log.failure("what worker {index} said could not be worked on", index=self.index)
        if self._said.dropped > dropped:
            _log.warn("worker {index} said something that is too long", index=self.index)

    def _log_line(self, line: str) -> None:
        """A line of its log, or one that follows it: ``[worker 0 mailerq.tap.Engine#info] taking jobs``."""
        system, bracket, text = line.partition("] ")
        if line.startswith("[worker ") and bracket:
            _log.emit(LogLevel.info, "{text}", text=text, log_system=system[1:])
        else:
            _log.emit(LogLevel.info, "{text}", text=line.removeprefix("\t"), log_system=f"worker {self.index}")

    def childConnectionLost(self, childFD: int) -> None:
        """One of its ends is closed; the rest tells more."""
        if childFD == TO_WORKER:
            self._alive = False

    def processEnded(self, reason: Failure) -> None:
        """It is no more."""
        self._alive = False
        error = reason.value
        if isinstance(error, ProcessTerminated):
            self.status, self.signal = error.exitCode or 0, error.signal or 0
        self._watcher.ended(self)

    @property
    def end(self) -> str:
        """What became of it: ``was killed by SIGKILL``, ``ended with status 1``, ``ended``."""
        if self.signal:
            try:
                return f"was killed by {signal.Signals(self.signal).name}"
            except ValueError:
                return f"was killed by signal {self.signal}"
        return f"ended with status {self.status}" if self.status else "ended"
