"""A message of 8 bits made one of 7, for a host that takes no more (RFC 6152 section 3, RFC 2045, RFC 2047). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from email import policy
from email.generator import BytesGenerator
from email.header import Header
from email.message import Message
from email.parser import BytesParser
from email.utils import formataddr, getaddresses
from io import BytesIO
from typing import Any
from urllib.parse import quote

from mailerq.smtp.address import a_label

_POLICY = policy.compat32.clone(linesep="\r\n", max_line_length=None)
EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")  # with whatever line ends
_SIGNATURES = ("dkim-signature", "arc-message-signature", "arc-seal")
_ADDRESSES = frozenset(
    ("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-sender")
)
_GLOBAL = frozenset(  # header fields in UTF-8 that are no message's: encoded as a whole (RFC 6533 section 4)
    ("message/global-delivery-status", "message/global-headers", "message/global-disposition-notification")
)
_STRUCTURED = frozenset(("content-type", "content-disposition"))
_EIGHT = re.compile("[\udc80-\udcff]")  # how the parser keeps a byte that is not ASCII


class _Impossible(Exception):
    """It cannot be said in ASCII without changing what was signed or addressed."""


def header_end(body: bytes) -> int:
    """Where the headers of a message end: the empty line, or its end where there is none."""
    found = EMPTY_LINE.search(body)
    return found.start() if found else len(body)


def seven_bit(body: bytes, headers_only: bool = False) -> bytes | None:
    """``body`` in ASCII, or None where that would break a signature or cannot be said in ASCII.

    Each part that has 8 bits is encoded (text as quoted-printable unless base64 is shorter, the rest as base64), its
    charset kept; text of no named charset is ``unknown-8bit`` (RFC 1428). Headers become encoded words, parameters
    those of RFC 2231. With ``headers_only`` the parts are left as they are.
    """
    try:
        message = BytesParser(policy=_POLICY).parsebytes(body)
        if any(name in message for name in _SIGNATURES):
            return None
        _convert(message, headers_only)
        converted = _flat(message)
    except (_Impossible, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # a message so odd that the parser's own rules do not hold for it
    good = converted[: header_end(converted)] if headers_only else converted
    return converted if good.isascii() else None


def _convert(part: Message, headers_only: bool, signed: bool = False) -> None:
    """``part`` and all parts in it. ``signed``: it must stay as it is."""
    _convert_headers(part, signed)
    if headers_only:
        return
    signed = signed or part.get_content_type() == "multipart/signed"
    payload: Any = part.get_payload()
    if (
        isinstance(payload, list)
        and part.get_content_type() in _GLOBAL
        and not (content := _flat(payload[0])).isascii()
    ):
        if signed:
            raise _Impossible
        _encode_leaf(part, content)
    elif isinstance(payload, list):
        _convert_container(part, signed)
        for inner in payload:
            _convert(inner, headers_only, signed)
    elif isinstance(payload, str) and not payload.isascii():
        decoded = part.get_payload(decode=True)
        if signed or not isinstance(decoded, bytes):
            raise _Impossible
        _encode_leaf(part, decoded)


def _flat(message: Message) -> bytes:
    """A message as bytes, its header as it was."""
    out = BytesIO()
    BytesGenerator(out, mangle_from_=False, maxheaderlen=0, policy=_POLICY).flatten(message)
    return out.getvalue()


def _convert_headers(part: Message, signed: bool) -> None:
    """All headers in ASCII, in their order."""
    headers = list(part.raw_items())
    if not any(_EIGHT.search(name) or _EIGHT.search(value) for name, value in headers):
        return
    if signed:
        raise _Impossible
    for name, _ in headers:
        del part[name]
    for name, value in headers:
        part.set_raw(name, _encode_header(name.lower(), value) if _EIGHT.search(value) else value)


def _convert_container(part: Message, signed: bool) -> None:
    """A part that holds parts is never encoded itself (RFC 2045 section 6.4)."""
    if str(part.get("content-transfer-encoding", "7bit")).strip().lower() in ("8bit", "binary"):
        if signed:
            raise _Impossible
        del part["Content-Transfer-Encoding"]
    for attribute in ("preamble", "epilogue"):  # nobody shows them
        text = getattr(part, attribute, None)
        if text and _EIGHT.search(text):
            setattr(part, attribute, _EIGHT.sub("?", text))


def _encode_leaf(part: Message, content: bytes) -> None:
    """Content of 8 bits that is not encoded yet, whatever its headers say."""
    if "content-type" not in part:
        part["Content-Type"] = 'text/plain; charset="unknown-8bit"'
        if "mime-version" not in part:
            part["MIME-Version"] = "1.0"
    elif part.get_content_maintype() == "text" and not part.get_param("charset"):
        part.set_param("charset", "unknown-8bit")
    del part["Content-Transfer-Encoding"]
    text = part.get_content_maintype() == "text"
    eight = sum(byte > 126 for byte in content)
    if text and eight * 6 <= len(content):
        part["Content-Transfer-Encoding"] = "quoted-printable"
        lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        encoded = binascii.b2a_qp(lines, quotetabs=False, istext=True).decode("ascii")
    else:
        part["Content-Transfer-Encoding"] = "base64"
        if text:  # base64 of text is base64 of its canonical form (RFC 2045 section 6.8)
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        encoded = base64.encodebytes(content).decode("ascii")
    part.set_payload(encoded)


def _encode_header(name: str, value: str) -> str:
    text, charset = _decode(" ".join(value.split()))
    if name in _ADDRESSES:
        if charset != "utf-8":
            raise _Impossible
        return ", ".join(_encode_address(*pair) for pair in getaddresses([text]))
    if name in _STRUCTURED:
        return _encode_parameters(text, charset)
    return Header(text, charset, maxlinelen=76, header_name=name, continuation_ws=" ").encode(linesep="\r\n")


def _decode(value: str) -> tuple[str, str]:
    """The text of a raw header and the charset to name: UTF-8, or Latin-1 for bytes that are none."""
    content = value.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("iso-8859-1"), "iso-8859-1"


def _encode_address(name: str, address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not address or not local.isascii():
        raise _Impossible  # a group, or an address that only SMTPUTF8 can carry
    if not domain.isascii():
        address = local + at + a_label(domain)
    return formataddr((name, address), "utf-8")


def _encode_parameters(text: str, charset: str) -> str:
    """``name="value"`` with a value that is not ASCII becomes ``name*=utf-8''value`` (RFC 2231)."""

    def encoded(found: re.Match[str]) -> str:
        value = found[2] if found[2] is not None else found[3]
        if value.isascii():
            return found[0]
        return f"{found[1]}*={charset}''{quote(value, safe='', encoding=charset)}"

    result = re.sub(r'([\w!#$&+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', encoded, text)
    if not result.isascii():
        raise _Impossible
    return result
