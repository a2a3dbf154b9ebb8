"""The header of a message as a list of fields, each with the bytes it has, and where the body begins (RFC 5322
section 2). Pure.

``split(message).written()`` is ``message``, byte for byte, whatever it is: what nobody changes stays as it is, so that
signatures over it hold. Line ends may be CRLF, LF or CR, and mixed, since all of them are line ends once a message is
on its way (``smtp/wire.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

_END = rb"(?:\r\n|\n|\r|\Z)"
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\r\n]*" + _END + rb"(?:[ \t][^\r\n]*" + _END + rb")*+")
_MBOX = re.compile(rb"From [^\r\n]*" + _END)
_EMPTY = re.compile(rb"\r\n|\n|\r")
_ENDS = re.compile(rb"[\r\n]+")
_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Field(Struct, frozen=True):
    """One header field. ``raw``: all its bytes, folds and last line end included. ``name``: as it is written; empty for
    the ``From `` line that mailbox files put before a message, which is no field."""

    raw: bytes
    name: str

    @property
    def key(self) -> str:
        """The name in lower case, by which fields are the same (RFC 5322 section 1.2.2)."""
        return self.name.lower()

    @property
    def value(self) -> bytes:
        """What stands after the colon, unfolded (the line ends taken out), without white space around it."""
        return _ENDS.sub(b"", self.raw.partition(b":")[2]).strip(b" \t")


class HeaderBlock:
    """A message in three pieces. ``fields`` may be changed in any way; the body is never copied until it is written.

    The header ends with an empty line. It ends, too, before a line that is no field and continues none: that line is
    then the first of the body (``broken`` is true), and an empty line is put before it when a field is added.
    """

    __slots__ = ("_empty", "_message", "broken", "fields", "start")

    def __init__(self, message: bytes, fields: list[Field], empty: bytes, start: int) -> None:
        self.fields = fields
        self.start = start
        self._message = message
        self._empty = empty
        self.broken = not empty and start < len(message)

    @property
    def body(self) -> bytes:
        """All behind the empty line: a copy."""
        return self._message[self.start :]

    @property
    def end(self) -> bytes:
        """The line end that the message's header has: CRLF where there is none."""
        raw = self.fields[0].raw if self.fields else self._empty
        found = _EMPTY.search(raw)
        return found[0] if found else b"\r\n"

    def __contains__(self, name: str) -> bool:
        return self.first(name) is not None

    def all(self, name: str) -> list[Field]:
        """The fields of that name, in any case, from the top."""
        key = name.lower()
        return [field for field in self.fields if field.key == key]

    def first(self, name: str) -> Field | None:
        """The uppermost of them."""
        key = name.lower()
        return next((field for field in self.fields if field.key == key), None)

    def value(self, name: str) -> str | None:
        """The value of the uppermost one, unfolded; bytes that are no UTF-8 replaced. None: there is none."""
        field = self.first(name)
        return None if field is None else field.value.decode("utf-8", "replace")

    def remove(self, name: str) -> int:
        """Take all fields of that name out; returns how many."""
        key = name.lower()
        before = len(self.fields)
        self.fields = [field for field in self.fields if field.key != key]
        return before - len(self.fields)

    def prepend(self, name: str, value: str) -> None:
        """Put a field on top. Raises ValueError for what is no field, as ``make`` does."""
        at = 1 if self.fields and not self.fields[0].name else 0
        self._insert(at, make(name, value, self.end))

    def append(self, name: str, value: str) -> None:
        """Put a field below all others. Raises ValueError."""
        self._insert(len(self.fields), make(name, value, self.end))

    def _insert(self, at: int, field: Field) -> None:
        end = self.end
        if self.fields and not self.fields[-1].raw.endswith((b"\r", b"\n")):  # the message ended within its header
            last = self.fields[-1]
            self.fields[-1] = Field(last.raw + end, last.name)
        if not self._empty:
            self._empty = end
        self.fields.insert(at, field)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The message in order, to be joined."""
        for field in self.fields:
            yield field.raw
        yield self._empty
        yield memoryview(self._message)[self.start :]

    def written(self) -> bytes:
        """The message as it now is."""
        return b"".join(self.pieces())


def split(message: bytes) -> HeaderBlock:
    """Any bytes as a message. Takes time in proportion to the length of its header, and no copy of its body."""
    fields: list[Field] = []
    at = 0
    if mbox := _MBOX.match(message):
        fields.append(Field(mbox[0], ""))
        at = mbox.end()
    while found := _FIELD.match(message, at):
        fields.append(Field(found[0], found[1].decode("ascii")))
        at = found.end()
    empty = _EMPTY.match(message, at)
    return HeaderBlock(message, fields, empty[0] if empty else b"", empty.end() if empty else at)


def make(name: str, value: str, end: bytes = b"\r\n") -> Field:
    """A field with this value, as it stands (UTF-8), folded at white space where a line would have more than 78
    characters (RFC 5322 section 2.1.1) and at no other place. Raises ValueError, naming it, where it is none: a name
    with other characters than a name has, a control character (CR, LF and NUL above all) or half of a surrogate pair
    in the value."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a header field")
    if _CONTROL.search(value):
        raise ValueError(f"the value of {name} has a line break or another control character")
    try:
        lines = b" " + value.strip(" \t").encode()
    except UnicodeEncodeError:
        raise ValueError(f"the value of {name} has half of a surrogate pair, which is no character") from None
    return Field(name.encode() + b":" + _folded(lines, len(name) + 1, end) + end, name)


def _folded(text: bytes, column: int, end: bytes) -> bytes:
    """``text`` broken before white space. A long word stays whole; a line of white space alone is never made."""
    if column + len(text) <= 78:
        return text
    out: list[bytes] = []
    for word in re.findall(rb"[ \t]*[^ \t]+", text):
        if column + len(word) > 78 and out:
            out.append(end)
            column = 0
        out.append(word)
        column += len(word)
    return b"".join(out)
