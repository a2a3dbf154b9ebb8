"""Rules for MIME: structure, encodings, charsets, alternatives, attachments (RFC 2045, 2046)."""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator

from mailerq.lint.message import Message
from mailerq.lint.parts import DEEPEST, MOST, Part
from mailerq.lint.rule import GMAIL, Rule, Spot, error, hint, warning

ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")
PROGRAMS = frozenset(
    (
        *(
            "ade",
            "apk",
            "appx",
            "bat",
            "cab",
            "chm",
            "cmd",
            "com",
            "cpl",
            "dll",
            "dmg",
            "exe",
            "hta",
            "img",
            "ins",
            "iso",
        ),
        *(
            "isp",
            "jar",
            "js",
            "jse",
            "lib",
            "lnk",
            "mde",
            "msc",
            "msi",
            "msix",
            "msp",
            "mst",
            "nsh",
            "pif",
            "ps1",
            "scr",
        ),
        *("sct", "shb", "sys", "vb", "vbe", "vbs", "vhd", "vxd", "wsc", "wsf", "wsh", "xll"),
    )
)
_TYPE = re.compile(r"\s*[\w!#$&^.+-]+/[\w!#$&^.+-]+\s*(?:;|$)")
_NO_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*(?:\r|\n|\Z))")
_SPACE = re.compile(rb"[ \t\r\n]+")


def version_missing(message: Message) -> Iterator[Spot]:
    """MIME fields without MIME-Version."""
    if "Content-Type" in message.block and "MIME-Version" not in message.block:
        yield message.line_of(message.block.first("Content-Type")), "there is a Content-Type but no MIME-Version"


def type_invalid(message: Message) -> Iterator[Spot]:
    """A Content-Type that is none."""
    for part in message.parts:
        value = part.block.value("Content-Type")
        if value is not None and not _TYPE.match(value):
            yield message.line_in(part), f"Content-Type cannot be read: {value[:80]!r}"


def structure(message: Message) -> Iterator[Spot]:
    """Multiparts that are broken."""
    for part in message.parts:
        for fault in part.faults:
            yield message.line_in(part), fault


def too_deep(message: Message) -> Iterator[Spot]:
    """More parts than anybody reads."""
    if message.is_cut:
        yield 0, f"the message has more than {MOST} parts, or parts in more than {DEEPEST} levels"


def encoding_unknown(message: Message) -> Iterator[Spot]:
    """A transfer encoding that there is not."""
    for part in message.parts:
        if part.encoding not in ENCODINGS:
            yield message.line_in(part), f"there is no transfer encoding {part.encoding[:40]!r}"


def encoded_multipart(message: Message) -> Iterator[Spot]:
    """An encoded multipart."""
    for part in message.parts:
        if part.type.startswith("multipart/") and part.encoding in ("base64", "quoted-printable"):
            yield message.line_in(part), f"a multipart is encoded as {part.encoding}"


def base64_broken(message: Message) -> Iterator[Spot]:
    """Base64 that is none."""
    for part in _leaves(message):
        if part.encoding == "base64":
            try:
                binascii.a2b_base64(_SPACE.sub(b"", part.raw), strict_mode=True)
            except binascii.Error as problem:
                yield message.line_in(part), f"the base64 of a part cannot be decoded: {problem}"


def quoted_broken(message: Message) -> Iterator[Spot]:
    """Quoted-printable that is none."""
    for part in _leaves(message):
        if part.encoding == "quoted-printable" and (found := _NO_QP.search(part.raw)):
            at = part.offset + part.block.start + found.start()
            yield message.line_at(at), "in quoted-printable an = begins two hex digits, or ends a line"


def eight_bit(message: Message) -> Iterator[Spot]:
    """Bytes above 127 that nothing speaks of."""
    for part in _leaves(message):
        if part.encoding not in ("8bit", "binary") and not part.raw.isascii():
            yield message.line_in(part), f"a part has bytes above 127, but its encoding is {part.encoding}"


def charset_missing(message: Message) -> Iterator[Spot]:
    """Text of no known charset."""
    for part in _leaves(message):
        if part.is_text and not part.parameter("charset") and not part.content.isascii():
            yield message.line_in(part), f"a {part.type} part with bytes above 127 names no charset"


def charset_unknown(message: Message) -> Iterator[Spot]:
    """A charset that there is not."""
    for part in _leaves(message):
        charset = part.parameter("charset")
        if part.is_text and charset and not _is_charset(charset):
            yield message.line_in(part), f"there is no charset {charset[:40]!r}"


def charset_wrong(message: Message) -> Iterator[Spot]:
    """Text that is not in its charset."""
    for part in _leaves(message):
        charset = part.parameter("charset")
        if part.is_text and charset and _is_charset(charset):
            try:
                part.content.decode(charset)
            except ValueError:
                yield message.line_in(part), f"a {part.type} part is not in its charset {charset[:40]}"


def plain_missing(message: Message) -> Iterator[Spot]:
    """HTML without text."""
    if message.html and not message.plain:
        yield message.line_in(message.html[0]), "there is HTML, but no plain text"


def plain_empty(message: Message) -> Iterator[Spot]:
    """HTML with an empty text."""
    if message.html and message.plain and not any(part.text.strip() for part in message.plain):
        yield message.line_in(message.plain[0]), "the plain text beside the HTML is empty"


def alternatives_order(message: Message) -> Iterator[Spot]:
    """HTML before its text."""
    for part in message.parts:
        types = [child.type for child in part.children]
        if part.type == "multipart/alternative" and "text/plain" in types and types[-1] == "text/plain" != types[0]:
            yield message.line_in(part), "the plain text comes last of the alternatives, so it is what is shown"


def program(message: Message) -> Iterator[Spot]:
    """Attached programs."""
    for part in message.parts:
        if part.filename.lower().rpartition(".")[2] in PROGRAMS and "." in part.filename:
            yield message.line_in(part), f"the attachment {part.filename[:80]!r} is a program"


def unnamed(message: Message) -> Iterator[Spot]:
    """Attachments without a name."""
    for part in message.parts:
        if part.is_attachment and not part.filename:
            yield message.line_in(part), "an attachment has no file name"


def _leaves(message: Message) -> Iterator[Part]:
    return (part for part in message.parts if not part.children and not part.type.startswith("multipart/"))


def _is_charset(name: str) -> bool:
    try:
        return bool(getattr(codecs.lookup(name), "_is_text_encoding", True))
    except (LookupError, ValueError):
        return False


RULES: tuple[Rule, ...] = (
    warning("version-missing", "RFC 2045 section 4", "write MIME-Version: 1.0", version_missing),
    error("type-invalid", "RFC 2045 section 5.1", "write it as text/html; charset=utf-8", type_invalid),
    error("structure", "RFC 2046 section 5.1.1", "write each boundary as it is named, and the last with --", structure),
    error("too-deep", "filters give up, and refuse it", "send fewer parts", too_deep),
    error("encoding-unknown", "RFC 2045 section 6.1", f"use one of {', '.join(ENCODINGS)}", encoding_unknown),
    error("encoded-multipart", "RFC 2045 section 6.4", "encode the parts in it", encoded_multipart),
    error("base64-broken", "RFC 2045 section 6.8", "encode it again", base64_broken),
    warning("quoted-broken", "RFC 2045 section 6.7", "write =3D for =", quoted_broken),
    error(
        "eight-bit",
        "RFC 2045 section 6.2: they may be lost or refused",
        "write Content-Transfer-Encoding: 8bit, or quoted-printable and encode them",
        eight_bit,
    ),
    warning("charset-missing", "RFC 2046 section 4.1.2", "write charset=utf-8 in Content-Type", charset_missing),
    warning("charset-unknown", "RFC 2046 section 4.1.2", "use utf-8", charset_unknown),
    error("charset-wrong", "RFC 2046 section 4.1.2: readers see wrong letters", "name the right one", charset_wrong),
    warning("plain-missing", f"filters take it for spam; {GMAIL}", "add a text/plain part before it", plain_missing),
    warning("plain-empty", "filters take it for spam", "say in text what the HTML says", plain_empty),
    warning("alternatives-order", "RFC 2046 section 5.1.4: the best comes last", "put it first", alternatives_order),
    error("program", "Gmail, Yahoo and Outlook block such files", "link to it", program),
    hint("unnamed", "RFC 2183 section 2.3", 'write filename="..." in Content-Disposition', unnamed),
)
