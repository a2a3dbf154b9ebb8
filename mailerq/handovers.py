"""What workers of one machine must know of each other's jobs: a file that all of them have mapped into memory.

A job that comes again may come to another worker than the one that had it. Whoever takes one says so here, before it
looks into the journals of the others (``fellows.py``); whoever is about to send a final dot has looked, by comparing
eight bytes, whether anything was said since. All that is said is said under a lock, and never taken back; after an hour
it is of no use any more.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

SIZE = 4 << 20  # bytes: some 50,000 jobs that came again within an hour; of more, the older half is forgotten
KEEP = 3600.0  # seconds

_HEAD = Struct("=QQQ")  # how often something was said; where the next line begins; how often it was made anew


class Handovers:
    """``me``: the life of the worker that we are.

    ``takers``: who has what a dead or lost worker had noted of a job, by identity and digest; ``handed``: the
    identities, by digest, of those that others have. ``moved``: when a job with that body was last taken again by
    another worker than us. ``copies``: bodies of jobs that may have been put on the outbox twice; ``come``: those of
    which one has come.
    """

    def __init__(self, path: str, me: str, seconds: Callable[[], float]) -> None:
        self.takers: dict[tuple[str, bytes], str] = {}
        self.moved: dict[bytes, float] = {}
        self.handed: dict[bytes, set[str]] = {}
        self.copies: set[bytes] = set()
        self.come: set[bytes] = set()
        self._me = me
        self._seconds = seconds
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < SIZE:
            os.ftruncate(self._file, SIZE)
        self._map = mmap.mmap(self._file, SIZE)
        self._version = b""
        self._read_to = self._age = 0
        with self.locked():
            pass

    @property
    def news(self) -> bool:
        """Whether anything was said since the last look."""
        return self._map[:8] != self._version

    @contextmanager
    def locked(self) -> Iterator[None]:
        """All others wait; what they have said is known."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._look()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def look(self) -> None:
        """Know what was said, if anything was."""
        if self.news:
            with self.locked():
                pass

    # -- to be said, within ``locked``

    def move(self, digest: bytes) -> None:
        """A job with that body has come again, to us."""
        self._say("M", digest.hex())

    def take(self, identity: str, digest: bytes) -> None:
        """What was noted of that job is ours from now on; it stands in our journal already."""
        self._say("T", f"{digest.hex()} {identity}")

    def copy(self, digest: bytes) -> None:
        """A job with that body may be put on the outbox twice."""
        self._say("C", digest.hex())

    def came(self, digest: bytes) -> None:
        """One of them has come."""
        self._say("N", digest.hex())

    # -- asked

    def is_ours(self, identity: str, digest: bytes, life: str) -> bool:
        """Whether what ``life`` has noted of that job is still its to decide."""
        return self.takers.get((identity, digest), life) == life

    def close(self) -> None:
        """It is not needed any more."""
        self._map.close()
        os.close(self._file)

    def _say(self, kind: str, what: str) -> None:
        line = f"{kind} {self._seconds()!r} {self._me} {what}\n".encode()
        times, end, age = _HEAD.unpack_from(self._map)
        end = end or _HEAD.size
        if end + len(line) > SIZE:
            end, age = self._compact(), age + 1
        self._map[end : end + len(line)] = line
        _HEAD.pack_into(self._map, 0, times + 1, end + len(line), age)
        self._look()

    def _compact(self) -> int:
        """Throw out what is old. Returns where it ends then."""
        lines = self._map[_HEAD.size :].rstrip(b"\0").split(b"\n")[:-1]
        since = self._seconds() - KEEP
        kept = [line for line in lines if _time(line) > since]
        while sum(map(len, kept)) + len(kept) > SIZE // 2:
            kept = kept[len(kept) // 2 :]
        content = b"".join([line + b"\n" for line in kept])
        end = _HEAD.size + len(content)
        self._map[_HEAD.size : end] = content
        self._map[end:] = bytes(SIZE - end)
        return end

    def _look(self) -> None:
        version = self._map[:8]
        _, end, age = _HEAD.unpack_from(self._map)
        if version == self._version or not end:
            self._version = version
            return
        if age != self._age or not self._read_to:  # then all is read again
            self._read_to, self._age = _HEAD.size, age
            for known in (self.takers, self.handed, self.moved, self.copies, self.come):
                known.clear()
        for line in self._map[self._read_to : end].split(b"\n")[:-1]:
            self._hear(line.decode("ascii", "replace").split(" "))
        self._version, self._read_to = version, end

    def _hear(self, words: list[str]) -> None:
        try:
            kind, time, who, digest = words[0], float(words[1]), words[2], bytes.fromhex(words[3])
        except (ValueError, IndexError):
            return
        if kind == "M" and who != self._me:
            self.moved[digest] = time
        elif kind == "T" and len(words) > 4:
            self.takers[words[4], digest] = who
            if who != self._me:
                self.handed.setdefault(digest, set()).add(words[4])
            elif digest in self.handed:
                self.handed[digest].discard(words[4])
        elif kind == "C":
            self.copies.add(digest)
        elif kind == "N":
            self.come.add(digest)


def _time(line: bytes) -> float:
    try:
        return float(line.split(b" ", 2)[1])
    except (ValueError, IndexError):
        return 0.0


def handovers_of(journals: str) -> Path:
    """Where it is, beside the journals."""
    return Path(journals + ".handed")
