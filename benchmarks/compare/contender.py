"""A program that takes part, and how one run of it is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from benchmarks.compare.accounting import Group, Memory
from benchmarks.compare.figures import Run
from benchmarks.compare.sink import Sink
from benchmarks.compare.table import ALONE, INJECTED

PYTHON = [sys.executable, "-X", "utf8"]
INJECTOR = Path(__file__).with_name("injector.py")
IN_CONNECTIONS = 20


T = TypeVar("T")


class Failed(Exception):
    """A run did not come to its end. The text says why."""


@dataclass(frozen=True)
class Load:
    """What is to be delivered, and over how many connections at most: to one domain, and all together."""

    count: int
    size: int
    domains: int
    each: int
    connections: int


class Injection(NamedTuple):
    """CPU seconds of the injector: ``apart`` from the program's own, or ``within`` them."""

    apart: float = 0.0
    within: float = 0.0


class Contender(Protocol):
    """A program that takes part. ``name`` stands in the table; ``program`` in its head, with ``about``: version,
    settings, when it syncs to the disk. ``share``: of the messages a run, a slow program gets fewer."""

    name: str
    program: str
    about: str
    group: Group
    share: float

    def start(self, load: Load, holding: bool) -> None:
        """Start with empty queues; ``holding``: take messages, deliver none. Return when it takes messages."""

    def inject(self, load: Load) -> Injection:
        """Give it the messages; return when it has accepted all."""

    def release(self) -> None:
        """Let what was held go out."""

    def left(self) -> int:
        """Messages that it still has."""

    def beside(self) -> float:
        """CPU seconds of the broker, if there is one."""

    def beside_pids(self) -> list[int]:
        """The processes of the broker."""

    def stop(self) -> None:
        """End it, and empty its queues."""


def smtp_inject(port: int, load: Load) -> Injection:
    """Give a mail server the messages over SMTP. Failed with its words if it refuses one."""
    numbers = (port, load.count, load.size, load.domains, IN_CONNECTIONS)
    return Injection(apart=timed([*PYTHON, str(INJECTOR), *map(str, numbers)]))


def timed(command: list[str], source: Path = Path(os.devnull), within: float = 120.0) -> float:
    """Run it; CPU seconds that it used, its children too. Failed with its words if it fails."""
    before = os.times()
    try:
        with source.open("rb") as lines:
            done = subprocess.run(command, stdin=lines, capture_output=True, timeout=within, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"it took no more after {within:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Failed(said[-1] if said else f"status {done.returncode}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


class Watch(threading.Thread):
    """Notes when the first and the last message came to the sink."""

    def __init__(self, sink: Sink, count: int) -> None:
        super().__init__(daemon=True)
        self._sink, self._count = sink, count
        self._ended = threading.Event()
        self.found = 0
        self.first = self.last = 0.0

    def run(self) -> None:
        while not self._ended.is_set() and self.found < self._count:
            time.sleep(0.01)
            self.found = self._sink.count()
            if self.found:
                self.last = time.monotonic()
                self.first = self.first or self.last

    def wait(self, patience: float) -> None:
        """Return when the last came; Failed if it does not come within ``patience`` seconds from here."""
        self.join(patience)
        if self.is_alive():
            raise Failed(f"only {self.found} of {self._count} messages came within {patience:.0f} s")

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


class Measurement:
    """One run of one contender. ``offs``: what a way costs without any message, CPU seconds; it is taken off."""

    def __init__(self, contender: Contender, sink: Sink, load: Load, patience: float, offs: dict[str, float]) -> None:
        self.contender, self.sink, self.load, self.patience = contender, sink, load, patience
        self.offs = offs

    def prepare(self, way: str) -> float:
        """Measure what is taken off, the first time; seconds that it took. Failed or Missing if it cannot be."""
        began = time.monotonic()
        if way not in self.offs:
            self.offs[way] = self._whole(lambda: self._used(way))
        return time.monotonic() - began

    def run(self, way: str, round_: int) -> Run:
        """Start, measure, stop; nothing stays. Failed or Missing if it does not come to its end."""
        return self._whole(lambda: self._measured(way, round_))

    def _whole(self, measured: Callable[[], T]) -> T:
        try:
            return measured()
        except (OSError, subprocess.SubprocessError) as error:
            raise Failed(str(error)) from None
        finally:
            self.contender.stop()
            self.sink.stop()

    def _ready(self, way: str, load: Load) -> None:
        """Up to where the measured part begins."""
        self.sink.start()
        self.contender.start(load, holding=way == ALONE)
        if way == ALONE:
            self.contender.inject(load)
        calm(self.contender.group)

    def _act(self, way: str, load: Load) -> Injection:
        if way == INJECTED:
            return self.contender.inject(load)
        self.contender.release()
        return Injection()

    def _used(self, way: str) -> float:
        nothing = replace(self.load, count=0)
        self._ready(way, nothing)
        before = self.contender.group.cpu()
        self._act(way, nothing)
        calm(self.contender.group)
        return self.contender.group.cpu() - before

    def _measured(self, way: str, round_: int) -> Run:
        """CPU until all is settled. The clock runs to the last message at the sink, from the beginning of the
        injection or from the first message there."""
        self._ready(way, self.load)
        one = self.contender
        before = one.group.cpu(), one.beside(), self.sink.cpu()
        memory, watch = Memory(one.group.pids, one.beside_pids), Watch(self.sink, self.load.count)
        began = time.monotonic()
        memory.start()
        watch.start()
        try:
            injection = self._act(way, self.load)
            watch.wait(self.patience)
            self._settle()
        finally:
            memory.end()
            watch.end()
        return Run(
            round=round_,
            messages=self.load.count,
            seconds=max(watch.last - (began if way == INJECTED else watch.first), 1e-3),
            cpu=one.group.cpu() - before[0] - self.offs[way],
            beside=one.beside() - before[1],
            injector=injection.apart,
            sink=self.sink.cpu() - before[2],
            memory=memory.peaks[0],
            memory_beside=memory.peaks[1],
            publisher=injection.within,
        )

    def _settle(self) -> None:
        end = time.monotonic() + self.patience
        while left := self.contender.left():
            if time.monotonic() > end:
                raise Failed(f"{left} of {self.load.count} messages were not settled after {self.patience:.0f} s")
            time.sleep(0.1)


def calm(group: Group, within: float = 10.0) -> None:
    """Return when the group has had almost nothing to do for half a second, or after ``within`` seconds."""
    end = time.monotonic() + within
    quiet = 0
    before = group.cpu()
    while quiet < 2 and time.monotonic() < end:
        time.sleep(0.25)
        used = group.cpu()
        quiet = quiet + 1 if used - before < 0.01 else 0
        before = used
