"""Text in header fields: encoded words (RFC 2047) as characters, and characters as encoded words. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from mailerq.content.mime_codes import to_text

_WORD = re.compile(
    rb"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\r\n]*)\?=(?:[ \t\r\n]+(?==\?[^?\s]{1,60}\?[bBqQ]\?[^?\r\n]*\?=))?"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CHUNK = 45  # bytes: 60 as base64, and with what is around them less than the 75 that a word may have
_LONGEST_WORD = 900


def _as_it_is(text: str) -> str:
    return text


def decoded(value: bytes, change: Callable[[str], str] = _as_it_is) -> str:
    """The value of a field as text. ``change`` is done to what stood in encoded words. Bytes that are no UTF-8 are
    replaced, and so are control characters, by a blank."""
    out: list[str] = []
    at, run, charset = 0, b"", ""
    for found in _WORD.finditer(value):
        content, name = _content(found[2], found[3]), found[1].partition(b"*")[0].decode("ascii", "replace").lower()
        if content is None:
            continue
        if run and (found.start() > at or name != charset):
            out.append(change(_text(run, charset)))
            run = b""
        if found.start() > at:
            out.append(value[at : found.start()].decode("utf-8", "replace"))
        run, charset, at = run + content, name, found.end()
    if run:
        out.append(change(_text(run, charset)))
    out.append(value[at:].decode("utf-8", "replace"))
    return without_controls("".join(out))


def _text(content: bytes, charset: str) -> str:
    text = to_text(content, charset) or ""
    return text.encode("utf-8", "replace").decode("utf-8", "replace")


def _content(encoding: bytes, text: bytes) -> bytes | None:
    try:
        if encoding in b"qQ":
            return binascii.a2b_qp(text, header=True)
        return binascii.a2b_base64(text)
    except binascii.Error:
        return None


def without_controls(text: str) -> str:
    """Text in which nothing can end a line."""
    return _CONTROL.sub(" ", text)


def is_plain(text: str) -> bool:
    """Whether text can stand in a field as it is."""
    return text.isascii() and "=?" not in text and all(len(word) < _LONGEST_WORD for word in text.split())


def encoded(text: str) -> str:
    """Text as encoded words, with blanks between them."""
    words, chunk = [], b""
    for sign in text:
        added = sign.encode("utf-8", "replace")
        if len(chunk) + len(added) > _CHUNK:
            words.append(chunk)
            chunk = b""
        chunk += added
    return " ".join(f"=?utf-8?B?{base64.b64encode(word).decode('ascii')}?=" for word in [*words, chunk])
