"""Rules for the header: who it is from, when, to whom, and whether all that can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime

from mailerq.lint.message import Message
from mailerq.lint.rule import GMAIL, RFC5322, Rule, Spot, error, hint, warning

ONCE = (
    *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject", "Date"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Id"),
)
FREE_MAIL = frozenset(
    (
        *("gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "aol.com", "outlook.com", "hotmail.com", "live.com"),
        *("msn.com", "icloud.com", "me.com", "mac.com", "gmx.de", "gmx.net", "web.de", "mail.ru", "proton.me"),
    )
)
LONGEST_HEADER = 100 * 1024
DAY = 86400.0
_ADDRESS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"<>()\[\]:;,\\@]+)@(?:[\w-]+(?:\.[\w-]+)+|\[[^\]\s]+\])')
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")
_WORD = re.compile(r"=\?[^?\s]*\?[^?\s]*\?[^?]*\?=")
_REPLY = re.compile(r"\s*(?:re|fwd?|aw|wg|sv|tr|rv)\s*:", re.IGNORECASE)


def from_missing(message: Message) -> Iterator[Spot]:
    """No From."""
    if "From" not in message.block:
        yield 0, "there is no From"


def from_invalid(message: Message) -> Iterator[Spot]:
    """A From that is no address."""
    for line, value in message.fields("From"):
        addresses = [address for _, address in message.addresses("From")]
        if not addresses or not all(map(_ADDRESS.fullmatch, addresses)):
            yield line, f"From has no proper address: {_cut(value)}"


def from_several(message: Message) -> Iterator[Spot]:
    """Several addresses in From."""
    addresses = message.addresses("From")
    if len(addresses) > 1 and len(message.block.all("From")) == 1:
        yield message.line_of(message.block.first("From")), f"From has {len(addresses)} addresses"


def from_free_mail(message: Message) -> Iterator[Spot]:
    """A From of a provider's own domain."""
    if message.from_domain in FREE_MAIL:
        yield message.line_of(message.block.first("From")), f"From is an address at {message.from_domain}"


def name_is_address(message: Message) -> Iterator[Spot]:
    """A display name that looks like another address."""
    for name, address in message.addresses("From"):
        found = _ADDRESS.search(name)
        if found and found[0].lower() != address.lower():
            line = message.line_of(message.block.first("From"))
            yield line, f"the name in From looks like another address: {_cut(name)}"


def reply_to_invalid(message: Message) -> Iterator[Spot]:
    """A Reply-To that is no address."""
    for line, value in message.fields("Reply-To"):
        if not any(_ADDRESS.fullmatch(address) for _, address in message.addresses("Reply-To")):
            yield line, f"Reply-To has no proper address: {_cut(value)}"


def date_missing(message: Message) -> Iterator[Spot]:
    """No Date."""
    if "Date" not in message.block:
        yield 0, "there is no Date"


def date_invalid(message: Message) -> Iterator[Spot]:
    """A Date that is none."""
    for line, value in message.fields("Date"):
        if _date(value) is None:
            yield line, f"Date cannot be read: {_cut(value)}"


def date_far(message: Message) -> Iterator[Spot]:
    """A Date of another time."""
    for line, value in message.fields("Date"):
        date = _date(value)
        if date is not None and not -7 * DAY < date - message.now < DAY:
            yield line, f"Date is {'in the future' if date > message.now else 'more than a week ago'}: {_cut(value)}"


def message_id_missing(message: Message) -> Iterator[Spot]:
    """No Message-ID."""
    if "Message-ID" not in message.block:
        yield 0, "there is no Message-ID"


def message_id_invalid(message: Message) -> Iterator[Spot]:
    """A Message-ID that is none."""
    for line, value in message.fields("Message-ID"):
        if not _MESSAGE_ID.fullmatch(value.strip()):
            yield line, f"Message-ID is no <name@domain>: {_cut(value)}"


def field_twice(message: Message) -> Iterator[Spot]:
    """A field that can be there once only."""
    for name in ONCE:
        found = message.block.all(name)
        if len(found) > 1:
            yield message.line_of(found[1]), f"{name} is there {len(found)} times"


def subject_missing(message: Message) -> Iterator[Spot]:
    """No Subject."""
    if not message.value("Subject").strip():
        yield message.line_of(message.block.first("Subject")), "there is no Subject, or an empty one"


def subject_reply(message: Message) -> Iterator[Spot]:
    """A Subject of a reply that is none."""
    if _REPLY.match(message.value("Subject")) and not {"In-Reply-To", "References"} & _names(message):
        line = message.line_of(message.block.first("Subject"))
        yield line, "the Subject is that of a reply, but the message is none"


def to_missing(message: Message) -> Iterator[Spot]:
    """Nobody it is to."""
    if not message.addresses("To") and not message.addresses("Cc"):
        yield message.line_of(message.block.first("To")), "there is no address in To or Cc"


def bcc_there(message: Message) -> Iterator[Spot]:
    """Recipients that nobody should see."""
    for line, value in message.fields("Bcc"):
        if value:
            yield line, "everybody can read Bcc"


def header_broken(message: Message) -> Iterator[Spot]:
    """A line that is no field."""
    if message.block.broken:
        start = message.block.start
        found = re.match(rb"[^\r\n]{0,60}", message.raw[start : start + 80])
        shown = found[0].decode("utf-8", "replace") if found else ""
        yield message.line_at(start), f"this line is no header field, so the header ends here: {shown!r}"


def header_eight_bit(message: Message) -> Iterator[Spot]:
    """Fields that are no UTF-8."""
    for field in message.block.fields:
        try:
            field.raw.decode()
        except UnicodeDecodeError:
            yield message.line_of(field), f"{field.name} has bytes that are no UTF-8"


def header_utf8(message: Message) -> Iterator[Spot]:
    """Fields that are UTF-8."""
    for field in message.block.fields:
        if not field.raw.isascii() and _is_utf8(field.raw):
            yield message.line_of(field), f"{field.name} is not ASCII"


def header_control(message: Message) -> Iterator[Spot]:
    """Fields with control characters."""
    for field in message.block.fields:
        if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", field.raw):
            yield message.line_of(field), f"{field.name or 'a field'} has a control character"


def word_broken(message: Message) -> Iterator[Spot]:
    """Encoded words that cannot be decoded."""
    for field in message.block.fields:
        value = field.value.decode("utf-8", "replace")[:5000]
        if "=?" in value and not all(map(_can_be_read, _WORD.findall(value))):
            yield message.line_of(field), f"{field.name} has an encoded word that cannot be decoded"


def header_large(message: Message) -> Iterator[Spot]:
    """A very large header."""
    if message.block.start > LONGEST_HEADER:
        yield 0, f"the header has {message.block.start} bytes in {len(message.block.fields)} fields"


def _names(message: Message) -> set[str]:
    return {name for name in ("In-Reply-To", "References") if name in message.block}


def _date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value[:200]).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _can_be_read(word: str) -> bool:
    try:
        for content, charset in decode_header(word):
            if isinstance(content, bytes):
                content.decode(charset or "ascii")
            elif "=?" in content:
                return False
    except (HeaderParseError, ValueError, LookupError):
        return False
    return True


def _cut(value: str) -> str:
    return repr(value[:80])


_ONLY_ONE = f"{RFC5322} section 3.6: at most once; Gmail refuses such mail (550 5.7.1)"
_WRITE_FROM = "write one: From: News <news@example.org>"
RULES: tuple[Rule, ...] = (
    error("from-missing", f"{RFC5322} section 3.6; Gmail, Yahoo and Outlook refuse it", _WRITE_FROM, from_missing),
    error("from-invalid", f"{RFC5322} section 3.4; {GMAIL}", _WRITE_FROM, from_invalid),
    warning(
        "from-several",
        f"{RFC5322} section 3.6.2 wants a Sender then; DMARC cannot be checked (RFC 7489 section 6.6.1): refused",
        "name one address",
        from_several,
    ),
    error(
        "from-free-mail",
        f"{GMAIL}: do not impersonate From; its providers' DMARC policies let others refuse it",
        "send from a domain of your own, with their address in Reply-To",
        from_free_mail,
    ),
    warning("name-is-address", f"{GMAIL}: display names must not deceive", "write a name", name_is_address),
    warning(
        "reply-to-invalid",
        "Outlook.com: From and Reply-To must be able to receive replies",
        "write an address that is read, or no Reply-To",
        reply_to_invalid,
    ),
    error("date-missing", f"{RFC5322} section 3.6", "write Date: Mon, 02 Feb 2026 10:00:00 +0000", date_missing),
    error("date-invalid", f"{RFC5322} section 3.3", "write Date: Mon, 02 Feb 2026 10:00:00 +0000", date_invalid),
    warning("date-far", "filters take it for a sign of spam", "write the time at which it is sent", date_far),
    error(
        "message-id-missing",
        f"{RFC5322} section 3.6.4; Gmail refuses mail without (550 5.7.1)",
        "write Message-ID: <something-unique@your.domain>",
        message_id_missing,
    ),
    error(
        "message-id-invalid",
        f"{RFC5322} section 3.6.4; Gmail refuses it (550 5.7.1)",
        "write Message-ID: <something-unique@your.domain>",
        message_id_invalid,
    ),
    error("field-twice", _ONLY_ONE, "leave one of them", field_twice),
    warning("subject-missing", f"{RFC5322} section 3.6.5; {GMAIL}", "write what it is about", subject_missing),
    warning("subject-reply", f"{GMAIL}: Re: and Fwd: are for replies", "leave Re: out", subject_reply),
    warning(
        "to-missing", f"{RFC5322} section 3.6.3; filters take it for spam", "write To: with the recipient", to_missing
    ),
    warning("bcc-there", f"{RFC5322} section 3.6.3", "remove the field before sending", bcc_there),
    error(
        "header-broken", f"{RFC5322} section 2.2", "remove the line, or indent it to continue a field", header_broken
    ),
    error(
        "header-eight-bit",
        f"{RFC5322} section 2.2, RFC 6532 section 3.2",
        "encode it as RFC 2047 says: =?utf-8?q?...?=",
        header_eight_bit,
    ),
    hint(
        "header-utf8",
        "RFC 6532: only hosts with SMTPUTF8 take it; for others it is encoded on the way, if nothing is signed",
        "encode it as RFC 2047 says: =?utf-8?q?...?=",
        header_utf8,
    ),
    error("header-control", f"{RFC5322} section 2.2", "remove it", header_control),
    warning("word-broken", "RFC 2047 section 2", "encode it again", word_broken),
    warning(
        "header-large",
        "many hosts take no more (Postfix: 100 KB, Exchange: 256 KB)",
        "leave fields out",
        header_large,
    ),
)
