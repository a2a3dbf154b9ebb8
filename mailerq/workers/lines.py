"""Lines: a stream of bytes as lines of bounded length. Pure."""

from __future__ import annotations

LONGEST = 16 * 1024 * 1024  # bytes of a line: a configuration is one


class Lines:
    """Give it bytes as they come, and take whole lines, without their ends. One that is longer than ``longest`` is left
    out, and counted in ``dropped``."""

    def __init__(self, longest: int = LONGEST) -> None:
        self.dropped = 0
        self._longest = longest
        self._parts: list[bytes] = []  # of the line that has not ended
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in ``data``."""
        first, *others = data.split(b"\n")
        self._keep(first)
        if not others:
            return []
        lines = [self._take()]
        lines += [line if len(line) <= self._longest else None for line in others[:-1]]
        self._keep(others[-1])
        self.dropped += lines.count(None)
        return [line for line in lines if line is not None]

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._longest:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _take(self) -> bytes | None:
        line = None if self._size > self._longest else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line
