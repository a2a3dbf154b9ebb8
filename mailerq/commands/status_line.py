"""One line on standard error that says how far it is, where that is a terminal."""

from __future__ import annotations

import sys
import time


class StatusLine:
    """Written over and over, at most ten times a second, and wiped away at the end."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether it may be written anew: then say what, with ``show``."""
        now = time.monotonic()
        if not self._on or now < self._next:
            return False
        self._next = now + 0.1
        return True

    def show(self, text: str) -> None:
        """Write it."""
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def end(self) -> None:
        """Wipe it away."""
        if self._on and self._next:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
