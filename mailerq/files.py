"""How many files this process may have open; each connection is one."""

from __future__ import annotations

import contextlib
import resource


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
