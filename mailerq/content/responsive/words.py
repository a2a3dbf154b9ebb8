"""Texts in header fields: encoded words (RFC 2047), names before addresses (RFC 5322), parameters (RFC 2231). Pure.

No text that comes in here can end a field: what is no plain ASCII is encoded, control characters above all.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from mailerq.content.responsive.mailboxes import Mailbox

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_VISIBLE = re.compile(r"[ -~]*")
_LONGEST_WORD = 60
"""Characters between white space; a longer one cannot be folded, and is encoded."""
_CHUNK = 42
"""Bytes in one encoded word, so that it has no more than 75 characters."""
_PARAMETER = 60


def encoded(text: str) -> str:
    """A text as encoded words, each of whole characters (RFC 2047 section 5), with spaces between them."""
    words: list[str] = []
    chunk = b""
    for character in text:
        piece = character.encode("utf-8", "replace")
        if len(chunk) + len(piece) > _CHUNK:
            words.append(_word(chunk))
            chunk = b""
        chunk += piece
    return " ".join([*words, _word(chunk)] if chunk else words)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(chunk).decode()}?="


def unstructured(text: str) -> str:
    """The value of a field such as Subject: as it is where it can be folded and says nothing else."""
    plain = (
        _VISIBLE.fullmatch(text)
        and "=?" not in text
        and text == text.strip()
        and max(map(len, text.split(" "))) <= 900
        and "     " not in text
    )
    return text if plain else encoded(text)


def mailbox(one: Mailbox) -> str:
    """``name <address>`` (RFC 5322 section 3.4)."""
    if not one.name:
        return one.address
    return f"{_phrase(one.name)} <{one.address}>"


def _phrase(name: str) -> str:
    if not _VISIBLE.fullmatch(name) or "=?" in name or len(name) > _LONGEST_WORD:
        return encoded(name)
    if _ATOMS.fullmatch(name) and "  " not in name:
        return name
    if '"' in name and "{" in name:  # a tag with quotes: to be found as it is, it cannot have backslashes
        return encoded(name)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parameter(name: str, value: str) -> str:
    """``; name=value``; what is no plain ASCII, or long, by RFC 2231, on lines of its own."""
    if _VISIBLE.fullmatch(value) and len(value) <= _PARAMETER and "=?" not in value:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f';\r\n {name}="{escaped}"'
    written = "utf-8''" + quote(value.encode("utf-8", "replace"), safe="!#$&+-.^_`{}~")
    if len(written) <= _PARAMETER:
        return f";\r\n {name}*={written}"
    pieces = re.findall(r"(?:%[0-9A-F]{2}|[^%]){1,18}", written)
    return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(pieces))
