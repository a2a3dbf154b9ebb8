"""What was noted lately.

Pure; the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator


class Lately:
    """Bodies of jobs (their digests), and how often each was noted. What was noted is known for ``seconds`` at least
    and twice that at most, unless more than ``most`` are noted in that time: then the older ones are forgotten sooner.
    """

    __slots__ = ("_most", "_new", "_old", "_seconds", "_since")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._since = 0.0
        self._new: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def note(self, digest: bytes, now: float) -> None:
        """Know it from now on."""
        if now - self._since > self._seconds or len(self._new) >= self._most:
            self.forget_old(now)
        self._new[digest] = self._new.get(digest, 0) + 1

    def forget_old(self, now: float) -> None:
        """Forget what was noted too long ago."""
        passed = now - self._since
        if passed > self._seconds or len(self._new) >= self._most:
            self._old = self._new if passed <= 2 * self._seconds else {}
            self._new = {}
            self._since = now

    def take(self, digest: bytes) -> bool:
        """Whether it is known; it is so once less."""
        for known in (self._old, self._new):
            times = known.get(digest)
            if times is not None:
                if times > 1:
                    known[digest] = times - 1
                else:
                    del known[digest]
                return True
        return False

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._new or digest in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Digests and how often they were noted; one that was noted for long may come twice."""
        yield from self._old.items()
        yield from self._new.items()
