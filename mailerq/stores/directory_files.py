"""The files of a directory of bodies: how they are named, written so that a crash leaves a whole one or none, and read.
Blocking; called in threads.

A body lies in ``PATH/abc/abcdef…``, named by the SHA-256 of its key in hexadecimal. Its first line is JSON: the key,
when its time is over (epoch seconds, and for people in UTC) and the size of the body, which is all that follows. The
file's modification time is that time, too, as a hint to those who look for what is over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from stat import S_ISREG
from typing import Any, NamedTuple

from mailerq.content.step import ContentError

MARK = "mailerq-store"
"""The file by which a directory is known as a store; locked (shared) to put a body in place, (exclusively) to remove
one whose time is over."""
ABOUT = (
    "Bodies of messages, each in the file that the SHA-256 of its key names. The first line of it is about the body.\n"
)
NEVER = 2.0**33
"""The modification time of what is kept for ever: the year 2242."""
LEFTOVER = 3600.0  # seconds after which a file that was not finished is taken for a dead one's
CHUNK = 1 << 16
LONGEST = 64 << 20  # bytes of the first line, where a key is very long
_SHARD = 3  # hexadecimal digits


class Gone(Exception):
    """The directory is not what it should be: not mounted, say."""


class Head(NamedTuple):
    """What a file says of its body. ``start``: where that begins."""

    key: str
    expires: float | None
    size: int
    start: int

    def is_over(self, now: float) -> bool:
        """Whether its time is."""
        return self.expires is not None and self.expires <= now


class Files:
    """The bodies below ``path``. Used by several threads and processes at once. Raises OSError as it comes, Gone, and
    ContentError for a body that is damaged."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._mark = os.path.join(self.path, MARK)
        self._known = False
        self._owner: tuple[int, int] | None = None
        self._shards: Iterator[str] = iter(())

    def prepare(self) -> None:
        """Make the directory if it is missing, or look whether it is there. Once it was seen it is not made again: an
        empty one in its place is another one, where nothing is found."""
        if self._known:
            if not os.path.exists(self._mark):
                raise Gone("it is gone, or not mounted")
            return
        if not os.path.exists(self._mark):
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            if os.listdir(self.path) and not os.path.exists(self._mark):
                raise Gone(f"it is not empty, and no store of bodies: it has no file {MARK}")
            with open(os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as mark:
                mark.write(ABOUT)
            _keep_names(self.path)
            _keep_names(os.path.dirname(self.path))
        if os.geteuid() == 0:
            about = os.stat(self.path)
            self._owner = about.st_uid, about.st_gid
        self._known = True

    def place(self, key: str) -> str:
        """The file of a key."""
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return os.path.join(self.path, name[:_SHARD], name)

    def get(self, key: str, now: float) -> bytes | None:
        """The body."""
        place = self.place(key)
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.prepare()
            return None
        with open(descriptor, "rb", buffering=0) as file:
            head, first = read_head(file, place)
            if head.is_over(now) or head.key != key:
                return None
            return _rest(file, head, first, place)

    def put(self, key: str, body: bytes, expires: float | None, by: str) -> None:
        """Keep it. ``by``: a word that nobody else uses at the same time."""
        self.prepare()
        place = self.place(key)
        shard, name = os.path.split(place)
        beside = os.path.join(shard, f".{name[:16]}.{by}")
        file = self._create(beside)
        try:
            try:
                _write(file, head_line(key, expires, len(body)))
                _write(file, body)
                os.utime(file, (NEVER, NEVER if expires is None else _moment(expires)))
                os.fsync(file)
            finally:
                os.close(file)
            with self._locked(fcntl.LOCK_SH):
                os.rename(beside, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        _keep_names(shard)

    def _create(self, path: str) -> int:
        """An empty file, and its directory where that is missing."""
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(path, how, 0o600)
        except FileNotFoundError:
            shard = os.path.dirname(path)
            os.makedirs(shard, mode=0o700, exist_ok=True)
            self._hand_over(shard)
            _keep_names(self.path)
            file = os.open(path, how, 0o600)
        self._hand_over(file)
        return file

    def _hand_over(self, what: str | int) -> None:
        """What root makes belongs to the user whose store it is, where that is allowed."""
        if self._owner is not None:
            with contextlib.suppress(PermissionError):
                os.chown(what, *self._owner)

    def remove(self, key: str) -> None:
        """Forget it."""
        try:
            os.unlink(self.place(key))
        except FileNotFoundError:
            self.prepare()

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self._mark, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def sweep(self, now: float, most: int, look_at: int) -> int:
        """Remove up to ``most`` whose time is over, and what was left half written. Goes on where it stopped the last
        time; after some ``look_at`` files it stops, and once it has been everywhere."""
        self.prepare()
        removed = seen = 0
        for shard in self._walk():
            with contextlib.suppress(FileNotFoundError):
                entries = list(os.scandir(shard))
                seen += len(entries)
                for entry in entries:
                    if removed < most:
                        removed += self._sweep_one(entry, now)
            if removed >= most:
                self._shards = self._and_again(shard)
                break
            if seen >= look_at:
                break
        return removed

    def _walk(self) -> Iterator[str]:
        """The directories that were not looked at yet, then the others, each once."""
        rest = list(self._shards)
        seen = set(rest)
        every = [entry.path for entry in os.scandir(self.path) if len(entry.name) == _SHARD and entry.is_dir()]
        order = rest + sorted(path for path in every if path not in seen)
        for number, shard in enumerate(order):
            self._shards = iter(order[number + 1 :])
            yield shard

    def _and_again(self, shard: str) -> Iterator[str]:
        return iter([shard, *self._shards])

    def _sweep_one(self, entry: os.DirEntry[str], now: float) -> int:
        try:
            about = entry.stat(follow_symlinks=False)
            if entry.name.startswith("."):
                if about.st_ctime + LEFTOVER < time.time():
                    os.unlink(entry.path)
                return 0
            return int(about.st_mtime <= now and S_ISREG(about.st_mode) and self._remove_if_over(entry.path, now))
        except FileNotFoundError:
            return 0

    def _remove_if_over(self, place: str, now: float) -> bool:
        """Nobody puts another body in its place between the look and the removal."""
        with self._locked(fcntl.LOCK_EX):
            with open(os.open(place, os.O_RDWR | os.O_CLOEXEC), "rb", buffering=0) as file:
                try:
                    head, _ = read_head(file, place)
                except ContentError:
                    return False
                if not head.is_over(now):  # a copy: copying loses the times of files
                    os.utime(file.fileno(), (NEVER, NEVER if head.expires is None else _moment(head.expires)))
                    return False
            os.unlink(place)
            return True


def head_line(key: str, expires: float | None, size: int) -> bytes:
    """The first line of a file."""
    about: dict[str, Any] = {"key": key, "size": size}
    if expires is not None:
        about["expires"] = expires
        about["until"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_moment(expires)))
    return json.dumps(about).encode() + b"\n"


def read_head(file: Any, place: str) -> tuple[Head, bytes]:
    """What the file says of its body, and what was read so far of the file."""
    first = file.read(CHUNK)
    while b"\n" not in first and len(first) < LONGEST and (more := file.read(1 << 20)):
        first += more
    line, end, _ = first.partition(b"\n")
    try:
        about: Any = json.loads(line) if end else None
        expires = None if about.get("expires") is None else float(about["expires"])
        head = Head(about["key"], expires, about["size"], len(line) + 1)
        if type(head.key) is str and type(head.size) is int and head.expires == head.expires:  # no NaN
            return head, first
        raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise _damaged(place, "its first line is not one of ours") from None


def _rest(file: Any, head: Head, first: bytes, place: str) -> bytes:
    """The body, without a second copy of a large one."""
    size = os.fstat(file.fileno()).st_size - head.start
    if size != head.size:
        raise _damaged(place, f"it should have {head.size} bytes, and has {size}")
    if len(first) >= head.start + size:
        return first[head.start : head.start + size]
    file.seek(head.start)
    body: bytes = file.read(size)
    while len(body) < size:
        more = file.read(size - len(body))
        if not more:
            raise _damaged(place, "it ends too early")
        body += more
    return body


def _damaged(place: str, why: str) -> ContentError:
    return ContentError(f"key: the body in the store is damaged: {place}: {why}")


def _write(file: int, body: bytes) -> None:
    left = memoryview(body)
    while left:
        written = os.write(file, left)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[written:]


def _keep_names(path: str) -> None:
    """The names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _moment(at: float) -> float:
    return min(max(at, 0.0), NEVER)
