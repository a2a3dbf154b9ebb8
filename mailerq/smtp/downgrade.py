"""A message of 8 bits made one of 7, for a host that takes no more (RFC 6152 section 3, RFC 2045, RFC 2047). Pure."""

from __future__ import annotations

import re
from email import policy
from email.message import Message
from email.parser import BytesParser

_POLICY = policy.compat32.clone(linesep="\r\n", max_line_length=None)
_HEADER_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_SIGNATURES = ("dkim-signature", "arc-message-signature", "arc-seal")
_ADDRESSES = ("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-sender")


def header_end(body: bytes) -> int:
    """Where the headers of a message end: the empty line, or its end where there is none."""
    found = _HEADER_END.search(body)
    return found.start() if found else len(body)


def seven_bit(body: bytes, headers_only: bool = False) -> bytes | None:
    """``body`` in ASCII, or None where that would break a signature or cannot be said in ASCII.

    Each part that has 8 bits is encoded (text as quoted-printable unless base64 is shorter, the rest as base64), its
    charset kept; text of no known charset is ``unknown-8bit`` (RFC 1428). With ``headers_only`` only the headers are
    encoded.
    """
    try:
        message = BytesParser(policy=_POLICY).parsebytes(body)
        if any(name in message for name in _SIGNATURES):
            return None
        _convert(message, headers_only)
        from email.generator import BytesGenerator
        from io import BytesIO

        out = BytesIO()
        BytesGenerator(out, mangle_from_=False, maxheaderlen=0, policy=_POLICY).flatten(message)
        converted = out.getvalue()
    except (_Impossible, ValueError, LookupError, TypeError, RecursionError, AttributeError):
        return None
    return converted if headers_only or converted.isascii() else None


class _Impossible(Exception):
    """It cannot be said in ASCII without changing what was signed or addressed."""


def _convert(message: Message, headers_only: bool) -> None:
    """To be written: parts and headers in ASCII."""
