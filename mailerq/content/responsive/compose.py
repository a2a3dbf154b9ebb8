"""A description becomes a message. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from mailerq.content import header_block
from mailerq.content.responsive.description import Attachment, Description, from_base64, refuse
from mailerq.content.responsive.html import html_and_text
from mailerq.content.responsive.mailboxes import Mailbox, mailboxes
from mailerq.content.responsive.message import File, message
from mailerq.content.responsive.reading import Reading
from mailerq.content.responsive.words import mailbox, unstructured

_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


class Got(Struct, frozen=True):
    """One download. ``type``: its media type, '' if the server gave none."""

    body: bytes
    type: str = ""


class Purpose(Struct, frozen=True):
    """For whom a message is made. ``now``: epoch seconds. ``identity``: of its job, '' where that has none yet."""

    sender: str | None
    recipient: str
    now: float
    identity: str = ""


def compose(
    source: bytes,
    description: Description,
    purpose: Purpose,
    got: Mapping[str, Got] | None = None,
    stills: Mapping[str, str] | None = None,
) -> bytes:
    """The message that ``description`` (read from ``source``) describes, with CRLF. ``got``: what was downloaded, by
    URL. Raises ContentError."""
    got = got or {}
    seed = _digest(source, purpose, got.values())
    sender = description.sender or _sender(purpose)
    bodies = {url: one.body for url, one in got.items()}
    html, text = html_and_text(description, seed, bodies, stills or {})
    header = _header(description, sender, purpose, seed)
    files = [_file(attachment, number, got) for number, attachment in enumerate(description.attachments)]
    return message(header, text, html, files, seed)


def _digest(source: bytes, purpose: Purpose, got: Iterable[Got]) -> str:
    """Different for each message, and in none of what goes in."""
    digest = blake2b(source, digest_size=12)
    digest.update(
        f"{purpose.sender}\0{purpose.recipient}\0{purpose.now!r}\0{purpose.identity}".encode("utf-8", "replace")
    )
    for one in got:
        digest.update(one.body)
    return digest.hexdigest()


def _sender(purpose: Purpose) -> Mailbox:
    if not purpose.sender:
        raise refuse(("from: is missing, and so is the envelope of the job",))
    return _own(purpose.sender, "from")


def _own(address: str, place: str) -> Mailbox:
    reading = Reading()
    found = mailboxes(address, place, reading)
    if not found:
        raise refuse(reading.reasons() or (f"{place}: is no address",))
    return found[0]


def _header(description: Description, sender: Mailbox, purpose: Purpose, seed: str) -> list[bytes]:
    to = description.to or (() if description.cc else (_own(purpose.recipient, "to"),))
    fields = [
        ("From", mailbox(sender)),
        ("To", _list(to)),
        ("Cc", _list(description.cc)),
        ("Reply-To", _list(description.reply_to)),
        ("Subject", unstructured(description.subject)),
        ("Date", format_datetime(datetime.fromtimestamp(int(purpose.now), UTC))),
        ("Message-ID", f"<{seed}@{_domain(sender, purpose)}>"),
    ]
    theirs = {name.lower() for name, _ in description.headers}
    fields = [(name, value) for name, value in fields if value and name.lower() not in theirs]
    fields += [(name, unstructured(value)) for name, value in description.headers]
    return [_field(name, value) for name, value in fields]


def _field(name: str, value: str) -> bytes:
    try:
        return header_block.make(name, value).raw
    except ValueError as error:
        raise refuse((f"headers.{name}: {error}",)) from None


def _list(addresses: tuple[Mailbox, ...]) -> str:
    return ", ".join(map(mailbox, addresses))


def _domain(sender: Mailbox, purpose: Purpose) -> str:
    for address in (sender.address, purpose.sender or "", purpose.recipient):
        domain = address.rpartition("@")[2]
        if re.fullmatch(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*", domain):
            return domain.lower()
    return "localhost.invalid"


def _file(attachment: Attachment, number: int, got: Mapping[str, Got]) -> File:
    body = attachment.body
    if body is not None:
        try:
            body = from_base64(body) if isinstance(body, str) else body
        except ValueError:
            raise refuse((f"attachments[{number}].data: is no base64",)) from None
        return File(_UNSAFE.sub("_", attachment.name), attachment.type, body)
    found = got.get(attachment.url) or Got(b"")
    name = attachment.name or unquote(urlsplit(attachment.url).path.rpartition("/")[2])
    kind = found.type if re.fullmatch(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", found.type) else ""
    return File(_UNSAFE.sub("_", name)[:200], kind or attachment.type, found.body)
