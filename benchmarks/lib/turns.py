"""Threads that run in turn with the reactor, so that nothing depends on which of them the system lets run.

``in_turn(loop)`` puts these in the place of ``threading.Thread``, ``queue.SimpleQueue``, ``time.sleep`` and
``time.monotonic`` in all modules of the engine that have imported them. A thread gives its turn back where it would
wait; waiting ends by the simulated time.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

PATIENCE = 60.0  # real seconds after which a thread that does not give its turn back is given up
_here = threading.local()


class TurnThread:
    """In the place of ``threading.Thread``."""

    loop: Any = None

    def __init__(self, target: Callable[[], None], name: str = "", daemon: bool = True, args: Any = ()) -> None:
        self.until = 0.0
        self.awaited: TurnQueue | None = None
        self.over = False
        self.watching: AbstractContextManager[None] | None = None
        self._go, self._gone = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(target, args), name=name, daemon=True)

    def start(self) -> None:
        self.loop.threads.append(self)
        self._thread.start()

    def is_alive(self) -> bool:
        return not self.over

    def join(self, timeout: float | None = None) -> None:
        """It runs while the loop turns only."""

    def take_turn(self, now: float) -> None:
        """Run until it waits, if what it waits for is there. For the loop."""
        if self.over or (self.until > now and not (self.awaited and self.awaited.items)):
            return
        self._go.release()
        if not self._gone.acquire(timeout=PATIENCE):
            raise SystemExit("a thread of the engine waits for something that lib/turns.py does not know")

    def _run(self, target: Callable[..., None], arguments: Any) -> None:
        _here.thread = self
        self._go.acquire()
        self._watch()
        try:
            target(*arguments)
        finally:
            self._unwatch()
            self.over = True
            self._gone.release()

    def wait(self, until: float, awaited: TurnQueue | None = None) -> None:
        """Give the turn back, until then or until something is there. For the thread itself."""
        self.until, self.awaited = until, awaited
        self._unwatch()
        self._gone.release()
        self._go.acquire()
        self._watch()

    def _watch(self) -> None:
        self.watching = self.loop.watch()
        self.watching.__enter__()

    def _unwatch(self) -> None:
        if self.watching is not None:
            self.watching.__exit__(None, None, None)
            self.watching = None


class TurnQueue:
    """In the place of ``queue.SimpleQueue``."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self.items.append(item)

    put_nowait = put

    def get_nowait(self) -> Any:
        if self.items:
            return self.items.popleft()
        raise queue.Empty

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self.items and block:
            until = float("inf") if timeout is None else TurnThread.loop.now + timeout
            _here.thread.wait(until, self)
        return self.get_nowait()

    def empty(self) -> bool:
        return not self.items

    def qsize(self) -> int:
        return len(self.items)


def in_turn(loop: Any) -> None:
    """From now on the engine's threads take turns with ``loop``. To be called once the engine is imported."""
    TurnThread.loop = loop

    def monotonic() -> float:
        return float(loop.now)

    def sleep(seconds: float) -> None:
        _here.thread.wait(loop.now + seconds)

    ours: dict[int, Any] = {
        id(threading): SimpleNamespace(**{**vars(threading), "Thread": TurnThread}),
        id(threading.Thread): TurnThread,
        id(queue.SimpleQueue): TurnQueue,
        id(time.sleep): sleep,
        id(time.monotonic): monotonic,
        id(time): SimpleNamespace(**{**vars(time), "sleep": sleep, "monotonic": monotonic, "time": monotonic}),
    }
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "mailerq" and module is not None:
            for key, value in list(vars(module).items()):
                if id(value) in ours:
                    setattr(module, key, ours[id(value)])
