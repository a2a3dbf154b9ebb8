"""Notes: small state that changes rarely (pauses, slow-downs, warm-ups), in a file that outlives the process.

One JSON object; a change replaces the file in one step, so that there is always a whole one, the old or the new.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

SELDOM = 1.0  # seconds between two writes, where it is not urgent
_json = msgspec.json.Encoder().encode


class AnyNotes(Protocol):
    """Where small state is noted."""

    def get(self, section: str) -> Any:
        """What was noted; None where nothing was."""

    def put(self, section: str, value: Any, *, at_once: bool = False) -> None:
        """Note it."""

    def close(self) -> None:
        """Write what is due."""


class Notes:
    """Named sections of plain values. ``path``'s folder is there. A file that cannot be read is renamed to
    ``….broken-TIME``, said so, and a new one is begun. A write that fails is said once, and tried again with the next
    change or a minute later; what was noted holds all the same.

    Raises OSError where ``path`` is no file, or may not be read.
    """

    def __init__(self, path: str, clock: IReactorTime) -> None:
        self._path = Path(path)
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._failed = False
        self._sections: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            aside = f"{self._path}.broken-{int(self._clock.seconds())}"
            os.replace(self._path, aside)
            _log.error("{path} cannot be read ({why}); kept as {aside}", path=self._path, why=str(error), aside=aside)
            return {}

    def get(self, section: str) -> Any:
        """What was noted; None where nothing was."""
        return _made(self._sections.get(section))

    def put(self, section: str, value: Any, *, at_once: bool = False) -> None:
        """Note it: on the disk before this returns if ``at_once``, else within a second. Plain values, or a function
        that gives them when they are written."""
        self._sections[section] = value
        if at_once:
            self._write()
        elif self._timer is None:
            self._timer = self._clock.callLater(SELDOM, self._write)

    def close(self) -> None:
        """Write what is due."""
        if self._timer is not None:
            self._write()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        try:
            replace(self._path, _json({name: _made(value) for name, value in self._sections.items()}))
        except OSError as error:
            if not self._failed:
                _log.error("{path} cannot be written: {why}", path=self._path, why=str(error))
            self._failed = True
            self._timer = self._clock.callLater(60 * SELDOM, self._write)
        else:
            self._failed = False


def _made(value: Any) -> Any:
    return value() if callable(value) else value


def replace(path: Path, content: bytes) -> None:
    """Let a file have this content, on the disk when this returns; in one step, whatever happens meanwhile."""
    temporary = path.with_name(f"{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
