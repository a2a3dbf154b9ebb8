"""How many files this process may have open (each connection is one), and that a file is one process's alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from pathlib import Path


def allow(wanted: int) -> int:
    """Have the system let us open ``wanted`` files, as far as it may be asked to without being root. Returns how many
    it lets us open now."""
    limit = resource.RLIMIT_NOFILE
    soft, hard = (_number(value) for value in resource.getrlimit(limit))
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (min(wanted, hard), resource.getrlimit(limit)[1]))
    return _number(resource.getrlimit(limit)[0])


def _number(value: int) -> int:
    return 2**62 if value == resource.RLIM_INFINITY else value


def lock(path: Path) -> int:
    """Have ``path`` to ourselves until the descriptor that is returned is closed, or we end; a file beside it says so.
    Raises BlockingIOError if another process has it."""
    taken = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(taken)
        raise
    return taken
