"""An SMTP reply as a value: code, enhanced code, text (RFC 5321 section 4.2, RFC 3463, RFC 2034)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")


class Reply(msgspec.Struct, frozen=True):
    """``code`` is 100 to 599; ``status`` the enhanced code, only where the host sent one that fits the code's class;
    ``text`` all lines joined with a space, codes stripped."""

    code: int
    status: str | None = None
    text: str = ""


def parse_reply(code: int, lines: Sequence[bytes]) -> Reply:
    """The reply that ``lines`` (what stands behind the code and its separator, one entry a line) make together.

    Bytes that are no UTF-8 are replaced; control characters become spaces. Never raises.
    """
    status = None
    texts = []
    for line in lines:
        text = line.decode("utf-8", "replace").strip()
        found = _ENHANCED.match(text)
        if found and int(text[0]) == code // 100:
            status = status or found[1]
            text = text[found.end() :].strip()
        if not text.isprintable():
            text = "".join(c if c.isprintable() else " " for c in text).strip()
        if text:
            texts.append(text)
    return Reply(code, status, " ".join(texts))
