"""What must be known after a crash: whose final dot was sent, and what had been decided.

A file of short lines, appended before the fact: ``D`` before a final dot goes out, ``R`` before a result is published,
``C`` once it is confirmed, ``S`` when the job cannot come again; ``T`` where a job is taken whose body is that of one
whose acknowledgement may yet be lost. It is a file mapped into memory: what stands there belongs to the operating
system at once, so a killed process loses none of it, and a line costs no system call (which would also hand the
interpreter to another thread, twice for each mail). It is not forced to the disk for each mail, so a power cut may lose
the last lines, and then a mail may be sent twice. Its space is reserved in advance: a full disk is noticed when it is
made, not in flow.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from twisted.logger import Logger

from mailerq.files import lock
from mailerq.handovers import Handovers
from mailerq.journal_lines import Entries, Remembered, decided_line, lines_of
from mailerq.verdict import Verdict

ROOM = 16 * 1024 * 1024  # bytes of a new journal, beside what is open; when they are used up, it is made anew
_OURS = re.compile(rb"(?:^|\n)(?:[DRCST](?: ?$| [0-9a-f])|L [0-9a-f]+(?:\n|$))")  # how a line begins
KEEP = 3600.0  # seconds for which what an earlier life left open is believed


_log = Logger()


class JournalInUse(Exception):
    """Another process writes this journal."""


class Journal:
    """One file, one process. ``path``'s folder is made if it is missing.

    ``handovers``: what is, or was, said among several workers. ``orphans``: journals of workers that there are no
    longer; what they left open is ours, unless somebody writes them. ``signed``: others look into this one, too.
    """

    def __init__(
        self,
        path: str,
        seconds: Callable[[], float],
        random_hex: Callable[[], str],
        *,
        handovers: Handovers | None = None,
        orphans: Sequence[Path] = (),
        signed: bool = False,
    ) -> None:
        self._path = Path(path)
        self._seconds = seconds
        self._open: dict[str, list[bytes]] = {}  # by identity: the lines of what is not settled, of this life
        self._left: dict[bytes, list[Remembered]] = {}  # by digest: what an earlier life left open
        self._count = 0
        self.life = random_hex()
        self._at = 0
        self.full = False
        self._settled: dict[str, list[bytes]] = {}  # by identity: lines of the last second; see acknowledged()
        self._aged: dict[str, list[bytes]] = {}  # those of the second before
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_what_is_not_ours(self._path)
        self._signs = signed
        self._born = seconds()
        with nullcontext() if handovers is None else handovers.locked():
            self._lock = _lock(self._path)
            self._left = self._read(self._path).left()
            adopted = [orphan for orphan in orphans if self._adopt_all(orphan)]
            self._forget_taken(handovers)
            self._file, self._map = self._rewrite()
            for orphan in adopted:
                _remove(orphan)
        self._size = len(self._map)

    def new_identity(self) -> str:
        """A name for a job that no other job has, in this life or another."""
        self._count += 1
        return f"{self.life}-{self._count:x}"

    def dot(self, identity: str, digest: bytes, source: str | None, target: str | None, mx: str | None) -> None:
        """The final dot of a mail goes out right after this."""
        self._note(identity, f"D {identity} {digest.hex()} {source or '-'} {target or '-'} {mx or '-'}\n".encode())

    def decided(self, identity: str, digest: bytes, verdict: Verdict, seen: float, entries: list[bytes]) -> None:
        """What follows from a verdict is published right after this. ``seen`` is the first pick-up."""
        self._note(identity, decided_line(identity, digest, verdict, seen, entries))

    def settled(self, identity: str) -> None:
        """The job does not come again."""
        if self._open.pop(identity, None) is not None:
            self._write(f"S {identity}\n".encode())

    def acknowledged(self, identity: str, left: int) -> None:
        """All is published, and the job does not come again unless its acknowledgement is lost with us. It is forgotten
        a second later, by ``tick``. ``left``: how many jobs with the same body are in hand yet."""
        lines = self._open.pop(identity, None)
        if lines is not None:
            lines.append(f"C {identity} {left}\n".encode())
            self._write(lines[-1])
            self._settled[identity] = lines

    def equal(self, digest: bytes) -> None:
        """One more job is in hand with the body of one that was acknowledged a moment ago."""
        line = f"T {digest.hex()}\n".encode()
        self._write(line)
        self._settled.setdefault("", []).append(line)

    def tick(self, connected: bool = True) -> None:
        """To be called about once a second. Nothing ages while the broker is not ``connected``: who knows what it has
        read."""
        if self.full:
            self._rotate()
        if not connected:
            return
        aged, self._aged, self._settled = self._aged, self._settled, {}
        if aged:
            self._write("".join([f"S {identity}\n" for identity in aged if identity]).encode())

    def recall(self, digest: bytes) -> Remembered | None:
        """What an earlier life left open of a job with this body, once for each such job.

        One that was settled, and of which only the acknowledgement may be lost, is recalled only where no equal job was
        seen beside it: of equal jobs nobody knows how many the broker had given us that we never read, and rather one
        is sent again than lost.
        """
        if not self._left:
            return None
        self._forget_old()
        return take_first(self._left, digest)

    # -- where several workers look into each other's journals

    def adopt(self, remembered: Remembered) -> None:
        """What another life had noted of a job is ours from now on."""
        identity = remembered.identity
        for line in lines_of(remembered):
            self._note(identity, line)
        if remembered.settled:
            self._settled[identity] = self._open.pop(identity)

    def knows(self, identity: str) -> bool:
        """Whether anything is noted of it: its final dot was sent, or more."""
        return identity in self._open

    def adrift(self, identity: str) -> None:
        """Of that job the broker was lost: it may give it to anybody."""
        self._mark("A", self._open, identity)

    def all_adrift(self) -> None:
        """The broker was lost: whatever is noted may come again, to anybody."""
        for kept in (self._open, self._settled, self._aged):
            for identity in list(kept):
                self._mark("A", kept, identity)

    def back(self, identity: str) -> None:
        """It was given to us again."""
        self._mark("B", self._open, identity)

    def _mark(self, kind: str, kept: dict[str, list[bytes]], identity: str) -> None:
        if self._signs and identity and identity in kept:
            line = f"{kind} {identity}\n".encode()
            kept[identity].append(line)
            self._write(line)

    def close(self, connected: bool = True) -> None:
        """Throw out what is settled, and let others have it. If the broker is not ``connected``, acknowledgements of
        the last seconds may be lost yet."""
        if not connected:
            self._open[""] = [line for kept in (self._aged, self._settled) for lines in kept.values() for line in lines]
        self._rotate(last=True)
        self._map.close()
        os.ftruncate(self._file, self._at)
        os.close(self._file)
        os.close(self._lock)

    def _forget_old(self) -> None:
        if self._seconds() - self._born > KEEP:
            self._left.clear()

    def _note(self, identity: str, line: bytes) -> None:
        lines = self._open.get(identity)
        if lines is None:
            lines = self._open[identity] = []
            if identity in self._settled or identity in self._aged:  # its next try: the one before is over
                self._settled.pop(identity, None)
                self._aged.pop(identity, None)
                self._write(f"S {identity}\n".encode())
        lines.append(line)
        self._write(line)

    def _write(self, line: bytes) -> None:
        end = self._at + len(line)
        if end > self._size:
            self._rotate()  # the new one holds this line already
        elif not self.full:
            self._map[self._at : end] = line
            self._at = end

    def _read(self, path: Path) -> Entries:
        found = Entries()
        with suppress(FileNotFoundError):
            found.read(path.read_bytes().rstrip(b"\0"))  # a torn last line was of no effect
        return found

    def _adopt_all(self, orphan: Path) -> bool:
        """What is left open in the journal of a worker that there is no longer is ours; False: somebody writes it."""
        try:
            taken = lock(orphan)
        except BlockingIOError:
            return False
        try:
            _refuse_what_is_not_ours(orphan)
            for digest, several in self._read(orphan).left().items():
                self._left.setdefault(digest, []).extend(several)
        except OSError as error:
            _log.error("{path} is not believed: {error}", path=orphan, error=error)
            return False
        finally:
            os.close(taken)
        return True

    def _forget_taken(self, handovers: Handovers | None) -> None:
        """What others have taken since is theirs."""
        if handovers is not None:
            for digest, several in list(self._left.items()):
                self._left[digest] = [one for one in several if handovers.is_ours(one.identity, digest, one.life)]

    def _rotate(self, last: bool = False) -> None:
        """Throw out what is settled. Where there is no room on the disk for that, nothing more is noted until there is,
        and then all that is open is."""
        try:
            file, mapped = self._rewrite(last)
        except OSError as error:
            if not self.full:
                _log.error("{me}: if we are killed now, mails may be sent twice: {error}", me=self, error=error)
            self.full = True
            return
        self.full = False
        self._map.close()
        os.close(self._file)
        self._file, self._map = file, mapped
        self._size = len(mapped)

    def _lines_left(self) -> list[bytes]:
        """What earlier lives left open, each under its name."""
        lines, life = [], ""
        for several in self._left.values():
            for remembered in several:
                if remembered.life != life:
                    life = remembered.life
                    lines.append(f"L {life}\n".encode())
                lines += lines_of(remembered)
        if life:
            lines.append(b"L \n")
        return lines

    def _rewrite(self, last: bool = False) -> tuple[int, mmap.mmap]:
        """A new file that holds only what is open, in the place of the old one."""
        self._forget_old()
        lines = self._lines_left()
        if self._signs and not (last and not self._open):
            lines.append(f"L {self.life}\n".encode())
        lines += [line for kept in self._open.values() for line in kept]
        beside = self._path.with_name(self._path.name + ".new")
        content = b"".join(lines)
        size = len(content) + ROOM
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
        except OSError:
            os.close(file)
            os.unlink(beside)
            raise
        mapped = mmap.mmap(file, size)
        mapped[: len(content)] = content
        mapped.flush()
        os.fsync(file)
        os.replace(beside, self._path)
        self._at = len(content)
        self._settled.clear()
        self._aged.clear()
        return file, mapped

    def __repr__(self) -> str:
        left = sum(map(len, self._left.values()))
        return f"<Journal {self._path}: {len(self._open)} open, {left} left open by an earlier life>"


def _refuse_what_is_not_ours(path: Path) -> None:
    """A file that is something else would be lost: FileExistsError. One line that is ours, whole or torn, is enough."""
    if not path.exists() or path.is_dir():  # making a file in the place of a folder fails by itself
        return
    if not path.is_file():
        raise FileExistsError(f"{path} is no file")
    content = path.read_bytes().rstrip(b"\0")
    if content and not _OURS.search(content):
        raise FileExistsError(f"{path} is something else than a journal; it would be overwritten")


def _remove(path: Path) -> None:
    for one in (path, path.with_name(path.name + ".lock"), path.with_name(path.name + ".new")):
        with suppress(OSError):
            one.unlink(missing_ok=True)


def take_first(left: dict[bytes, list[Remembered]], digest: bytes) -> Remembered | None:
    """Take the first of those that were left with that digest; None: there is none."""
    found = left.get(digest)
    if not found:
        return None
    remembered = found.pop(0)
    if not found:
        del left[digest]
    return remembered


def _lock(path: Path) -> int:
    try:
        return lock(path)
    except BlockingIOError:
        text = f"{path} is in use by another engine; give this one a `journal` of its own, or stop the other"
        raise JournalInUse(text) from None
