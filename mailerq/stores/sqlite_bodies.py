"""The SQLite file of bodies: all SQL stands here. Blocking; used by one thread.

The table ``bodies`` has ``key``, ``expires`` (epoch seconds or null), ``body``. Several processes may have the file
open.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

APPLICATION = 0x6D717374
VERSION = 1
LARGE = 1 << 20
"""Bytes from which a body is written and read piece by piece, so that SQLite holds no copy of it."""
MOST = 900 << 20
"""Bytes of the largest body that SQLite can hold, and something over."""
PIECE = 1 << 20
_FREED = 2000  # pages given back to the file system after a sweep
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE bodies (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  expires REAL,
  body BLOB NOT NULL
);
CREATE INDEX over ON bodies (expires) WHERE expires IS NOT NULL;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_GET = f"""SELECT id, length(body), CASE WHEN length(body) < {LARGE} THEN body END FROM bodies
WHERE key = ? AND (expires IS NULL OR expires > ?)"""
_PUT = """INSERT INTO bodies (key, expires, body) VALUES (?, ?, {})
ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, body = excluded.body RETURNING id"""
_PUT_SMALL, _PUT_LARGE = _PUT.format("?"), _PUT.format("zeroblob(?)")
_SWEEP = """DELETE FROM bodies WHERE id IN
(SELECT id FROM bodies WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)"""


class Unfit(Exception):
    """The file is none of ours, or is gone."""


class Bodies:
    """The file ``path``. ``timeout``: seconds to wait while another process writes. Raises sqlite3.Error as it comes,
    OSError, and Unfit."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = os.path.abspath(path)
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which one it is

    def open(self) -> None:
        """Open it where it is not open. It is made if there is none, but only the first time: after that no other file
        will do, neither a new one nor one that was put in its place (to which the log of the first would be applied).
        """
        found = self._identity()
        if self._file is not None and found != self._file:
            raise Unfit("another file is in its place" if found else "it is gone, or not mounted")
        if self._connection is not None:
            return
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(
            self.path, self._timeout, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            self._prepare(self._connection.execute)
            self._file = self._identity()
        except BaseException:
            self.close()
            raise

    def _identity(self) -> tuple[int, int] | None:
        try:
            about = os.stat(self.path)
        except FileNotFoundError:
            return None
        return about.st_dev, about.st_ino

    def _prepare(self, execute: Any) -> None:
        execute("BEGIN")  # another process may be making it: what is read is to be of one moment
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        execute("COMMIT")
        if application != APPLICATION and (tables or version):
            raise Unfit("it is the database of another program")
        if version > VERSION:
            raise Unfit(f"it was written by a newer mailerq (version {version}, known up to {VERSION})")
        execute("PRAGMA page_size = 8192")
        execute("PRAGMA auto_vacuum = INCREMENTAL")
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Unfit(f"this file system cannot hold it (no write-ahead log: {mode})")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA journal_size_limit = 67108864")
        if not tables:
            self._create()

    def _create(self) -> None:
        assert self._connection is not None
        try:
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if "already exists" not in str(error):  # two processes may have come at once
                raise

    def close(self) -> None:
        """Close it, if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "open comes first"
        return self._connection

    @contextlib.contextmanager
    def transaction(self, writes: bool) -> Iterator[None]:
        """All or nothing."""
        execute = self._open.execute
        execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            yield
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if self._open.in_transaction:
                    execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a transaction: what goes wrong here leaves the rest of it as it is."""
        execute = self._open.execute
        execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            if self._open.in_transaction:
                execute("ROLLBACK TO one")
                execute("RELEASE one")
            raise
        execute("RELEASE one")

    def get(self, key: str, now: float) -> bytes | None:
        """The body."""
        row = self._open.execute(_GET, (key, now)).fetchone()
        if row is None or row[1] < LARGE:
            return row and bytes(row[2])
        with self._open.blobopen("bodies", "body", row[0], readonly=True) as blob:
            return blob.read()

    def put(self, key: str, body: bytes, expires: float | None) -> None:
        """Keep it."""
        size = len(body)
        if size > MOST:
            raise ValueError(f"a body of {size} bytes is too large for SQLite")
        large = size >= LARGE
        row = self._open.execute(_PUT_LARGE if large else _PUT_SMALL, (key, expires, size if large else body))
        (number,) = row.fetchone()
        row.fetchall()
        if large:
            with self._open.blobopen("bodies", "body", number) as blob, memoryview(body) as view:
                for start in range(0, size, PIECE):
                    blob.write(view[start : start + PIECE])

    def remove(self, key: str) -> None:
        """Forget it."""
        self._open.execute("DELETE FROM bodies WHERE key = ?", (key,))

    def sweep(self, now: float, most: int) -> int:
        """Remove up to ``most`` whose time is over."""
        return self._open.execute(_SWEEP, (now, most)).rowcount

    def shrink(self) -> None:
        """Give back some of the room that is free. In no transaction."""
        with contextlib.suppress(sqlite3.Error):
            self._open.executescript(f"PRAGMA incremental_vacuum({_FREED})")
