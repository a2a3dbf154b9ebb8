"""A journal that lives in memory: what must be known after a simulated crash."""

from __future__ import annotations

from typing import Any

from mailerq.journal import take_first
from mailerq.journal_lines import Remembered


class MemoryJournal:
    """The methods of ``journal.Journal``. ``next_life`` is the journal of the process that comes after a crash."""

    full = False

    def __init__(self, life: int = 1, left: dict[bytes, list[Remembered]] | None = None) -> None:
        self._life = life
        self._count = 0
        self._open: dict[str, tuple[Any, ...]] = {}
        self._left = left or {}

    def next_life(self) -> MemoryJournal:
        """What was open is remembered."""
        left = {digest: list(several) for digest, several in self._left.items()}
        for identity, fields in self._open.items():
            remembered = Remembered(identity, *fields)
            left.setdefault(remembered.digest, []).append(remembered)
        return MemoryJournal(self._life + 1, left)

    def new_identity(self) -> str:
        """A name for a job that no other job has."""
        self._count += 1
        return f"{self._life:x}-{self._count:x}"

    def dot(self, identity: str, digest: bytes, source: str | None, target: str | None, mx: str | None) -> None:
        """The final dot of a mail goes out right after this."""
        self._open[identity] = (digest, source, target, mx)

    def decided(self, identity: str, digest: bytes, verdict: Any, seen: float, entries: list[bytes]) -> None:
        """What follows from a verdict is published right after this."""
        self._open[identity] = (digest, None, None, None, verdict, seen, list(entries))

    def settled(self, identity: str) -> None:
        """The job does not come again."""
        self._open.pop(identity, None)

    def acknowledged(self, identity: str, left: int) -> None:
        """The job does not come again."""
        self._open.pop(identity, None)

    def equal(self, digest: bytes) -> None:
        """No two simulated jobs are equal."""

    def adrift(self, identity: str) -> None:
        """No broker is lost here."""

    def all_adrift(self) -> None:
        """No broker is lost here."""

    def tick(self, connected: bool = True) -> None:
        """Nothing ages here."""

    def recall(self, digest: bytes) -> Remembered | None:
        """What an earlier life left open of a job with this body, once."""
        return take_first(self._left, digest)

    def close(self, connected: bool = True) -> None:
        """Nothing is to be closed."""
