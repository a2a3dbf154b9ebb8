"""Due times that survive a restart, and a kill: a file of fixed slots, mapped into memory.

A slot holds the digest of a name, the time at which that pace is due, and the interval at which its debt was booked.
What is written there belongs to the operating system at once: a killed process loses none of it, and a write is one
store of eight bytes, without a system call. It is not forced to the disk: a power cut may lose the last half minute,
and then each pace may let one unit (or one message, of those that count bytes) go too early.

The file belongs to one machine: numbers stand in it as the processor has them.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from struct import Struct
from typing import BinaryIO
from zlib import crc32

from twisted.logger import Logger

from mailerq.commons import digest_of
from mailerq.files import lock

_log = Logger()

AHEAD = 86400.0  # seconds: no debt from an earlier life is believed to be longer, but for a single unit
SMALLEST = 4096  # slots in a new file: 128 kB
_MAGIC = b"mailerq paces 1\n"
ORDERED = b"mailerq paces 2\n"
"""The same file, with its slots where their digests want them: ``shared_paces.py``."""
_SLOT = Struct("@16sdfI")  # digest, due, interval, check
_WORDS = _SLOT.size // 8  # a slot in words of eight bytes; the first slot of the file is its head: magic, time, nothing
_DUE, _RATE = 2, 3  # the words of a slot: due; interval and check, written as one
_RATE_WORD = Struct("@fI")
_INTERVAL = Struct("@f")
_WORD = Struct("@d")
_BITS = Struct("@Q")
_DIGEST = Struct("@QQ")
_STAMP = 2  # the word of the head that says when it was last used


class PacesInUse(OSError):
    """Another process writes this file."""


class Slot:
    """Where the due time of one pace is kept; takes up room in the file from its first write on."""

    __slots__ = ("_digest", "_file", "interval", "word")

    def __init__(self, file: PacesFile, digest: bytes, word: int, interval: float = 0.0) -> None:
        self._file = file
        self._digest = digest
        self.interval = interval
        self.word = word  # where its due time stands, in words; 0: nowhere

    def read(self) -> tuple[float, float, float]:
        """The due time (0: none, or past), the interval at which it was booked, and the time it is now."""
        now = self._file.seconds()
        due = self._file.words[self.word] if self.word else 0.0
        return (due if due > now else 0.0), self.interval, now

    def write(self, due: float) -> None:
        """Keep another due time, booked at the same interval. Never raises for a lack of room: see ``PacesFile``."""
        word = self.word
        if word:
            self._file.words[word] = due
        else:
            self._file.place(self._digest, self, due)

    def paced(self, due: float, interval: float) -> None:
        """Keep a due time that was booked at another interval. Killed between the two, more is owed, never less."""
        before, self.interval = self.interval, interval
        if not self.word:
            self._file.place(self._digest, self, due)
        elif interval < before:
            self._file.words[self.word + 1] = _rate_word(self._digest, interval)
            self._file.words[self.word] = due
        else:
            self._file.words[self.word] = due
            self._file.words[self.word + 1] = _rate_word(self._digest, interval)


class PacesFile:
    """One file, one process. ``seconds`` is the wall clock; ``path``'s folder is made if it is missing.

    Raises ``OSError`` with the path if it cannot be used (``PacesInUse``: by another process; or it is a file of
    something else). A damaged one is renamed to ``….broken-TIME``, said so, and a new one is begun. Where the disk is
    full later on, that is said once, and new paces are not remembered until there is room (looked for at each
    ``tick``).
    """

    words: memoryview[float]
    _map: mmap.mmap

    def __init__(self, path: str, seconds: Callable[[], float]) -> None:
        self._path = Path(path)
        self.seconds = seconds
        self._slots: dict[bytes, Slot] = {}
        self._free: array[int] = array("L")  # the first words of slots that nobody uses, the last first
        self.full = False
        self._full_was_said = False
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and not self._path.is_file():
            raise FileExistsError(f"{self._path} is no file")
        self._lock = _lock(self._path)
        try:
            look_at_what_is_there(self._path, seconds())
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._open()
            except BaseException:
                os.close(self._file)
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def slot(self, name: tuple[object, ...]) -> Slot:
        """The slot of that name; there is one at a time."""
        digest = digest_of(name)
        found = self._slots.get(digest)
        return Slot(self, digest, 0) if found is None else found

    def tick(self) -> None:
        """To be called about once a second: by this it is noticed at the next start that the clock was set back."""
        self.full = False
        self.words[_STAMP] = self.seconds()

    def close(self) -> None:
        """Let others have it."""
        self.words[_STAMP] = self.seconds()
        self.words.release()
        self._map.close()
        os.close(self._file)
        os.close(self._lock)

    # -- for slots ---------------------------------------------------------------------------------------------------

    def place(self, digest: bytes, slot: Slot, due: float) -> None:
        """Give a slot its room, if there is any, and write it."""
        other = self._slots.get(digest)
        if other is not None and other is not slot:  # its place was taken back, and its name has another since
            other.paced(due, slot.interval)
            return
        if not self._free and not self._find_room():
            return
        first = self._free.pop()
        self.words[first + _RATE] = 0.0  # no valid slot until the last store
        offset = first * 8
        self._map[offset : offset + 16] = digest
        self.words[first + _DUE] = due
        self.words[first + _RATE] = _rate_word(digest, slot.interval)
        slot.word = first + _DUE
        self._slots[digest] = slot

    # -- room --------------------------------------------------------------------------------------------------------

    def _find_room(self) -> bool:
        """Take back the slots of the past, or make the file twice as large if that gives less than a quarter of it."""
        if self.full:
            return False
        now, words = self.seconds(), self.words
        for digest, slot in [each for each in self._slots.items() if words[each[1].word] <= now]:
            self._free.append(slot.word - _DUE)
            slot.word = 0
            del self._slots[digest]
        count = len(words) // _WORDS
        if len(self._free) * 4 >= count:
            return True
        try:
            self._resize(count * 2)
        except OSError as error:
            self.full = True  # what was taken back may be used; more is looked for at the next tick, not for each pace
            if not self._free and not self._full_was_said:
                self._full_was_said = True
                _log.error("{path}: new paces are not remembered: {error}", path=str(self._path), error=error)
            return bool(self._free)
        self._full_was_said = False
        self._free.extend(range((count * 2 - 1) * _WORDS, (count - 1) * _WORDS, -_WORDS))
        return True

    def _resize(self, count: int) -> None:
        """Its space is reserved, so that a full disk is noticed here and not by a signal in flow."""
        os.posix_fallocate(self._file, 0, count * _SLOT.size)
        mapped = mmap.mmap(self._file, count * _SLOT.size)
        if hasattr(self, "_map"):
            self.words.release()
            self._map.close()
        self._map = mapped
        self.words = memoryview(mapped).cast("d")

    def _open(self) -> None:
        self._resize(max(os.fstat(self._file).st_size // _SLOT.size, SMALLEST))
        now = self.seconds()
        self._map[: len(_MAGIC)] = _MAGIC
        ahead = _ahead(self.words[_STAMP], now)
        free = []
        for index, (digest, due, interval, check) in enumerate(_SLOT.iter_unpack(self._map)):
            first = index * _WORDS
            if not index:
                continue
            owed = _owed((digest, due, interval, check), ahead, now)
            if owed:
                self.words[first + _DUE] = owed
                self._slots[digest] = Slot(self, digest, first + _DUE, interval)
            else:
                free.append(first)
        self._free = array("L", reversed(free))
        self.words[_STAMP] = now

    def __repr__(self) -> str:
        return f"<PacesFile {self._path}: {len(self._slots)} paces, room for {len(self.words) // _WORDS - 1}>"


def _check(digest: bytes, interval: float) -> int:
    """Of a slot that was written to its end. Never 0 together with an interval of 0, as in an empty one."""
    return crc32(digest + _INTERVAL.pack(interval)) | 1


def _rate_word(digest: bytes, interval: float) -> float:
    """Interval and check, as the double that has their bits."""
    word: float = _WORD.unpack(_RATE_WORD.pack(interval, _check(digest, interval)))[0]
    return word


def rate_bits(digest: tuple[int, int], interval: float) -> int:
    """Interval and check of a slot, as the integer that has their bits."""
    bits: int = _BITS.unpack(_RATE_WORD.pack(interval, _check(_DIGEST.pack(*digest), interval)))[0]
    return bits


def interval_of(bits: int) -> float:
    """The interval that ``rate_bits`` put there."""
    interval: float = _RATE_WORD.unpack(_BITS.pack(bits))[0]
    return interval


def believed(written: bytes, now: float) -> list[tuple[tuple[int, int], float, int]]:
    """What a file says that nobody else writes: digest, due time, and interval and check of all that are in debt."""
    stamp = _WORD.unpack_from(written, _STAMP * 8)[0] if len(written) >= _SLOT.size else 0.0
    found = []
    for slot in _SLOT.iter_unpack(written[_SLOT.size : len(written) // _SLOT.size * _SLOT.size]):
        owed = _owed(slot, _ahead(stamp, now), now)
        if owed:
            first, second = _DIGEST.unpack(slot[0])
            found.append(((first, second), owed, rate_bits((first, second), slot[2])))
    return found


def _ahead(stamp: float, now: float) -> float:
    """By how much the clock was set back since: what is owed stays as long."""
    return max(0.0, stamp - now) if isfinite(stamp) else 0.0


def _owed(slot: tuple[bytes, float, float, int], ahead: float, now: float) -> float:
    """The due time of a slot, if it says one that is to come; else 0."""
    digest, due, interval, check = slot
    if due - ahead > now and isfinite(due) and check == _check(digest, interval) and interval >= 0.0:
        return min(due - ahead, now + max(AHEAD, interval))
    return 0.0


def look_at_what_is_there(path: Path, now: float) -> None:
    """A file of something else is refused; a damaged one is put aside: one of ours that was cut, or whose head is gone.
    An empty one, or one of zeros, is one that was begun and not written."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            whole = os.fstat(file.fileno()).st_size % _SLOT.size == 0
            if any(head) and head not in (_MAGIC, ORDERED):
                raise OSError(f"{path} is no file of paces; give the engine a `state` of its own")
            if whole and (head in (_MAGIC, ORDERED) or _is_blank(file)):
                return
    except FileNotFoundError:
        return
    aside = path.with_name(f"{path.name}.broken-{now:.0f}")
    os.rename(path, aside)
    _log.error("{path} is damaged: {aside} now, and a new one is begun", path=str(path), aside=str(aside))


def _is_blank(file: BinaryIO) -> bool:
    return not any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 20), b""))


def _lock(path: Path) -> int:
    try:
        return lock(path)
    except BlockingIOError:
        text = f"{path} is in use by another engine; give this one a `state` of its own, or stop the other"
        raise PacesInUse(text) from None
