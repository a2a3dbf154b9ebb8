"""What a sender reads of what became of a mail. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.errors import MessageError
from email.header import decode_header, make_header
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailerq.dsn.report import Report

WIDTH = 72
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_WHAT = {
    "failed": "Your message could not be delivered, and it will not be tried again.",
    "delayed": "Your message could not be delivered yet. You need not send it again: it is tried until {until}, and "
    "you are told if that fails.",
    "relayed": "Your message was passed on to a mail host that does not say what becomes of it there.",
}


def paragraphs(report: Report, subject: str, date: Callable[[float], str]) -> Iterator[str]:
    """The lines, without line ends. ``subject``: that of the message as it stands there, where it is known."""
    yield f"This is the mail host {report.mta}."
    yield ""
    until = date(report.until) if report.until is not None else "its time is over"
    yield from wrap(_WHAT[report.action].format(until=until), WIDTH)
    yield ""
    yield f"  To:       <{one_line(report.recipient, 900)}>"
    if subject:
        yield f"  Subject:  {_readable(subject)}"
    yield f"  Came:     {date(report.arrived)}"
    yield f"  Tried:    {date(report.tried)} (attempt {report.attempts})"
    yield ""
    host = shown(report.host)
    answered = f"The host {host or 'there'} answered:"
    yield answered if report.code is not None else f"What happened{f' at {host}' if host else ''}:"
    yield ""
    for line in wrap(answer(report, 1000) or "nothing was said", WIDTH - 2, break_on_hyphens=False):
        yield f"  {line}"
    yield ""


def shown(host: str) -> str:
    """A host as it is written in mail: an address in brackets (RFC 5321 section 4.1.3)."""
    if ":" in host:
        return f"[IPv6:{host}]"
    return f"[{host}]" if host.replace(".", "").isdecimal() else host


def answer(report: Report, most: int, ascii_only: bool = False) -> str:
    """What the host said, with its codes, or what happened; at most ``most`` bytes."""
    said = report.said
    if report.code is not None and not said.startswith(str(report.code)):
        said = f"{report.code} {report.status} {said}"
    if ascii_only:
        said = said[:most].encode("ascii", "backslashreplace").decode()
    return one_line(said, most)


def one_line(text: str, most: int) -> str:
    """A text without line ends and other control characters, of at most ``most`` bytes and three dots."""
    plain = _UNSAFE.sub(" ", text.encode("utf-8", "replace").decode()).strip()
    content = plain.encode()
    return plain if len(content) <= most else content[:most].decode("utf-8", "ignore") + "..."


def _readable(value: str) -> str:
    """A header's value with its encoded words (RFC 2047) decoded, where that can be done."""
    try:
        return one_line(str(make_header(decode_header(value[:1000]))), 300)
    except (MessageError, LookupError, ValueError):
        return one_line(value, 300)
