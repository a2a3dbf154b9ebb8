"""Processor instructions a message, by ``valgrind --tool=callgrind``: a longer run less a shorter one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

SHORT = 100


def instructions(command: Sequence[str], environment: dict[str, str], count: int) -> float:
    """``command`` is run with a number of messages as its last argument: ``SHORT``, and ``count`` more. SystemExit
    where there is no valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("valgrind is not installed (Debian: apt-get install valgrind)")
    tool = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    short, long = (_collected([*tool, *command, str(number)], environment) for number in (SHORT, SHORT + count))
    return (long - short) / count


def _collected(command: Sequence[str], environment: dict[str, str]) -> int:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind failed:\n{done.stderr[-2000:]}")
    return int(found[1])
