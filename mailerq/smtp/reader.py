"""Bytes from the host to replies (RFC 5321 section 4.2), with limits on what a host may make us keep.

Never asks what a reply is the answer to; ``tracker.py`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from mailerq.reply import Reply, parse_reply

LINE_LIMIT = 8192
"""Bytes of one line; SMTP allows 512."""
REPLY_LIMIT = 65536
"""Bytes of all lines of one reply."""


SHORT = 200
"""Bytes up to which what a host says is likely to be said again."""


class Garbage(msgspec.Struct, frozen=True):
    """What came is no SMTP reply. ``quote`` shows it. It has no code: that could be taken for a refusal for good."""

    quote: str


class Overflow(msgspec.Struct, frozen=True):
    """A line or a reply is longer than we read. ``text`` says which."""

    text: str


Item = Reply | Garbage | Overflow


class Reader:
    """Fed with what comes from the host; gives replies.

    ``lines`` are the texts of the last reply that had several lines (for EHLO); the user may clear it. After a Garbage
    or an Overflow the connection cannot be read any further.
    """

    def __init__(self) -> None:
        self.lines: Sequence[bytes] = ()
        self._rest = b""
        self._texts: list[bytes] = []
        self._code = 0
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether a reply has begun and is not complete."""
        return bool(self._rest or self._texts)

    def feed(self, data: bytes) -> Sequence[Item]:
        """The replies that are complete now, in order; the last may be a Garbage or an Overflow."""
        if self._rest:
            data = self._rest + data
        if not self._texts and len(data) < SHORT:  # hosts repeat the same few replies for every mail
            replies = _replies(data)
            if replies is not None:
                self._rest = b""
                return replies
        return self._feed(data)

    def _feed(self, data: bytes) -> Sequence[Item]:
        lines = data.split(b"\n")
        self._rest = lines.pop()
        items: list[Item] = []
        for line in lines:
            item: Item | None = _single(line) if not self._texts and len(line) < SHORT else None
            if item is None:
                item = self._line(line)
                if item is None:
                    continue
            items.append(item)
            if type(item) is not Reply:
                return items
        if len(self._rest) > LINE_LIMIT:
            items.append(Overflow(f"a reply line of more than {LINE_LIMIT} bytes"))
        return items

    def _line(self, line: bytes) -> Item | None:
        if len(line) > LINE_LIMIT:
            return Overflow(f"a reply line of more than {LINE_LIMIT} bytes")
        line = line.rstrip(b"\r")
        code = _code(line)
        separator = line[3:4]
        if not code or separator not in (b"", b" ", b"-"):
            return Garbage(quote(line))
        if self._texts and code != self._code:
            return Garbage(quote(line))
        self._code = code
        self._texts.append(line[4:])
        self._size += len(line) + 2
        if self._size > REPLY_LIMIT:
            return Overflow(f"a reply of more than {REPLY_LIMIT} bytes")
        if separator == b"-":
            return None
        self.lines = self._texts
        self._texts = []
        self._size = 0
        return parse_reply(code, self.lines)


@lru_cache(maxsize=1024)
def _replies(data: bytes) -> tuple[Reply, ...] | None:
    """The replies that ``data`` is, if it is nothing but whole replies of one line each."""
    *lines, rest = data.split(b"\n")
    replies = [_single(line) for line in lines]
    return None if rest or None in replies else tuple(reply for reply in replies if reply is not None)


@lru_cache(maxsize=1024)
def _single(line: bytes) -> Reply | None:
    """The reply that ``line`` is by itself, if it is one: hosts repeat the same few lines for every mail."""
    line = line.rstrip(b"\r")
    code = _code(line)
    if code and line[3:4] in (b"", b" "):
        return parse_reply(code, (line[4:],))
    return None


def _code(line: bytes) -> int:
    digits = line[:3]
    if len(digits) == 3 and digits.isdigit() and b"100" <= digits < b"600":
        return int(digits)
    return 0


def quote(text: bytes | str, limit: int = 200) -> str:
    """``text`` in quotes, without control characters, cut to ``limit``: for a description."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return repr(text if len(text) <= limit else text[:limit] + "…")
