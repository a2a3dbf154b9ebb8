"""The description of a message: what stands at its top level, read from JSON. Pure."""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from mailerq.attempt import Type
from mailerq.content.responsive.block_shapes import BackgroundOr, Blocks, FontOr
from mailerq.content.responsive.kinds import Attributes, Css, Flag, Text, text
from mailerq.content.responsive.mailboxes import Many, One
from mailerq.content.responsive.reading import Reader, Reading, list_of, object_of, read
from mailerq.content.responsive.rewriting import RewriteOr
from mailerq.content.responsive.urls import Fetched, Web
from mailerq.content.step import ContentError

MOST_ATTACHMENTS = 50
MOST_HEADERS = 100
LONG = 200_000
"""Characters of an attachment."""
_HEADER = re.compile(r"[!-9;-~]{1,70}")
_MEDIA = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
OURS = ("content-type", "content-transfer-encoding", "content-disposition", "mime-version", "bcc")
"""Header fields that say how the message is built (or that nobody may see), so that no description can have them."""

Pairs = tuple[tuple[str, str], ...]


def _line(value: Any, place: str, reading: Reading) -> str | None:
    if isinstance(value, str) and _CONTROL.search(value):
        reading.fault(place, "has a line break or another control character")
        return None
    return text(value, place, reading)


def _headers(value: Any, place: str, reading: Reading) -> Pairs | None:
    if value == []:
        return ()
    if not isinstance(value, dict) or len(value) > MOST_HEADERS:
        reading.expected(place, f"an object of at most {MOST_HEADERS} header fields", value)
        return None
    found = []
    for name, member in value.items():
        where = f"{place}.{name[:70]}"
        if not _HEADER.fullmatch(name):
            reading.fault(where, "is no name of a header field")
        elif name.lower() in OURS:
            reading.fault(where, "is a header field that a description cannot have")
        else:
            for number, one in enumerate(member if isinstance(member, list) else [member]):
                got = _line(one, f"{where}[{number}]" if isinstance(member, list) else where, reading)
                found += [(name, got)] if got is not None else []
    return tuple(found)


def _base64(value: Any, place: str, reading: Reading) -> bytes | str | None:
    """Decoded; what is long stays as it is until the message is composed, which is not done in the reactor."""
    if not isinstance(value, str):
        reading.expected(place, "base64", value)
        return None
    if len(value) > LONG:
        return value
    try:
        return from_base64(value)
    except ValueError:
        reading.expected(place, "base64", value)
        return None


def from_base64(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode("".join(text.split()), validate=True)


def _media(value: Any, place: str, reading: Reading) -> str | None:
    found = value.partition(";")[0].strip() if isinstance(value, str) else ""
    if _MEDIA.fullmatch(found):
        return str(found.lower())
    reading.expected(place, "a media type such as application/pdf", value)
    return None


def _content(value: Any, place: str, reading: Reading) -> str | Content | None:
    return text(value, place, reading) if isinstance(value, str) else read(Content, value, place, reading)


def _keys(value: Any, place: str, reading: Reading) -> tuple[dict[str, Any], ...] | None:
    keys = value if isinstance(value, list) else [value]
    if not all(isinstance(key, dict) for key in keys):
        reading.expected(place, "an object, or an array of objects", value)
        return None
    return tuple(keys)


def _members(value: Any, place: str, reading: Reading) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return value
    if value != []:
        reading.expected(place, "an object", value)
    return None


class Attachment(Struct, frozen=True):
    """A file: ``body`` (if it is long, still in base64), or what is at ``url``."""

    url: Fetched = ""
    body: Annotated[bytes | str | None, Reader(_base64)] = msgspec.field(default=None, name="data")
    name: Annotated[str, Reader(_line)] = ""
    type: Annotated[str, Reader(_media)] = ""


def _attachments(value: Any, place: str, reading: Reading) -> tuple[Attachment, ...] | None:
    found: tuple[Attachment, ...] | None = list_of(Attachment).read(value, place, reading)
    for number, one in enumerate(value if found else ()):
        if isinstance(one, dict) and one.get("url") is None and one.get("data") is None:
            reading.fault(f"{place}[{number}]", "has neither url nor data")
    if found and len(found) > MOST_ATTACHMENTS:
        reading.fault(place, f"has more than {MOST_ATTACHMENTS} attachments")
    return found


class Content(Struct, frozen=True):
    """The part in the middle, 580 pixels wide."""

    blocks: Blocks = ()
    background: BackgroundOr = None
    css: Css = ()
    attributes: Attributes = ()


class Tracking(Struct, frozen=True):
    """An image that nobody sees, where there is no other (``force``: even then)."""

    pixel: Web = ""
    force: Flag = False


class Description(Struct, frozen=True, rename="camel"):
    """All of it. ``text``: the text part; None: it is made from the HTML. ``dkim`` and ``data`` are for other steps."""

    sender: One = msgspec.field(default=None, name="from")
    to: Many = ()
    cc: Many = ()
    bcc: Many = ()
    reply_to: Many = ()
    subject: Annotated[str, Reader(_line)] = ""
    text: Annotated[str | None, Reader(text)] = None
    text_version: Annotated[str | None, Reader(text)] = None
    headers: Annotated[Pairs, Reader(_headers)] = ()
    attachments: Annotated[tuple[Attachment, ...], Reader(_attachments)] = ()
    font: FontOr = None
    background: BackgroundOr = None
    content: Annotated[str | Content | None, Reader(_content)] = None
    css: Css = ()
    attributes: Attributes = ()
    rewrite: RewriteOr = ()
    tracking: Annotated[Tracking, object_of(Tracking)] = Tracking()
    dkim: Annotated[tuple[dict[str, Any], ...], Reader(_keys)] = ()
    data: Annotated[dict[str, Any] | None, Reader(_members)] = None
    name: Text = ""
    description: Text = ""
    version: Text = ""

    @property
    def plain(self) -> str | None:
        """The text part that it gives."""
        return self.text if self.text is not None else self.text_version


def refuse(reasons: tuple[str, ...], passing: bool = False) -> ContentError:
    """What a description with these faults gives."""
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return ContentError(f"mime: {reasons[0]}{more}", type=Type.RESPONSIVE, reasons=reasons, passing=passing)


def decode(body: bytes) -> Any:
    """JSON. Raises ContentError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise refuse((_why_no_json(body, error),)) from None


def _why_no_json(body: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the description is nested too deeply"
    try:
        json.loads(body)
    except RecursionError:
        return "the description is nested too deeply"
    except ValueError:
        return f"the description is no JSON: {str(error)[:200]}"
    return "the description has half of a surrogate pair, or a number that is too large"


def parse(body: bytes) -> Description:
    """The description in ``body``. Raises ContentError with all its faults."""
    reading = Reading()
    description = read(Description, decode(body), "", reading)
    if description.content is None and description.plain is None and not reading.faults:
        reading.fault("content", "is missing, and there is no text")
    if reading.faults:
        raise refuse(reading.reasons())
    return description
