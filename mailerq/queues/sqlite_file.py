"""The embedded queue as a file: all SQL stands here. Synchronous, and quick to import (no Twisted), so that the
``mailerq`` command uses it as it is, beside an engine that has the same file open in its own thread.

A message is *waiting* (``due`` is set), *ready*, or *in hand* (``owner`` is set). Its age counts from when it became
ready (``since``). A claim outlives its owner; it ends when the message is settled (deleted), given back, or when the
owner is seen to be dead.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mailerq.queues.sqlite_lock import EngineLock, Group, InUse, alive, started

APPLICATION = 0x6D717565
VERSION = 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  since REAL NOT NULL,
  due REAL,
  owner INTEGER,
  taken INTEGER NOT NULL DEFAULT 0,
  encoding TEXT,
  headers TEXT,
  body BLOB NOT NULL
);
CREATE INDEX ready ON messages (queue, priority DESC, since, id) WHERE owner IS NULL AND due IS NULL;
CREATE INDEX waiting ON messages (due, queue) WHERE due IS NOT NULL;
CREATE INDEX held ON messages (owner, queue) WHERE owner IS NOT NULL;
CREATE TABLE owners (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL, started TEXT, engine INTEGER NOT NULL);
CREATE TABLE queues (name TEXT PRIMARY KEY) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
# A claim writes ``owner`` and ``taken`` so that the row keeps its length, and SQLite writes it where it lies: else it
# would write the body again, too. A number of an owner has two bytes (as long as it is below 32768), and so has
# ``taken`` of what nobody holds: whether it was claimed before. Of what is in hand it is 1, which takes none.
FIRST_OWNER = 1000
_NEVER, _BEFORE = 1000, 1001
_COLUMNS = "INSERT INTO messages (queue, priority, since, due, taken, encoding, headers, body) VALUES "
# One statement for many rows: each statement gives the interpreter lock away once, and a busy reactor is slow to
# return it.
_INSERTS = [(rows, _COLUMNS + ",".join([f"(?,?,?,?,{_NEVER},?,?,?)"] * rows)) for rows in (256, 64, 16, 4, 1)]
_READY = "FROM messages WHERE queue = ? AND owner IS NULL AND due IS NULL"
_WAS_TAKEN = f"taken NOT IN (0, {_NEVER})"  # 0 was written by earlier versions
_FREE = f"UPDATE messages SET owner = NULL, taken = {_BEFORE} WHERE"
_SELECT = f"SELECT id, {_WAS_TAKEN}, encoding, body {_READY} ORDER BY priority DESC, since, id"
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_NOT_FOR_US = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}  # at the start; they may pass later


class Unusable(Exception):
    """The file cannot be used, and trying again would be in vain. The text names the file and says why."""


# A message that was claimed or looked at: its number, whether it was claimed before, encoding, body.
Claimed = tuple[int, int, str | None, bytes]


class Lying(NamedTuple):
    """How many messages lie in a queue; ``oldest`` is the age of the oldest that is ready, in seconds."""

    name: str
    ready: int
    waiting: int
    in_hand: int
    oldest: float | None


Row = tuple[str, int, float, float | None, str | None, str | None, bytes]


def row(
    queue: str,
    body: bytes,
    now: float,
    *,
    due: float | None = None,
    priority: int = 0,
    encoding: str | None = None,
    headers: Mapping[str, Any] | None = None,
) -> Row:
    """A message to be inserted. ``due`` in the past is as good as None."""
    if due is not None and due <= now:
        due = None
    return (queue, priority, now if due is None else due, due, encoding, json.dumps(headers) if headers else None, body)


def is_passing(error: Exception) -> bool:
    """Whether an error may pass by itself: disk full, input/output error, locked too long."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING


def is_damage(error: Exception) -> bool:
    """Whether the file is found to be damaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class QueueFile:
    """An open queue file. Used by one thread at a time. Its methods raise ``sqlite3.Error`` as it comes.

    ``timeout``: seconds to wait while another process writes. ``durable``: whether a commit is on the disk when it
    returns (else a power failure, though no crash of the program, may lose the last ones).
    """

    def __init__(self, path: str, timeout: float = 10.0, durable: bool = True) -> None:
        self.path = path
        self._lock: EngineLock | None = None
        self._number = 0  # of the engine that we are, from 1; 0: we are none
        self._make_place()
        try:
            self._connection = sqlite3.connect(path, timeout, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise Unusable(f"{path}: {error}") from None
        try:
            self._prepare(durable)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING - _NOT_FOR_US:
                raise
            raise Unusable(self._why(error)) from None
        except Unusable:
            self._connection.close()
            raise

    def _why(self, error: sqlite3.Error) -> str:
        if is_damage(error):
            return f"{self.path}: {error}: no queue of mailerq, or damaged"
        if not os.access(self.path, os.R_OK | os.W_OK):
            return f"{self.path}: may not be read and written by this user"
        if not os.access(Path(self.path).parent, os.W_OK):
            return f"{self.path}: its directory may not be written by this user"
        return f"{self.path}: {error}"

    def _make_place(self) -> None:
        """The directory (0700) and an empty file (not for others) where they are missing."""
        path = Path(self.path)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
        except FileExistsError:
            raise Unusable(f"{self.path}: {path.parent} is no directory") from None
        except OSError as error:
            raise Unusable(f"{self.path}: {error.strerror or error}") from None

    def _prepare(self, durable: bool) -> None:
        execute = self._connection.execute
        execute("BEGIN")  # another process may be making it: what is read is to be of one moment
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        execute("COMMIT")
        if application != APPLICATION and (tables or version):
            raise Unusable(f"{self.path}: is the database of another program")
        if version > VERSION:
            raise Unusable(f"{self.path}: was written by a newer mailerq (version {version}, known up to {VERSION})")
        execute("PRAGMA page_size = 8192")  # fewer pages to log for bodies of a few KB
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Unusable(f"{self.path}: this file system cannot hold the queue (no write-ahead log: {mode})")
        execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        execute("PRAGMA wal_autocheckpoint = 2000")
        execute("PRAGMA secure_delete = OFF")
        execute("PRAGMA journal_size_limit = 67108864")
        execute("PRAGMA cache_size = -16000")
        execute("PRAGMA temp_store = MEMORY")
        if not tables:
            self._create()

    def _create(self) -> None:
        try:
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._roll_back()
            if "already exists" not in str(error):  # two processes may have come at once
                raise

    def close(self) -> None:
        """Close it, and let go of the engine's lock."""
        with suppress(sqlite3.Error):
            self._roll_back()
            self._connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- who

    def lock(self, group: Group | None = None) -> None:
        """Become an engine of this file, until ``close`` or death: the only one, or one of ``group``. Raises
        ``Unusable`` where there is another. Others of the group wait until ``register`` has freed what the dead held.
        """
        name = self.path + ".lock"
        try:
            self._lock = EngineLock(name, group)
        except InUse as holder:
            raise Unusable(f"{self.path}: in use by another engine ({holder})") from None
        except OSError as error:
            raise Unusable(f"{name}: {error.strerror or error}") from None
        self._number = 1 if group is None else group.number

    def register(self, known: int = 0) -> int:
        """A number to claim messages with; ``known``: the one we have had so far. The claims of dead owners are
        freed."""
        with self.transaction():
            self.bury(known)
            if known:
                self._connection.execute("UPDATE owners SET engine = ? WHERE id = ?", (self._number, known))
                number: int | None = known
            else:
                last = "(SELECT seq FROM sqlite_sequence WHERE name = 'owners')"
                insert = (
                    "INSERT INTO owners (id, pid, started, engine) "
                    f"VALUES (max({FIRST_OWNER}, coalesce({last}, 0) + 1), ?, ?, ?)"
                )
                pid = os.getpid()
                number = self._connection.execute(insert, (pid, started(pid), self._number)).lastrowid
        self._share()
        return int(number or 0)

    def _share(self) -> None:
        if self._lock is not None:
            try:
                self._lock.share()
            except InUse as holder:
                raise Unusable(f"{self.path}: in use by another engine ({holder})") from None

    def bury(self, but: int) -> bool:
        """Free what dead owners hold (``but``: never that one); whether there were any. Within a transaction."""
        dead = self.dead(but)
        for number in dead:
            self.dismiss(number)
        return bool(dead)

    def dead(self, but: int) -> list[int]:
        """The owners that live no more. An engine that has the lock to itself knows all other engines to be dead; one
        of a group, whoever had its own number. All others live as long as their process."""
        owners = self._connection.execute(
            "SELECT id, pid, started, engine FROM owners WHERE id != ?", (but,)
        ).fetchall()
        return [number for number, pid, since, engine in owners if self._is_dead(pid, since, engine)]

    def _is_dead(self, pid: int, since: str | None, engine: int) -> bool:
        if engine and not self._number:
            return False  # not for us to say: it may run where its number is not ours
        alone = self._lock is not None and self._lock.first
        return bool(engine and (alone or engine == self._number)) or not alive(pid, since)

    def dismiss(self, owner: int) -> None:
        """All that ``owner`` still holds is ready again."""
        self._connection.execute(f"{_FREE} owner = ?", (owner,))
        self._connection.execute("DELETE FROM owners WHERE id = ?", (owner,))

    # -- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written within becomes true as a whole, or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def declare(self, names: Sequence[str]) -> None:
        """Let there be queues of these names."""
        self._connection.executemany("INSERT OR IGNORE INTO queues VALUES (?)", [(name,) for name in names])

    def insert(self, rows: Sequence[Row]) -> None:
        """Put messages on their queues, in this order."""
        start, left = 0, len(rows)
        for size, statement in _INSERTS:
            while left >= size:
                values: list[Any] = []
                for one in rows[start : start + size]:
                    values += one
                self._connection.execute(statement, values)
                start += size
                left -= size

    def claim(self, queue: str, owner: int, count: int, most: int = 32 << 20) -> list[Claimed]:
        """Take up to ``count`` ready messages for ``owner``; no more than make ``most`` bytes, but one at least."""
        found = []
        cursor = self._connection.execute(f"{_SELECT} LIMIT ?", (queue, count))
        for message in cursor:
            found.append(message)
            most -= len(message[3])
            if most <= 0:
                cursor.close()
                break
        if found:
            ids = json.dumps([message[0] for message in found])
            set_owner = "UPDATE messages SET owner = ?, taken = 1 WHERE id IN (SELECT value FROM json_each(?))"
            self._connection.execute(set_owner, (owner, ids))
        return found

    def delete(self, ids: Sequence[int], owner: int) -> bool:
        """Remove what ``owner`` holds; False if any of them is no longer its own (the others are removed)."""
        statement = "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?)) AND owner = ?"
        return self._connection.execute(statement, (json.dumps(ids), owner)).rowcount == len(ids)

    def give_back(self, ids: Sequence[int], owner: int) -> None:
        """What ``owner`` holds is ready again, at its old place."""
        statement = f"{_FREE} id IN (SELECT value FROM json_each(?)) AND owner = ?"
        self._connection.execute(statement, (json.dumps(ids), owner))

    def promote(self, now: float, most: int = 1000) -> int:
        """Make ready what is due, ``most`` at a time; how many it were."""
        statement = (
            "UPDATE messages SET due = NULL WHERE id IN "
            "(SELECT id FROM messages WHERE due IS NOT NULL AND due <= ? ORDER BY due LIMIT ?)"
        )
        return self._connection.execute(statement, (now, most)).rowcount

    def _one(self, statement: str, *values: Any) -> Any:
        found = self._connection.execute(statement, values).fetchone()
        return found[0] if found else None

    # -- reading

    def owned(self, ids: Sequence[int], owner: int) -> set[int]:
        """Those of ``ids`` that ``owner`` holds."""
        statement = "SELECT id FROM messages WHERE id IN (SELECT value FROM json_each(?)) AND owner = ?"
        return {number for (number,) in self._connection.execute(statement, (json.dumps(ids), owner))}

    def ready(self, queue: str, most: int) -> int:
        """How many are ready, as far as ``most``."""
        return int(self._one(f"SELECT count(*) FROM (SELECT 1 {_READY} LIMIT ?)", queue, most))

    def has_ready(self, queue: str, now: float) -> bool:
        """Whether something is ready, or due."""
        ready = self._one(f"SELECT 1 {_READY} LIMIT 1", queue)
        return bool(ready or self._one("SELECT 1 FROM messages WHERE due <= ? AND queue = ? LIMIT 1", now, queue))

    def peek(self, queue: str, page: int = 200) -> Iterator[Claimed]:
        """What is ready now, in order, without taking it. Read in pages, so that no snapshot is held for long."""
        priority = self._one(f"SELECT max(priority) {_READY}", queue)
        while priority is not None:
            last = (-1e300, 0)
            while True:
                statement = (
                    f"SELECT since, id, {_WAS_TAKEN}, encoding, body {_READY} "
                    "AND priority = ? AND (since, id) > (?, ?) ORDER BY since, id LIMIT ?"
                )
                found = self._connection.execute(statement, (queue, priority, *last, page)).fetchall()
                for since, number, taken, encoding, body in found:
                    last = (since, number)
                    yield number, taken, encoding, body
                if len(found) < page:
                    break
            priority = self._one(f"SELECT max(priority) {_READY} AND priority < ?", queue, priority)

    def next_due(self) -> float | None:
        """When the next waiting message is due, or None."""
        due: float | None = self._one("SELECT min(due) FROM messages WHERE due IS NOT NULL")
        return due

    def data_version(self) -> int:
        """A number that changes when another connection has written. Cheap."""
        return int(self._one("PRAGMA data_version"))

    def state(self, name: str, now: float) -> Lying | None:
        """What lies in a queue; None where there never was one of that name."""
        ready = self._one(f"SELECT count(*) {_READY}", name)
        due = self._one("SELECT count(*) FROM messages WHERE due <= ? AND queue = ?", now, name)
        waiting = self._one("SELECT count(*) FROM messages WHERE due > ? AND queue = ?", now, name)
        in_hand = self._one("SELECT count(*) FROM messages WHERE owner IS NOT NULL AND queue = ?", name)
        if not (ready or due or waiting or in_hand) and not self._one("SELECT 1 FROM queues WHERE name = ?", name):
            return None
        oldest = self._oldest(name)
        if due:
            first = self._one("SELECT min(due) FROM messages WHERE due <= ? AND queue = ?", now, name)
            oldest = first if oldest is None else min(first, oldest)
        return Lying(name, ready + due, waiting, in_hand, None if oldest is None else max(now - oldest, 0.0))

    def _oldest(self, name: str) -> float | None:
        """Since when the oldest is ready: the first of each priority is a step in the index."""
        oldest: float | None = None
        priority = self._one(f"SELECT max(priority) {_READY}", name)
        while priority is not None:
            since = self._one(f"SELECT since {_READY} AND priority = ? ORDER BY since LIMIT 1", name, priority)
            oldest = since if oldest is None else min(oldest, since)
            priority = self._one(f"SELECT max(priority) {_READY} AND priority < ?", name, priority)
        return oldest
