"""A table that several processes have mapped into memory: slots found by the digest of a name, of some words each.

All words are doubles, as the machine has them. Slots never move within a file: where it is half full, whoever notices
writes another one, twice as large or without those slots that say nothing any more, and puts it in its place; the old
one is marked, and the others take the new one when they next enter the lock. So whoever is killed at any moment leaves
a table that is whole.

Reading and writing one word needs no lock; finding room, and all that must be one step, is done under it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from types import TracebackType

from twisted.logger import Logger

from mailerq.commons import digest_of

_log = Logger()

SMALLEST = 1024  # slots
STAMP = 2  # the word of the head that says when it was last used
USED = 3  # the word of the head that counts the slots in use; less than 0: this file is being replaced
_DIGEST = Struct("@QQ")


class Lock:
    """One for all tables of a machine (a file, by its descriptor; None: nobody else is there). May be entered again by
    who is in it. The system lets go of it when a process ends."""

    def __init__(self, file: int | None = None) -> None:
        self._file = file
        self._depth = 0
        self.tables: list[Table] = []

    def __enter__(self) -> None:
        if not self._depth:
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            self._depth = 1
            try:
                for table in self.tables:
                    if table.words[USED] < 0.0:
                        table.take_new()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        else:
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """It is used no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def words_of(name: tuple[object, ...]) -> tuple[int, int]:
    """The digest by which a name is found, as the two words that stand in its slot."""
    first, second = _DIGEST.unpack(digest_of(name))
    return first or 1, second


class Table:
    """In the memory of this process. ``head`` words stand before the slots; of the ``width`` words of a slot the first
    two are its digest. ``is_alive(words, at)``: whether a slot still says something. ``generation`` changes whenever
    slots may have moved: who remembers where one is, looks for it again then."""

    words: memoryview[float]
    integers: memoryview[int]

    def __init__(self, head: int, width: int, is_alive: Callable[[memoryview[float], int], bool]) -> None:
        self.head = head
        self.width = width
        self.generation = 0
        self.full = False
        self._is_alive = is_alive
        self._full_was_said = False
        self._slots = 0
        self._map: mmap.mmap | None = None
        self._begin()

    def _begin(self) -> None:
        self._use(mmap.mmap(-1, self._bytes(SMALLEST)))

    def _bytes(self, slots: int) -> int:
        return (self.head + slots * self.width) * 8

    def _use(self, mapped: mmap.mmap) -> None:
        """Look at other memory from now on."""
        if self._map is not None:
            self.words.release()
            self.integers.release()
            self._map.close()
        self._map = mapped
        self.words = memoryview(mapped).cast("d")
        self.integers = memoryview(mapped).cast("Q")
        self._slots = (len(self.words) - self.head) // self.width
        self.generation += 1

    def find(self, digest: tuple[int, int]) -> int:
        """Where the slot of a digest begins, in words; 0: there is none."""
        at = _look(self.integers, self.head, self.width, digest)
        return at if self.integers[at] or self.integers[at + 1] else 0

    def place(self, digest: tuple[int, int]) -> int:
        """The same; a new slot, of zeros, if there is none. 0: there is no room. Under the lock."""
        at = self.find(digest)
        if at:
            return at
        used = self.words[USED]
        if (used + 1) * 2 > self._slots and not self.full and self._make_room():
            used = self.words[USED]
        if used + 2 > self._slots:
            return 0
        at = _look(self.integers, self.head, self.width, digest)
        self.words[USED] = used + 1
        self.integers[at + 1] = digest[1]
        self.integers[at] = digest[0]
        return at

    def slots(self) -> range:
        """Where all slots begin, used or not."""
        return range(self.head, self.head + self._slots * self.width, self.width)

    def _make_room(self) -> bool:
        """Without the slots that say nothing, or in a larger table. False: the disk is full, which is said once; new
        names get what is left, and more is looked for when ``full`` is set back."""
        alive = [at for at in self.slots() if self.integers[at] and self._is_alive(self.words, at)]
        slots = SMALLEST
        while slots < len(alive) * 4:
            slots *= 2
        try:
            self._replace(slots, alive)
        except OSError as error:
            self.full = True
            if not self._full_was_said:
                self._full_was_said = True
                _log.error("{table!r}: no room for more, limits there are not shared: {error}", table=self, error=error)
            return False
        self._full_was_said = False
        return True

    def _replace(self, slots: int, alive: list[int]) -> None:
        fresh = mmap.mmap(-1, self._bytes(slots))
        self._copy(fresh, alive)
        self._use(fresh)

    def _copy(self, fresh: mmap.mmap, alive: list[int]) -> None:
        """Head and slots as they are, to where they belong in a larger table."""
        words, integers = memoryview(fresh).cast("d"), memoryview(fresh).cast("Q")
        words[: self.head] = self.words[: self.head]
        for at in alive:
            to = _look(integers, self.head, self.width, (self.integers[at], self.integers[at + 1]))
            words[to : to + self.width] = self.words[at : at + self.width]
        words[USED] = float(len(alive))
        words.release()
        integers.release()

    def take_new(self) -> None:
        """Somebody has begun to put another one in this one's place."""

    def tick(self, now: float) -> None:
        """To be called about once a second."""
        self.full = False
        self.words[STAMP] = now

    def close(self) -> None:
        """It is used no more."""
        if self._map is not None:
            self.words.release()
            self.integers.release()
            self._map.close()
            self._map = None

    def __repr__(self) -> str:
        return f"<Table of {self._slots} slots, {abs(self.words[USED]):.0f} used>"


class FileTable(Table):
    """In a file; made new, with ``magic`` (16 bytes) at its head, where ``fresh``: else one that is there is joined.
    Raises OSError where it cannot be used. Under the lock."""

    def __init__(
        self, path: Path, magic: bytes, is_alive: Callable[[memoryview[float], int], bool], *, head: int, width: int
    ) -> None:
        self.path = path
        self.magic = magic
        self._inode = 0
        super().__init__(head, width, is_alive)

    def _begin(self) -> None:
        if not self.path.exists():
            self.renew()
        else:
            self._join()

    def renew(self) -> None:
        """Begin with an empty one."""
        self._put(self._written(SMALLEST, ()))

    def _join(self) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if status.st_size <= self.head * 8 or os.pread(file, len(self.magic), 0) != self.magic:
                raise OSError(f"{self.path} is of something else")
            mapped = mmap.mmap(file, status.st_size)
        finally:
            os.close(file)
        self._inode = status.st_ino
        self._use(mapped)
        if self.words[USED] < 0.0:  # who was about to replace it has been killed
            self.words[USED] = -self.words[USED] - 1.0

    def take_new(self) -> None:
        """The file that stands there now; the same, if who was about to replace it has been killed."""
        if os.stat(self.path).st_ino == self._inode:
            self.words[USED] = -self.words[USED] - 1.0
        else:
            self._join()

    def _replace(self, slots: int, alive: list[int]) -> None:
        self._put(self._written(slots, alive))

    def _written(self, slots: int, alive: list[int] | tuple[()]) -> mmap.mmap:
        """A file beside it, written as a whole."""
        beside = self._beside
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, self._bytes(slots))  # a full disk is noticed here, not by a signal later on
            fresh = mmap.mmap(file, self._bytes(slots))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        finally:
            os.close(file)
        if self._map is not None:
            self._copy(fresh, list(alive))
        fresh[: len(self.magic)] = self.magic
        return fresh

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    def _put(self, fresh: mmap.mmap) -> None:
        """In its place. The old one is marked first: who is killed in between has changed nothing."""
        if self._map is not None:
            self.words[USED] = -self.words[USED] - 1.0
        os.replace(self._beside, self.path)
        self._inode = os.stat(self.path).st_ino
        self._use(fresh)

    def __repr__(self) -> str:
        return f"<{self.path}: {self._slots} slots, {abs(self.words[USED]):.0f} used>"


def _look(integers: memoryview[int], head: int, width: int, digest: tuple[int, int]) -> int:
    """The slot of a digest, or the empty one where it would stand."""
    first, second = digest
    slots = (len(integers) - head) // width
    index = first % slots
    while True:
        at = head + index * width
        found = integers[at]
        if found == first and integers[at + 1] == second:
            return at
        if not found and not integers[at + 1]:
            return at
        index = index + 1 if index + 1 < slots else 0
