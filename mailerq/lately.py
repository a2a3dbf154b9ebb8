"""What was noted lately.

Pure; the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator


class Lately:
    """Bodies of jobs (their digests), each with a word about it. What was noted is known for ``seconds`` at least and
    twice that at most, unless more than ``most`` are noted in that time: then the older ones are forgotten sooner."""

    __slots__ = ("_most", "_new", "_old", "_seconds", "_since")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._since = 0.0
        self._new: dict[bytes, str] = {}
        self._old: dict[bytes, str] = {}

    def note(self, digest: bytes, word: str, now: float) -> None:
        """Know it from now on."""
        self.forget_old(now)
        self._new[digest] = word

    def forget_old(self, now: float) -> None:
        """Forget what was noted too long ago."""
        passed = now - self._since
        if passed > self._seconds or len(self._new) >= self._most:
            self._old = self._new if passed <= 2 * self._seconds else {}
            self._new = {}
            self._since = now

    def pop(self, digest: bytes) -> str | None:
        """The word about it, which is forgotten; None where it is not known."""
        return self._new.pop(digest, None) or self._old.pop(digest, None)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._new or digest in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        yield from self._old.items()
        yield from self._new.items()
