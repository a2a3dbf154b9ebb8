"""The other workers of this machine, and what their journals say of a job that comes again to us.

A broker gives the jobs of a worker that was killed, or that it has lost, to the others, at once. What became of such a
job stands in the journal of whoever had it. Of one whose worker is dead, and of one that is decided but cannot be
published because its worker has lost the broker, it is ours from then on, and no one else's. Where a living worker has
a job with this body in its hands we wait: it may be this one, whose message is on its way. Only jobs that come again
pay for all this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from mailerq.files import lock
from mailerq.handovers import Handovers, handovers_of
from mailerq.journal import Journal
from mailerq.journal_lines import Entries, Entry, Remembered
from mailerq.mail import Mail
from mailerq.worker import Worker

AGAIN = 0.2  # seconds between two looks at what we wait for
CHUNK = 1 << 18  # bytes read at once


class Waits(msgspec.Struct, frozen=True):
    """A living worker has jobs with this body in its hands, of these identities, and one of them may be this."""

    since: float
    identities: frozenset[str] | None = None


class OtherJournal:
    """The journal of another worker, read as far as it was written."""

    def __init__(self, path: Path) -> None:
        self.entries = Entries()
        self._path = path
        self._file = -1
        self._number = 0
        self._at = 0

    def look(self) -> None:
        """Read what was written since the last look."""
        try:
            number = os.stat(self._path).st_ino
        except FileNotFoundError:
            return
        if self._file < 0 or number != self._number:
            self._open()
        size = CHUNK
        while True:
            content = os.pread(self._file, size, self._at)
            end = content.find(b"\0")
            whole = self.entries.read(content if end < 0 else content[:end])
            self._at += whole
            if end >= 0 or len(content) < size:
                return
            if not whole:
                size *= 2

    def _open(self) -> None:
        """It was made anew. The old one is kept open until now, so that its number is not given away."""
        before, self._file = self._file, os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if before >= 0:
            os.close(before)
        self._number = os.fstat(self._file).st_ino
        self._at = 0
        self.entries = Entries()

    @property
    def alive(self) -> bool:
        """Whether somebody writes it. Within ``Handovers.locked``: whoever begins to does so, too."""
        try:
            os.close(lock(self._path))
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """It is not needed any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Fellows:
    """``journal`` is our own, ``others`` the paths of theirs. ``patience``: seconds after which the message of a worker
    that says nothing more is taken for one whose answer is not known."""

    def __init__(self, journal: Journal, handovers: Handovers, others: list[Path], patience: float) -> None:
        self.patience = patience
        self._journal = journal
        self._handovers = handovers
        self._others = [OtherJournal(path) for path in others]

    # -- a job has come again

    def look(self, digest: bytes, now: float, waits: Waits | None = None) -> Remembered | Waits | None:
        """What is known of a job with this body that has come again to us; None: nothing, it is to be begun. ``waits``:
        what the look before this one has come to."""
        with self._handovers.locked():
            if waits is None:
                self._handovers.move(digest)  # before we look: see withholds()
            remembered, settled = self._recall(digest)
            if remembered is None:
                found = self._look_at_others(digest, settled, waits or Waits(now), now)
                if found is None or isinstance(found, Waits):
                    return found
                remembered = found
            self._journal.adopt(remembered)  # before it is nobody else's: we may be killed between the two
            self._handovers.take(remembered.identity, digest)
            return remembered

    def _recall(self, digest: bytes) -> tuple[Remembered | None, Remembered | None]:
        """What earlier lives of our own have left, if it still is ours: begun or decided, or else settled."""
        while (remembered := self._journal.recall(digest)) is not None:
            if self._handovers.is_ours(remembered.identity, digest, remembered.life):
                return (None, remembered) if remembered.settled else (remembered, None)
        return None, None

    def _look_at_others(
        self, digest: bytes, settled: Remembered | None, waits: Waits, now: float
    ) -> Remembered | Waits | None:
        pending: dict[str, Entry] = {}
        several = settled is not None
        for other in self._others:
            other.look()
            for entry in other.entries.of(digest):
                identity = entry.identity.decode("utf-8", "replace")
                if not self._handovers.is_ours(identity, digest, entry.life):
                    continue
                if self._is_under_way(other, entry):
                    pending[identity] = entry
                    continue
                remembered = entry.remembered()
                if remembered is None:
                    continue
                if not remembered.settled:
                    return remembered
                if several or digest.hex().encode() in other.entries.equal:
                    settled = None  # of equal ones nobody knows which it was: rather one is sent again than lost
                else:
                    settled = remembered
                several = True
        waited = pending.keys() if waits.identities is None else pending.keys() & waits.identities
        if not waited:
            return None if pending else settled
        if now - waits.since < self.patience:
            return Waits(waits.since, frozenset(waited))
        return pending[min(waited)].remembered()

    def _is_under_way(self, other: OtherJournal, entry: Entry) -> bool:
        """Whether a living worker may yet decide it, publish it, or be told that it was acknowledged."""
        if entry.life != other.entries.life or (entry.adrift and entry.decided):
            return False
        return other.alive

    # -- a job of ours has come to another

    def withholds(self, mail: Mail) -> bool:
        """Asked when it is written down that the final dot of ``mail`` goes out next: whether its job has come to
        another worker since it came to us, and the dot must not be sent. Either we see that here, or the other has seen
        what was written down."""
        handovers = self._handovers
        if not handovers.news and not handovers.moved:
            return False
        handovers.look()
        return handovers.moved.get(mail.digest, 0.0) >= mail.came

    def still_ours(self, mail: Mail) -> bool:
        """Its job, which the broker had lost, has come to us again: whether it was nobody else's in between."""
        with self._handovers.locked():
            if self._journal.knows(mail.identity):
                ours = self._handovers.is_ours(mail.identity, mail.digest, self._journal.life)
            else:
                ours = self._handovers.moved.get(mail.digest, 0.0) < mail.came
            if ours:
                self._journal.back(mail.identity)
                self._handovers.move(mail.digest)
            return ours

    def has_gone(self, mail: Mail) -> bool:
        """Whether another worker has taken what we know of it."""
        self._handovers.look()
        return not self._handovers.is_ours(mail.identity, mail.digest, self._journal.life)

    def may_be_equal(self, digest: bytes) -> bool:
        """Whether another has taken a job with this body from us: then nobody knows which of them comes again."""
        self._handovers.look()
        return bool(self._handovers.handed.get(digest))

    # -- jobs that may lie in the outbox twice

    def published_again(self, digest: bytes) -> None:
        """A job with this body goes to the outbox, where it may be already."""
        with self._handovers.locked():
            self._handovers.copy(digest)

    def is_copy(self, digest: bytes, redelivered: bool) -> bool:
        """Whether a job with this body is the second of two. One that comes again may be the first."""
        handovers = self._handovers
        if handovers.news:
            handovers.look()
        if digest not in handovers.copies:
            return False
        with handovers.locked():
            if digest in handovers.come:
                return not redelivered
            handovers.came(digest)
            return False

    def close(self) -> None:
        """Nobody is looked at any more."""
        for other in self._others:
            other.close()
        self._handovers.close()


def open_journal(
    base: str, worker: Worker, seconds: Callable[[], float], life: str, patience: float
) -> tuple[Journal, Fellows | None]:
    """The journal of a worker, and its fellows if it has any. What workers left open that there are no longer, ``base``
    with other numbers, is its own from then on, and their files are removed. Raises what ``Journal`` raises."""
    path = Path(worker.own(base))
    path.parent.mkdir(parents=True, exist_ok=True)
    others = [Path(Worker(index, worker.count).own(base)) for index in range(worker.count) if index != worker.index]
    orphans = [one for one in _journals(Path(base)) if one != path and one not in others]
    said = handovers_of(base)
    handovers = Handovers(str(said), life, seconds) if said.exists() or not worker.alone else None
    try:
        journal = Journal(
            str(path), seconds, lambda: life, handovers=handovers, orphans=orphans, signed=not worker.alone
        )
    except BaseException:
        if handovers is not None:
            handovers.close()
        raise
    if handovers is None or worker.alone:
        if handovers is not None:
            handovers.close()
            if not any(one != path for one in _journals(Path(base))):
                said.unlink()
        return journal, None
    return journal, Fellows(journal, handovers, others, patience)


def _journals(base: Path) -> list[Path]:
    """Those of all workers that there are or were."""
    mine = re.compile(re.escape(base.name) + r"(?:\.(?:0|[1-9][0-9]{0,3}))?")
    return sorted(one for one in base.parent.iterdir() if mine.fullmatch(one.name) and one.is_file())
