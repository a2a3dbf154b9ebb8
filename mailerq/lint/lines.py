"""Rules for lines, bytes and size, whatever they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailerq.lint.message import Message
from mailerq.lint.rule import Rule, Spot, error, warning

LONGEST_LINE = 998
LARGE = 25 * 1024 * 1024
_LONG = re.compile(rb"[^\r\n]{%d,}" % (LONGEST_LINE + 1))
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"(?<!\r)\n")


def line_long(message: Message) -> Iterator[Spot]:
    """Lines that are too long; the first three."""
    found = [(one.start(), len(one[0])) for one in _LONG.finditer(message.raw)]
    for at, length in found[:3]:
        more = f"; {len(found)} lines are too long" if len(found) > 1 else ""
        yield message.line_at(at), f"the line has {length} bytes{more}"


def lone_cr(message: Message) -> Iterator[Spot]:
    """A CR without LF."""
    if found := _LONE_CR.search(message.raw):
        yield message.line_at(found.start()), "there is a CR without LF"


def mixed_ends(message: Message) -> Iterator[Spot]:
    """CRLF and LF in one message."""
    if b"\r\n" in message.raw and (found := _LONE_LF.search(message.raw)):
        yield message.line_at(found.start()), "some lines end with CRLF, others with LF"


def nul(message: Message) -> Iterator[Spot]:
    """A NUL."""
    at = message.raw.find(b"\0")
    if at >= 0:
        yield message.line_at(at), "there is a NUL byte"


def body_missing(message: Message) -> Iterator[Spot]:
    """Nothing after the header."""
    if not message.block.body.strip():
        yield 0, "the message has no body"


def large(message: Message) -> Iterator[Spot]:
    """A very large message."""
    if len(message.raw) > LARGE:
        yield 0, f"the message has {len(message.raw) / 1048576:.1f} MB"


RULES: tuple[Rule, ...] = (
    error(
        "line-long",
        "RFC 5322 section 2.1.1: at most 998 bytes; hosts refuse or cut such lines, which breaks signatures",
        "encode the part as quoted-printable or base64, or break the line",
        line_long,
    ),
    warning(
        "lone-cr",
        "RFC 5322 section 2.3; hosts disagree where the line ends (SMTP smuggling). It goes out as CRLF",
        "write CRLF",
        lone_cr,
    ),
    warning(
        "mixed-ends", "RFC 5321 section 2.3.8. All go out as CRLF", "write the same line end everywhere", mixed_ends
    ),
    error("nul", "RFC 5322 section 2.1; RFC 2045 section 2.7", "encode the part as base64", nul),
    warning("body-missing", "filters take it for spam", "write something", body_missing),
    warning("large", "most hosts take 25 MB at most (Gmail, Yahoo; Outlook.com: 20 MB)", "link to large files", large),
)
