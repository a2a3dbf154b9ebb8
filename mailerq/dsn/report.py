"""A message that tells a sender what became of a mail: multipart/report (RFC 6522) with a text for people, a
message/delivery-status for programs (RFC 3464), and what comes back of the message. With addresses or header fields in
UTF-8, the forms of RFC 6533. Pure, and the same bytes for the same report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr, parseaddr
from hashlib import sha256

from msgspec import Struct

from mailerq.content.header_block import HeaderBlock, make, split
from mailerq.dsn.text import answer, one_line, paragraphs, shown

FAILED, DELAYED, RELAYED = "failed", "delayed", "relayed"
MOST_BACK = (
    1024 * 1024
)  # bytes of a message that comes back whole; of a larger one the header does (RFC 3461 section 4.3)
MOST_HEADER = 64 * 1024  # bytes of a header that comes back
MOST_TEXT = 900  # bytes of a value
LONGEST_LINE = 998  # (RFC 5322 section 2.1.1)
_SUBJECTS = {FAILED: "(Failure)", DELAYED: "(Delay)", RELAYED: "(Relay)"}
_ENDS = re.compile(rb"\r\n|\r|\n")
_HOST = re.compile(r"[A-Za-z0-9.-]+")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}@[!-;=?-~]{1,250}>")


class Report(Struct, frozen=True):
    """What is told. ``to``: whom; ``author``: the address, with a name or without, that it is from; ``mta``: our name.
    ``identity`` and ``action`` make the message's own id.

    ``recipient`` and ``original`` (``type;address``): whom the mail was for; ``status``: an enhanced code; ``code`` and
    ``said``: the host's answer, or without ``code`` what happened; ``host``: the name, or the address, of whom we
    talked with, if with anybody. Times are epoch seconds: ``arrived``, ``tried``, and ``until`` when it is tried no
    more (None: it is not tried again).
    """

    action: str
    identity: str
    to: str
    author: str
    mta: str
    recipient: str
    original: str
    envid: str
    status: str
    code: int | None
    said: str
    host: str
    arrived: float
    tried: float
    attempts: int
    until: float | None = None


def write(report: Report, message: bytes | None, full: bool) -> str:
    """The message. ``message``: the mail it is about, None where it is not at hand; ``full``: all of that comes back,
    else its header. What comes back is UTF-8: of a message that is not, the header alone, with what is none replaced.
    """
    block = split(message[: MOST_BACK + 1]) if message is not None else None
    parts = [_text(report, block), _status(report)]
    if message is not None and block is not None:
        parts.append(_whole(message) if full and _can_come_back(message) else _header(block))
    boundary = _boundary(report, parts)
    eight = not all(part.isascii() for part in parts)
    lines = [*_own_header(report, block), *_content_type(boundary, eight)]
    body = b"".join(b"\r\n--%b\r\n%b" % (boundary, part) for part in parts)
    return (b"".join(lines) + b"\r\n" + body.removeprefix(b"\r\n") + b"\r\n--%b--\r\n" % boundary).decode()


def message_id(report: Report) -> str:
    """The same whenever the same is told."""
    host = report.mta if _HOST.fullmatch(report.mta) else "localhost"
    return f"<{report.identity}.{report.action}@{host}>"


def _own_header(report: Report, block: HeaderBlock | None) -> Iterator[bytes]:
    yield _field("From", formataddr(parseaddr(report.author)))
    yield _field("To", f"<{report.to}>")
    yield _field("Subject", f"Delivery Status Notification {_SUBJECTS[report.action]}")
    yield _field("Date", _date(report.tried))
    yield _field("Message-ID", message_id(report))
    about = block.value("message-id") if block is not None else None
    if about is not None and _MESSAGE_ID.fullmatch(about):
        yield _field("In-Reply-To", about)
        yield _field("References", about)
    yield _field("Auto-Submitted", "auto-replied")
    yield _field("MIME-Version", "1.0")


def _content_type(boundary: bytes, eight: bool) -> Iterator[bytes]:
    yield b'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="%b"\r\n' % boundary
    if eight:
        yield b"Content-Transfer-Encoding: 8bit\r\n"


def _boundary(report: Report, parts: list[bytes]) -> bytes:
    seed = message_id(report).encode()
    while True:
        boundary = b"=_" + sha256(seed).hexdigest()[:32].encode()
        if not any(boundary in part for part in parts):
            return boundary
        seed += b"."


def _part(kind: bytes, content: bytes) -> bytes:
    encoding = b"" if content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: %b\r\n%b\r\n%b" % (kind, encoding, content)


def _text(report: Report, block: HeaderBlock | None) -> bytes:
    subject = (block.value("subject") or "") if block is not None else ""
    content = "\r\n".join(paragraphs(report, subject, _date)).encode()
    return _part(b"text/plain; charset=%b" % (b"us-ascii" if content.isascii() else b"utf-8"), content)


def _status(report: Report) -> bytes:
    utf8 = not (report.recipient + report.original).isascii()
    said = answer(report, MOST_TEXT, ascii_only=not utf8)
    fields = [_field("Reporting-MTA", f"dns; {report.mta}")]
    if report.envid:
        fields.append(_field("Original-Envelope-Id", report.envid))
    fields += [_field("Arrival-Date", _date(report.arrived)), b"\r\n"]
    kind, _, address = report.original.partition(";")
    fields.append(_field("Original-Recipient", f"{kind}; {one_line(address, MOST_TEXT)}"))
    final = "rfc822" if report.recipient.isascii() else "utf-8"
    fields += [
        _field("Final-Recipient", f"{final}; {one_line(report.recipient, MOST_TEXT)}"),
        _field("Action", report.action),
        _field("Status", report.status),
    ]
    if report.host:
        fields.append(_field("Remote-MTA", f"dns; {shown(report.host)}"))
    if said:
        fields.append(_field("Diagnostic-Code", f"{'smtp' if report.code is not None else 'x-mailerq'}; {said}"))
    fields.append(_field("Last-Attempt-Date", _date(report.tried)))
    if report.until is not None:
        fields.append(_field("Will-Retry-Until", _date(report.until)))
    return _part(b"message/global-delivery-status" if utf8 else b"message/delivery-status", b"".join(fields))


def _whole(message: bytes) -> bytes:
    content = _ENDS.sub(b"\r\n", message)
    block = split(content)
    ascii_header = all(field.raw.isascii() for field in block.fields)
    return _part(b"message/rfc822" if ascii_header else b"message/global", content)


def _can_come_back(message: bytes) -> bool:
    """Whether all of it can be a part of a message that is UTF-8."""
    if len(message) > MOST_BACK or message.startswith(b"From ") or b"\0" in message:
        return False
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _header(block: HeaderBlock) -> bytes:
    lines: list[bytes] = []
    room = MOST_HEADER
    for field in block.fields:
        raw = _ENDS.sub(b"\r\n", field.raw.rstrip(b"\r\n").replace(b"\0", b"")) + b"\r\n"
        room -= len(raw)
        if field.name and room >= 0 and max(map(len, raw.split(b"\r\n"))) <= LONGEST_LINE:
            lines.append(raw.decode("utf-8", "replace").encode())
    content = b"".join(lines)
    return _part(b"text/rfc822-headers" if content.isascii() else b"message/global-headers", content)


def _field(name: str, value: str) -> bytes:
    return make(name, one_line(value, 2000)).raw


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC))
