"""The texts of a message: where its text/plain and text/html parts stand, what they say, how they say something else.

RFC 2045 and RFC 2046. Pure. One pass over the message, whatever it is: time in proportion to its length, however deep
its parts are nested. All that is not rewritten stays as it is, byte for byte. Signed and encrypted parts, attachments
and messages in a message are left alone.
"""

from __future__ import annotations

import re

from msgspec import Struct

from mailerq.content.header_block import Field, HeaderBlock, make, split
from mailerq.content.mime_codes import charset_of, decode_body, encode_body, line_end_of, to_bytes, to_text
from mailerq.smtp.downgrade import EMPTY_LINE

_DELIMITER = re.compile(rb"[\r\n]--([^\r\n]*)")
_PARAMETER = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*("(?:[^"\\]++|\\.)*+(?:"|$)|[^\s;"]*)')
_MOST_PARTS = 10_000
_LONGEST_HEADER = 1_000_000  # bytes
_LONGEST_TYPE = 10_000  # characters of a Content-Type
_MOST_DELIMITERS = 200_000  # lines that begin as a delimiter does
_SEALED = ("multipart/signed", "multipart/encrypted")
_SIGNATURES = ("dkim-signature", "arc-message-signature")


class TextPart(Struct):
    """A text in a message. ``at``: where its header begins, ``start`` and ``end``: its content."""

    header: HeaderBlock
    at: int
    start: int
    end: int
    kind: str  # "plain" or "html"
    charset: str
    encoding: str

    def text(self, message: bytes) -> str | None:
        """What it says; None where that cannot be read."""
        content = decode_body(message[self.start : self.end], self.encoding)
        return None if content is None else to_text(content, self.charset)


class Texts(Struct):
    """All texts of a message. ``header`` is the message's own; ``boundaries``: of all its parts."""

    header: HeaderBlock
    parts: list[TextPart]
    boundaries: set[bytes]

    @property
    def signed(self) -> bool:
        """Whether the whole message is signed (RFC 6376, RFC 8617)."""
        return any(name in self.header for name in _SIGNATURES)


class _Level(Struct):
    """A multipart that is open."""

    boundary: bytes
    sealed: bool
    default: str  # the type of parts that have none


def content_type(header: HeaderBlock, default: str) -> tuple[str, dict[str, str]]:
    """The type of a part in lower case, and its parameters."""
    value = (header.value("content-type") or "")[:_LONGEST_TYPE]
    if not value:
        return default, {}
    parameters: dict[str, str] = {}
    for name, given in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), given.strip('"').replace("\\", "") if given[:1] == '"' else given)
    return value.partition(";")[0].strip().lower(), parameters


class TooMany(ValueError):
    """A message has more parts than one can go through in a second."""


def find_texts(message: bytes) -> Texts:
    """All texts of any bytes, taken as a message. Raises TooMany."""
    return _Walk(message).texts


class _Walk:
    """From the top to the bottom. ``_leaf`` is the text that began last and has not ended."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._stack: list[_Level] = []
        self._open: dict[bytes, int] = {}
        self._leaf: TextPart | None = None
        header = _split(message)
        self.texts = Texts(header, [], set())
        self._begin(header, 0, header.start)
        if self._stack:
            self._parts(header.start)
        self._finish(len(message))

    def _parts(self, start: int) -> None:
        """Go from delimiter to delimiter."""
        found = _DELIMITER.finditer(self._message, max(start - 1, 0))
        here = next(found, None)
        count = 0
        while here is not None and self._stack:
            count += 1
            if count > _MOST_DELIMITERS:
                raise TooMany("has too many lines that look like the end of a part")
            following = next(found, None)
            self._delimiter(here, following.start() if following else len(self._message))
            here = following

    def _delimiter(self, line: re.Match[bytes], limit: int) -> None:
        """A line that may end a part and begin another, which ends at ``limit`` at the latest."""
        name = line[1].rstrip(b" \t")
        closes = name not in self._open and name.endswith(b"--")
        level = self._open.get(name[:-2] if closes else name)
        if level is None:
            return
        start = line.start()
        self._finish(start - 1 if self._message[start - 1 : start + 1] == b"\r\n" else start)
        while len(self._stack) > level + (not closes):
            del self._open[self._stack.pop().boundary]
        if not closes:
            self._begin_part(line.end(), limit)

    def _begin_part(self, at: int, limit: int) -> None:
        message = self._message
        at += 2 if message[at : at + 2] == b"\r\n" else 1
        if at > len(message):
            return
        limit = max(limit + 2 if message[limit : limit + 2] == b"\r\n" else limit + 1, at)
        blank = EMPTY_LINE.search(message, at, limit)
        end = min(limit if blank is None else blank.end(), len(message))
        if message[at : at + 1] in (b"\r", b"\n"):  # no header
            end = at + (2 if message[at : at + 2] == b"\r\n" else 1)
        header = split(message[at:end])
        self._begin(header, at, at + header.start)

    def _begin(self, header: HeaderBlock, at: int, start: int) -> None:
        above = self._stack[-1] if self._stack else None
        kind, parameters = content_type(header, above.default if above else "text/plain")
        sealed = (above is not None and above.sealed) or kind in _SEALED
        if kind.startswith("multipart/"):
            boundary = parameters.get("boundary", "").encode("utf-8", "replace").rstrip(b" \t")
            if boundary and boundary not in self._open:
                default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
                self._open[boundary] = len(self._stack)
                self._stack.append(_Level(boundary, sealed, default))
                self.texts.boundaries.add(boundary)
        elif kind in ("text/plain", "text/html") and not sealed and not _is_attached(header):
            encoding = (header.value("content-transfer-encoding") or "7bit").strip(" \t;").lower()
            charset = parameters.get("charset", "")
            self._leaf = TextPart(header, at, start, start, kind.removeprefix("text/"), charset, encoding)

    def _finish(self, end: int) -> None:
        if self._leaf is not None:
            self._leaf.end = max(end, self._leaf.start)
            self.texts.parts.append(self._leaf)
            if len(self.texts.parts) > _MOST_PARTS:
                raise TooMany(f"has more than {_MOST_PARTS} parts")
            self._leaf = None


def _split(message: bytes) -> HeaderBlock:
    """The header of a message, where that is not too long."""
    if len(message) > _LONGEST_HEADER and split(message[:_LONGEST_HEADER]).start > _LONGEST_HEADER * 3 // 4:
        raise TooMany(f"has a header of more than {_LONGEST_HEADER // 1_000_000} MB")
    return split(message)


def _is_attached(header: HeaderBlock) -> bool:
    value = header.value("content-disposition") or ""
    return value.partition(";")[0].strip().lower() == "attachment"


def rewrite(message: bytes, texts: Texts, part: TextPart, text: str, eight_bit: bool) -> bytes:
    """The content of a part that says ``text``; its header is changed as needed. In its charset where that has all
    the characters, otherwise in UTF-8; in its transfer encoding where that can say it."""
    content, charset = to_bytes(text, part.charset)
    if charset is not None:
        part.charset = charset
        _set_charset(part.header, charset)
    wide = charset_of(part.charset).startswith(("utf_16", "utf_32"))
    end = line_end_of(message) or b"\r\n"
    ends = part.header is texts.header or message[part.end - 1 : part.end] in (b"\r", b"\n")
    encoded, encoding = encode_body(
        content, part.encoding, end=end, eight_bit=eight_bit, boundaries=texts.boundaries, wide=wide, ends=ends
    )
    if encoding != part.encoding:
        part.encoding = encoding
        _set(part.header, "Content-Transfer-Encoding", encoding)
    if part.header is texts.header and "content-type" in part.header and "mime-version" not in part.header:
        part.header.append("MIME-Version", "1.0")
    return encoded


def _set(header: HeaderBlock, name: str, value: str) -> None:
    """The uppermost field of that name has this value, or there is one below all others."""
    for number, field in enumerate(header.fields):
        if field.key == name.lower():
            header.fields[number] = make(field.name, value, line_end_of(field.raw) or header.end)
            return
    header.append(name, value)


def _set_charset(header: HeaderBlock, charset: str) -> None:
    value = (header.value("content-type") or "")[:_LONGEST_TYPE]
    if not value:
        _set(header, "Content-Type", f"text/plain; charset={charset}")
        return
    value = "".join(sign for sign in value if sign >= " " and sign != "\x7f")
    kept = [found[0] for found in _PARAMETER.finditer(value) if found[1].lower() != "charset"]
    _set(header, "Content-Type", "".join([value.partition(";")[0].strip(), f"; charset={charset}", *kept]))


def replace_field(header: HeaderBlock, old: Field, new: Field | None) -> None:
    """Put ``new`` in the place of a field; None: take that out."""
    at = next(number for number, field in enumerate(header.fields) if field is old)
    header.fields[at : at + 1] = [] if new is None else [new]


def joined(message: bytes, texts: Texts, contents: dict[int, bytes], header_changed: bool) -> bytes:
    """The message with other contents, by the number of their part."""
    pieces: list[bytes | memoryview] = []
    view = memoryview(message)
    at = 0
    changed = [(texts.parts[number], content) for number, content in sorted(contents.items())]
    if header_changed and not (changed and changed[0][0].at == 0):
        pieces += list(texts.header.pieces())[:-1]
        at = texts.header.start
    for part, content in changed:
        pieces.append(view[at : part.at])
        pieces += list(part.header.pieces())[:-1]
        pieces.append(content)
        at = part.end
    pieces.append(view[at:])
    return b"".join(pieces)
