"""A parent over a clock, with processes that are not there: what they hear is kept, and tests say what they say."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailerq.settings import parse
from mailerq.worker import Worker
from mailerq.workers.life import TO_PARENT, TO_WORKER, Life
from mailerq.workers.lines import Lines
from mailerq.workers.messages import Ready, ToParent, to_worker, written
from mailerq.workers.parent import Parent

NOW = 1_700_000_000.0


class FakeReactor(Clock):
    """As much of a reactor as a parent needs. ``stopped``: it was told to stop; ``after``: what is done then."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = NOW
        self.stopped = False
        self.after: list[tuple[Any, ...]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[..., Any], *arguments: Any) -> None:
        self.after.append((phase, event, call, *arguments))

    def callWhenRunning(self, call: Callable[[], Any]) -> None:
        call()

    def callFromThread(self, call: Callable[[], Any]) -> None:
        call()

    def stop(self) -> None:
        self.stopped = True


class FakeProcess:
    """The process of a worker. ``heard``: what the parent has said to it; ``signals`` that it was sent."""

    def __init__(self, life: Life, worker: Worker, pid: int) -> None:
        self.life = life
        self.worker = worker
        self.pid: int | None = pid
        self.heard: list[Any] = []
        self.signals: list[str] = []
        self._lines = Lines()
        life.makeConnection(self)

    def writeToChild(self, handle: int, data: bytes) -> None:
        assert handle == TO_WORKER
        self.heard += map(to_worker, self._lines.feed(data))

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def say(self, message: ToParent | bytes) -> None:
        """The worker says it."""
        self.life.childDataReceived(TO_PARENT, message if isinstance(message, bytes) else written(message))

    def end(self, status: int = 0, by: int = 0) -> None:
        """It is no more."""
        self.pid = None
        reason = ProcessTerminated(None if by else status, by or None, 0) if status or by else ProcessDone(0)
        self.life.processEnded(Failure(reason))

    def of(self, kind: type[Any]) -> list[Any]:
        """What it has heard of a kind."""
        return [message for message in self.heard if isinstance(message, kind)]


class Family:
    """A parent with its processes: ``processes`` by worker, those of now; ``lives`` how many were started."""

    def __init__(self, test: Any, count: int = 2, text: str = "", folder: Path | None = None) -> None:
        self.folder = Path(test.mktemp()) if folder is None else folder
        self.clock = FakeReactor()
        self.text = f"control: null\nstate: {self.folder}\n{text}"
        self.processes: dict[int, FakeProcess] = {}
        self.lives = 0
        self.fails = False
        settings = parse(self.text, "c.yaml", {})
        self.parent = Parent(self.clock, settings, lambda: self.text, count, self.spawn)
        before = signal.getsignal(signal.SIGHUP)
        test.addCleanup(signal.signal, signal.SIGHUP, before)

    def spawn(self, life: Life, worker: Worker, lock: int) -> None:
        """As ``spawn.py`` does."""
        if self.fails:
            raise OSError(11, "Resource temporarily unavailable")
        self.lives += 1
        self.processes[worker.index] = FakeProcess(life, worker, 1000 + self.lives)

    def start(self) -> None:
        """Start it; all workers take jobs."""
        self.parent.startService()
        for process in self.processes.values():
            process.say(Ready())

    def end(self) -> None:
        """Stop it all."""
        stopped = self.parent.stopService()
        for life in list(self.parent.lives.values()):
            self.processes[life.index].end()
        assert stopped.called
