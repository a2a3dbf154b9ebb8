"""Where the memory that the workers of one machine share is opened: in files of ``state``, or, for simulations and
tests, in one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from mailerq.paces_file import PacesInUse
from mailerq.shared_counts import WORKERS, Columns, head_of, says_something, width_of
from mailerq.shared_limits import SharedLimits
from mailerq.shared_named import Named
from mailerq.shared_paces import HEAD, WIDTH, open_paces
from mailerq.shared_table import FileTable, Lock, Table

PACES, CONNECTIONS, NAMED, LOCK = "paces", "connections", "named", "shared.lock"
_MAGIC = b"mailerq links 1\n"


def open_shared(folder: str, index: int, workers: int, seconds: Callable[[], float]) -> SharedLimits:
    """What worker ``index`` of ``workers`` shares with the others; ``seconds`` is the wall clock. Whatever an earlier
    worker of that number had is free then. Raises ``OSError`` with the path where the folder cannot be used
    (``PacesInUse``: an engine that is no worker uses it, or there is another number of workers)."""
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as undo:
        lock = Lock(_opened(place / LOCK))
        undo.callback(lock.close)
        with lock:
            life = _opened(place / f"{PACES}.lock")
            undo.callback(os.close, life)
            is_first = _has(life, fcntl.LOCK_EX)
            if not is_first and not _has(life, fcntl.LOCK_SH):
                raise PacesInUse(f"{place / PACES} is in use by another engine; give this one a `state` of its own")
            if is_first:
                for name in (CONNECTIONS, NAMED):
                    (place / name).unlink(missing_ok=True)
            paces = open_paces(place / PACES, seconds(), seconds, is_first=is_first)
            undo.callback(paces.close)
            table = _counts(place / CONNECTIONS, workers)
            undo.callback(table.close)
            if not is_first and table.words[WORKERS] != workers:
                raise PacesInUse(f"{place / CONNECTIONS} is in use by {table.words[WORKERS]:.0f} workers")
            table.words[WORKERS] = workers
            named = _opened(place / NAMED)
            undo.callback(os.close, named)
            lock.tables += [paces, table]
            columns = Columns(table, lock, index, workers, seconds)
            columns.clear(index)
            if is_first and not _has(life, fcntl.LOCK_SH):
                raise PacesInUse(f"{place / PACES} was taken by another engine meanwhile")
        undo.pop_all()
    return SharedLimits(paces, columns, Named(table, named), (life,))


def clear_dead(folder: str, index: int, workers: int) -> None:
    """What a worker had that has ended, is free: to be called when that is known, before another one of that number is
    started. Raises OSError."""
    place = Path(folder)
    if not (place / CONNECTIONS).exists():
        return
    lock = Lock(_opened(place / LOCK))
    try:
        with lock:
            table = _counts(place / CONNECTIONS, workers)
            if table.words[WORKERS] == workers:
                Columns(table, lock, index, workers, lambda: 0.0).clear(index)
            table.close()
    finally:
        lock.close()


def in_memory(workers: int, seconds: Callable[[], float]) -> list[SharedLimits]:
    """What so many workers in one process share."""
    lock, log = Lock(), bytearray()
    width = width_of(workers)
    table = Table(head_of(workers), width, lambda words, at: says_something(words, at, width))
    paces = Table(HEAD, WIDTH, lambda words, at: words[at + 2] > seconds())
    table.words[WORKERS] = workers
    return [
        SharedLimits(paces, Columns(table, lock, index, workers, seconds), Named(table, None, log))
        for index in range(workers)
    ]


def _counts(path: Path, workers: int) -> FileTable:
    width = width_of(workers)
    return FileTable(
        path, _MAGIC, lambda words, at: says_something(words, at, width), head=head_of(workers), width=width
    )


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _has(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
