"""What the comparison ran on."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def about(folder: Path) -> dict[str, str]:
    """Fact → value. ``folder``: where the queues are."""
    return {
        "command": f"`python benchmarks/compare {shlex.join(sys.argv[1:])}`".replace(" `", "`")
        + time.strftime(", %Y-%m-%d"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory():.0f} GB",
        "system": f"{_system()}, Linux {platform.release()}, {platform.machine()}; queues on {_file_system(folder)}",
        "Python": f"{platform.python_version()}, Twisted {version('twisted')}, mailerq {_ours()}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")


def _file_system(folder: Path) -> str:
    """The kind of the file system; on ``tmpfs`` nothing is ever synced."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def _ours() -> str:
    try:
        return version("mailerq")
    except PackageNotFoundError:
        return "from the checkout"
