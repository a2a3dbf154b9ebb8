"""Work in processes of its own, for libraries that hostile input can bring down: a stack that overflows, memory without
end, a loop. Such a process may use so much memory and time and opens no file and no socket; when it dies, one mail has
failed.

Blocking: for threads. A process is kept for the next call.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MEMORY = 512 * 1024 * 1024
"""Bytes of address space that a process has for its work, beside what it has at its start."""
SECONDS = 5
"""Of processor time for one call."""
PATIENCE = 60.0
"""Seconds for one call, however busy the machine is."""
CALLS = 1000
"""After as many calls a process ends: what it has lost of its memory comes back."""
_MOST = 2**31
_ROOT = str(Path(__file__).resolve().parents[2])


class ApartError(Exception):
    """There is no answer. ``passing``: there may be one later."""

    def __init__(self, what: str, passing: bool = False) -> None:
        super().__init__(what)
        self.passing = passing


class Apart:
    """Runs ``module``, which calls ``serve``. As many processes as there are calls at the same time."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def call(self, content: bytes) -> bytes:
        """What the module's function makes of ``content``. Raises ApartError: what it could not do, and how it died."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        if process is None or process.is_gone():
            process = _Process(self._module)
        try:
            return process.ask(content)
        finally:
            if process.alive:
                with self._lock:
                    self._idle.append(process)

    def close(self) -> None:
        """End the processes that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()


class _Process:
    def __init__(self, module: str) -> None:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, environment.get("PYTHONPATH", "")]))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for the engine, which ends it
            )
        except OSError as error:
            raise ApartError(f"a process could not be started: {error}", True) from error
        self._calls = 0
        self._late = False
        self.alive = True

    def is_gone(self) -> bool:
        """Whether it ended while it had nothing to do."""
        if self._process.poll() is not None:
            self.end()
        return not self.alive

    def ask(self, content: bytes) -> bytes:
        """One call."""
        timer = threading.Timer(PATIENCE, self._too_late)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdin is not None and self._process.stdout is not None
            _write(self._process.stdin, content)
            kind = self._process.stdout.read(1)
            answer = _read(self._process.stdout) if kind else None
        except OSError:
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            raise self._dead()
        self._calls += 1
        if self._calls >= CALLS:
            self.end()
        if kind != b"+":
            raise ApartError(answer.decode("utf-8", "replace"))
        return answer

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()

    def _dead(self) -> ApartError:
        code = self.end()
        if self._late:
            return ApartError(f"it took longer than {PATIENCE:.0f} seconds", True)
        if code == -signal.SIGXCPU:
            return ApartError(f"it needs more than {SECONDS} seconds of processor time")
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return ApartError("its process was ended from outside", True)
        return ApartError("it is too large, or nested too deeply")

    def end(self) -> int:
        """Not to be asked again; returns how it ended."""
        self.alive = False
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could not be written is not wanted any more
                    pipe.close()
        try:
            return self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def serve(prepare: Callable[[], Callable[[bytes], bytes]]) -> None:
    """The life of such a process: ``prepare`` imports what is needed and gives the function; then nothing can be opened
    any more. What the function raises as ValueError is told to the one who asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # service managers send it to all; it ends when the engine does
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    function = prepare()
    _bound()
    while True:
        content = _read(source)
        if content is None:
            return
        _grant_time()
        try:
            kind, answer = b"+", function(content)
        except ValueError as error:
            kind, answer = b"-", str(error)[:500].encode("utf-8", "replace")
        sink.write(kind)
        _write(sink, answer)


def _bound() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + MEMORY
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_NOFILE, 3),
    ):
        hard = resource.getrlimit(what)[1]
        with contextlib.suppress(OSError, ValueError):  # a system may have no such limit
            resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard),) * 2)


def _grant_time() -> None:
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + SECONDS + 1, hard))


def _write(pipe: Any, content: bytes) -> None:
    pipe.write(len(content).to_bytes(4, "big") + content)
    pipe.flush()


def _read(pipe: BinaryIO | Any) -> bytes | None:
    """None: there is no more."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "big")
    content: bytes = pipe.read(size)
    return content if len(content) == size else None
