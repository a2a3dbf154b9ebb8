"""What a program and all its processes use: CPU by a control group of its own where we may make one, else by ``/proc``.

A control group counts everything exactly, short-lived processes too. Without one the processes are kept as a tree below
``keeper.py``; that counts in ticks (10 ms) and misses children that nobody waits for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

TICK = os.sysconf("SC_CLK_TCK")
TRIES = 500  # a fiftieth of a second each
KEEPER = Path(__file__).with_name("keeper.py")


class Group(Protocol):
    """The processes of one program."""

    def command(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` inside the group."""

    def cpu(self) -> float:
        """User and system seconds of all processes so far, those that have ended included."""

    def pids(self) -> list[int]:
        """The processes that live."""

    def end(self) -> None:
        """Kill what lives."""

    def remove(self) -> None:
        """The same; then the group is gone."""


class Cgroup:
    """A control group, of either version, made if it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._second = (folder / "cpu.stat").exists()

    def command(self, command: list[str]) -> list[str]:
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.folder / "cgroup.procs"), *command]

    def cpu(self) -> float:
        if not self._second:
            return int((self.folder / "cpuacct.usage").read_text()) / 1e9
        line = (self.folder / "cpu.stat").read_text().splitlines()[0]
        return int(line.removeprefix("usage_usec ")) / 1e6

    def pids(self) -> list[int]:
        return [int(line) for line in (self.folder / "cgroup.procs").read_text().split()]

    def end(self) -> None:
        for _ in range(TRIES):
            if not (living := self.pids()):
                return
            kill(living)
            time.sleep(0.02)

    def remove(self) -> None:
        for _ in range(TRIES):
            self.end()
            with contextlib.suppress(OSError):  # some are not quite gone yet
                self.folder.rmdir()
                return
            time.sleep(0.02)


class Tree:
    """The descendants of what was started, found in ``/proc``; ``folder`` is made if it is missing. In it is a file for
    each keeper, by its number; when the keeper ends, with the seconds that all it kept have used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def command(self, command: list[str]) -> list[str]:
        leave = 'echo -n >"$0/$$" && exec "$@"'
        keeper = [sys.executable, "-S", "-E", str(KEEPER), str(self.folder)]
        return ["/bin/sh", "-c", leave, str(self.folder), *keeper, *command]

    def cpu(self) -> float:
        """Of the living, and of the ended that were waited for."""
        ended = (path.read_text() for path in self.folder.iterdir())
        return sum(float(seconds or 0) for seconds in ended) + sum(cpu(pid) for pid in self.pids())

    def pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, parent in parents():
            children.setdefault(parent, []).append(pid)
        found = self._keepers()
        for pid in found:
            found += children.get(pid, [])
        return found

    def _keepers(self) -> list[int]:
        """Those that live."""
        return [int(path.name) for path in self.folder.iterdir() if not path.stat().st_size]

    def end(self) -> None:
        for _ in range(TRIES):
            if not (living := self.pids()):
                return
            kill(set(living) - set(self._keepers()))  # a keeper ends by itself, after what it keeps
            time.sleep(0.02)

    def remove(self) -> None:
        self.end()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each; they may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parents() -> Iterable[tuple[int, int]]:
    """All processes of the system with their parents."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(path.name), int((path / "stat").read_text().rpartition(")")[2].split()[1])


def cpu(pid: int) -> float:
    """User and system seconds of a process and of its children that it has waited for; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


class Groups:
    """Makes groups by name: control groups below our own, if the system lets us, else trees in ``folder``.

    ``prefix``: how the paths of the control groups begin; empty for trees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        own = f"mailerq-compare-{os.getpid()}"
        prefixes = (str(parent / own) for parent in _our_cgroups())
        self.prefix = next((prefix for prefix in prefixes if _works(Path(f"{prefix}-trial"))), "")

    def make(self, name: str) -> Group:
        """An empty one."""
        return Cgroup(Path(f"{self.prefix}-{name}")) if self.prefix else Tree(self._folder / f"group-{name}")


def _works(trial: Path) -> bool:
    """Whether a control group can be made there, and counts."""
    try:
        group = Cgroup(trial)
    except OSError:
        return False
    try:
        subprocess.run(group.command(["/bin/sh", "-c", ":"]), check=True, stderr=subprocess.DEVNULL)
        return group.cpu() > 0
    except (OSError, ValueError, subprocess.CalledProcessError):
        return False
    finally:
        group.remove()


def _our_cgroups() -> Iterable[Path]:
    """The folders of our own control groups, version 2 first."""
    ours = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        ours[names] = path
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, place, kind, *_ in mounts:
        if kind == "cgroup2" and "" in ours:
            yield Path(place + ours[""])
    for _, place, kind, options, *_ in mounts:
        if kind == "cgroup" and "cpuacct" in options.split(","):
            yield from (Path(place + path) for names, path in ours.items() if "cpuacct" in names.split(","))


class Memory(threading.Thread):
    """Samples how much memory programs use: the sum of the proportional set sizes (Pss) of their processes, in which
    a page that several share counts once. Sampled, so that a process of a few milliseconds may be missed."""

    def __init__(self, *programs: Callable[[], list[int]]) -> None:
        super().__init__(daemon=True)
        self._programs = programs
        self._ended = threading.Event()
        self.peaks = [0.0] * len(programs)  # MB

    def run(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            began = time.monotonic()
            for number, pids in enumerate(self._programs):
                self.peaks[number] = max(self.peaks[number], sum(map(pss, pids())) / 1e6)
            wait = max(0.1, 20 * (time.monotonic() - began))  # looking takes at most a twentieth of a core

    def end(self) -> None:
        """No more samples."""
        self._ended.set()
        self.join()


def pss(pid: int) -> int:
    """Bytes; 0 for a process that has ended or that we may not look at."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
