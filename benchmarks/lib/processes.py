"""What processes use: processor time and memory, from /proc."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from pathlib import Path
from typing import Any

TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all that it has started, and they."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                children[int((path / "stat").read_text().rpartition(")")[2].split()[1])].append(int(path.name))
            except OSError:  # it has ended
                continue
    found = [pid]
    for one in found:
        found += children[one]
    return found


def cpu(pid: int) -> float:
    """User and system seconds that a process, its threads and all processes below it have used. What ended threads used
    is in ticks of 10 ms; where none has ended it is exact."""
    return sum(_own_cpu(one) for one in tree(pid))


def _own_cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        by_ticks = sum(map(int, fields[11:15])) / TICK  # with the children that were waited for
        exact = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    except (OSError, IndexError):  # it has ended
        return 0.0
    return exact if abs(exact - by_ticks) < 0.05 + by_ticks / 50 else by_ticks


def memory(pid: int, what: str = "VmHWM") -> float:
    """Megabytes of a process and all below it: the most there was (``VmHWM``), or now (``VmRSS``)."""
    return sum(_own_memory(one, what) for one in tree(pid))


def _own_memory(pid: int, what: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:")), 0.0)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """One that nobody uses, on loopback."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def as_nobody() -> dict[str, Any]:
    """For ``subprocess.Popen``: who is root runs it as nobody."""
    return {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
