"""A bound to the processor time of a process and all below it (Linux control groups; needs root)."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

PERIOD = 10_000  # µs; short, so that nobody is kept waiting long
_FIRST, _SECOND = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")  # versions of the interface


class Quota:
    """``cores``: how much of one. SystemExit where the machine does not let us."""

    def __init__(self, cores: float) -> None:
        first = (_FIRST / "cpu.cfs_quota_us").exists()
        self._group = (_FIRST if first else _SECOND) / f"mailerq-bench-{os.getpid()}-{time.monotonic_ns()}"
        quota = int(cores * PERIOD)
        try:
            self._group.mkdir()
            if first:
                (self._group / "cpu.cfs_period_us").write_text(str(PERIOD))
                (self._group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self._group / "cpu.max").write_text(f"{quota} {PERIOD}")
        except OSError as error:
            raise SystemExit(f"no bound to the processor time can be set here: {error}") from None

    def enter(self) -> None:
        """Put this process into it, and what it will start."""
        (self._group / "cgroup.procs").write_text("0")

    def close(self) -> None:
        """Once all in it have ended."""
        with suppress(OSError):
            self._group.rmdir()
