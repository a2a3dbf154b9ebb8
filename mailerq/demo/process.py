"""The engine as a process of its own, as a user would start it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from signal import SIGTERM
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ProcessProtocol

PATIENCE = 8.0  # seconds that a stop may take before the process is killed


class EngineProcess(ProcessProtocol):
    """``twistd -n mailerq -c CONFIG``. ``end`` says how it ended, '' while it runs; ``ended`` is called if it was not
    told to."""

    def __init__(self, reactor: Any, folder: Path, config: Path) -> None:
        self.log = folder / "engine.log"
        self.ended: Any = None
        self.end = ""
        self._reactor = reactor
        self._gone: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self.command = [_twistd(), "-n", "--pidfile=", "mailerq", "-c", str(config)]
        self._folder = folder

    def start(self) -> None:
        """Start it; what it writes goes to ``log``."""
        out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._reactor.spawnProcess(
                self,
                self.command[0],
                self.command,
                env=dict(os.environ),
                path=str(self._folder),
                childFDs={0: nothing, 1: out, 2: out},
            )
        finally:
            os.close(out)
            os.close(nothing)

    def stop(self) -> Deferred[None]:
        """Tell it to stop; fires when it has ended, by itself or killed after ``PATIENCE``."""
        if self.transport is None or self.transport.pid is None:
            return succeed(None)
        self.ended = None
        self.transport.signalProcess("TERM")
        kill = self._reactor.callLater(PATIENCE, self._kill)
        gone: Deferred[None] = Deferred()
        gone.addCallback(lambda _: kill.active() and kill.cancel())
        self._waiting.append(gone)
        return gone

    def _kill(self) -> None:
        if self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Any) -> None:
        code, signal = reason.value.exitCode, reason.value.signal
        self.end = f"signal {signal}" if signal else f"status {code}"
        waiting, self._waiting = self._waiting, []
        for gone in waiting:
            gone.callback(None)
        if self.ended is not None:
            self.ended()

    @property
    def ended_well(self) -> bool:
        """Whether it has ended as it has to when it is told to stop: twistd ends by the signal it was sent."""
        return self.end in ("status 0", f"signal {SIGTERM:d}")

    def last_lines(self, count: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def _twistd() -> str:
    return str(Path(sys.executable).with_name("twistd"))
