"""The parts of a MIME message, with the lines they begin in and what is wrong with their structure (RFC 2045, 2046).

Made for messages that are wrong: whatever comes in, there is a list of parts, at least one. Bounded: no deeper than
``DEEPEST``, no more than ``MOST``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from email.message import Message as Fields
from functools import cached_property

from mailerq.content.header_block import HeaderBlock, split

DEEPEST = 50
MOST = 1000
_LINE_END = re.compile(rb"\r\n|\n|\r")
_SPACE = re.compile(rb"[ \t\r\n]+")


class Part:
    """One part. ``offset``: where it begins in the message; ``depth`` 0: the message itself; ``faults``: what is wrong
    with its structure; ``inside``: the type of the multipart that it is in; ``children``: its parts."""

    def __init__(self, content: bytes, offset: int, depth: int = 0, inside: str = "") -> None:
        self.block: HeaderBlock = split(content)
        self.offset = offset
        self.depth = depth
        self.inside = inside
        self.faults: list[str] = []
        self.children: list[Part] = []

    @cached_property
    def raw(self) -> bytes:
        """Its body as it stands."""
        return self.block.body

    @cached_property
    def _fields(self) -> Fields:
        fields = Fields()
        for name in ("Content-Type", "Content-Disposition"):
            value = self.block.value(name)
            if value is not None:
                fields[name] = value[:5000]
        return fields

    @cached_property
    def type(self) -> str:
        """As ``text/plain``, which it also is where nothing or no type is named."""
        return self._fields.get_content_type()

    @property
    def is_text(self) -> bool:
        """Whether it is text to be read, not an attachment."""
        return self.type.startswith("text/") and not self.is_attachment

    @property
    def is_attachment(self) -> bool:
        """Whether it says so."""
        return (self.block.value("Content-Disposition") or "").lower().startswith("attachment")

    def parameter(self, name: str, field: str = "Content-Type") -> str | None:
        """A parameter of a field; None: it has none that can be read."""
        try:
            value = self._fields.get_param(name, None, field)
            return value if value is None or isinstance(value, str) else value[2]
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    @property
    def filename(self) -> str:
        """The file's name, or ''."""
        return self.parameter("filename", "Content-Disposition") or self.parameter("name") or ""

    @property
    def encoding(self) -> str:
        """The transfer encoding, lower case; ``7bit`` where none is named."""
        return (self.block.value("Content-Transfer-Encoding") or "7bit").strip().lower()

    @cached_property
    def content(self) -> bytes:
        """Decoded; what cannot be decoded as it stands."""
        try:
            if self.encoding == "base64":
                return binascii.a2b_base64(_SPACE.sub(b"", self.raw))
            if self.encoding == "quoted-printable":
                return binascii.a2b_qp(self.raw)
        except binascii.Error:
            return self.raw
        return self.raw

    @cached_property
    def text(self) -> str:
        """The content as text, in its charset as far as that goes."""
        try:
            return self.content.decode(self.parameter("charset") or "utf-8", "replace")
        except (LookupError, ValueError):  # no such charset, or one that is none of text
            return self.content.decode("utf-8", "replace")


def parts_of(message: bytes) -> tuple[list[Part], bool]:
    """All parts, the message itself first, in their order; and whether there are more, or deeper ones."""
    top = Part(message, 0)
    found = [top]
    waiting = [top]
    cut = False
    while waiting:
        part = waiting.pop()
        if not (part.type.startswith("multipart/") or part.type == "message/rfc822"):
            continue
        if part.depth >= DEEPEST or len(found) >= MOST:
            cut = True
            continue
        for child in _children(part):
            if len(found) >= MOST:
                cut = True
                break
            part.children.append(child)
            found.append(child)
        waiting.extend(reversed(part.children))
    return sorted(found, key=lambda part: part.offset), cut


def _children(part: Part) -> Iterator[Part]:
    start = part.offset + part.block.start
    if part.type == "message/rfc822":
        yield Part(part.raw, start, part.depth + 1, part.type)
        return
    boundary = (part.parameter("boundary") or "").rstrip()
    if not boundary:
        part.faults.append("a multipart has no boundary")
        return
    delimiter = re.compile(
        rb"(?:^|(?<=[\r\n]))--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?=[\r\n]|\Z)"
    )
    begin = None
    for found in delimiter.finditer(part.raw):
        if begin is not None:
            yield _child(part, start, begin, found.start())
        begin = None
        if found[1]:
            break
        line_end = _LINE_END.match(part.raw, found.end())
        begin = line_end.end() if line_end else found.end()
    else:
        part.faults.append(
            f"the boundary {boundary[:80]!r} of a multipart is not in it"
            if begin is None
            else f"the end of a multipart is missing: --{boundary[:80]}--"
        )
        if begin is not None:
            yield _child(part, start, begin, len(part.raw))


def _child(part: Part, start: int, begin: int, end: int) -> Part:
    """The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1)."""
    content = part.raw[begin:end]
    for line_end in (b"\r\n", b"\n", b"\r"):
        if content.endswith(line_end):
            content = content[: -len(line_end)]
            break
    return Part(content, start + begin, part.depth + 1, part.type)
