"""A header's value in ASCII: what is not becomes encoded words (RFC 2047). Pure.

Words that are ASCII stay as they are, so that what a value is made of (addresses, commas, dates) keeps its meaning. In
fields with addresses a quoted name is encoded without its quotes, and an address that is not ASCII stays as it is: it
has no other spelling (RFC 6532).
"""

from __future__ import annotations

import re
from base64 import b64encode

ADDRESSES = frozenset(
    ("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-sender")
)
"""Fields with addresses, in lower case."""
LONGEST = 64
"""Characters of an encoded word at most: 75 are allowed, and a short field name has room before it."""
_PLAIN = re.compile(r"[ \t]+|[^ \t]+")
_PIECES = re.compile(
    r"""
    (?P<space>[ \t]+)
    | (?P<quoted>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))
    | (?P<address><[^<>]*>|[^\s,;:<>()"]*@[^\s,;:<>()"]*)
    | (?P<word>[^\s,;:<>()"]+)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


def ascii_value(name: str, value: str) -> str:
    """``value`` of the field ``name`` with encoded words. It has no line breaks, and none are made: encoded words are
    parted by single spaces, where ``header_block.make`` folds."""
    if value.isascii():
        return value
    if name.lower() in ADDRESSES:
        return _with_addresses(value)
    return _encoded(_PLAIN.findall(value))


def _with_addresses(value: str) -> str:
    out: list[str] = []
    phrase: list[str] = []
    for found in _PIECES.finditer(value):
        piece, kind = found[0], found.lastgroup
        if kind == "quoted" and not piece.isascii():
            phrase.append(re.sub(r"\\(.)", r"\1", piece[1:].removesuffix('"')))
        elif kind in ("space", "word", "quoted"):
            phrase.append(piece)
        else:
            out += [_encoded(phrase), piece]
            phrase = []
    return "".join(out) + _encoded(phrase)


def _encoded(pieces: list[str]) -> str:
    """``pieces``, white space and others, with the stretches that are not ASCII encoded."""
    out: list[str] = []
    at = 0
    while at < len(pieces):
        end = _stretch(pieces, at)
        out.append(pieces[at] if end == at else encoded_words("".join(pieces[at:end])))
        at = max(end, at + 1)
    return "".join(out)


def _stretch(pieces: list[str], at: int) -> int:
    """Where the stretch ends that begins at ``at``, if one does: words that are not ASCII, and the white space between
    them, which would be lost between two encoded words."""
    end = at
    for number in range(at, len(pieces)):
        if not pieces[number].isascii():
            end = number + 1
        elif number == at or pieces[number].strip(" \t"):
            break
    return end


def encoded_words(text: str) -> str:
    """``text`` as encoded words, a space between two of them: quoted-printable or base64, whichever is shorter."""
    raw = text.encode()
    by_quoting = sum(map(_cost, raw)) <= (len(raw) + 2) // 3 * 4
    room = LONGEST - len("=?utf-8?q??=")
    words: list[bytes] = []
    piece, size = b"", 0
    for character in text:
        one = character.encode()
        cost = sum(map(_cost, one)) if by_quoting else len(one)
        if size + cost > (room if by_quoting else room // 4 * 3):
            words.append(piece)
            piece, size = b"", 0
        piece += one
        size += cost
    return " ".join(_word(one, by_quoting) for one in [*words, piece])


def _cost(byte: int) -> int:
    return 1 if byte in _SAFE or byte == 0x20 else 3


def _word(piece: bytes, by_quoting: bool) -> str:
    if not by_quoting:
        return f"=?utf-8?b?{b64encode(piece).decode()}?="
    return "=?utf-8?q?" + "".join(map(_quoted, piece)) + "?="


def _quoted(byte: int) -> str:
    if byte == 0x20:
        return "_"
    return chr(byte) if byte in _SAFE else f"={byte:02X}"
