"""Charsets and transfer encodings of texts (RFC 2045 section 6, RFC 2046 section 4.1). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from encodings import normalize_encoding
from encodings.aliases import aliases

_NOT_TEXT = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
_KNOWN = ({*aliases.values()} | {"utf_8_sig", "koi8_u", "koi8_t", "cp720", "cp737", "cp856", "cp874"}) - _NOT_TEXT
_ESCAPED = re.compile("[\udc80-\udcff]")
_LINE = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = 998  # RFC 5322 section 2.1.1
_AS_IT_IS = ("7bit", "8bit", "binary", "")


def charset_of(name: str) -> str:
    """The codec of a charset; ASCII for those that are not known. Only names that are known are looked up: Python
    would remember the others for ever."""
    if len(name) > 40 or not name.isascii():
        return "ascii"
    normal = normalize_encoding(name.strip()).lower()
    found = normal if normal in _KNOWN else aliases.get(normal, "ascii")
    return found if found in _KNOWN else "ascii"


def to_text(content: bytes, charset: str) -> str | None:
    """Content as text; bytes that are no characters are kept as half surrogates. None: that cannot be done. What claims
    to be ASCII, or nothing, and is UTF-8 is taken for that."""
    codec = charset_of(charset)
    try:
        return content.decode("utf-8" if codec == "ascii" else codec, "surrogateescape")
    except (UnicodeError, ValueError, OverflowError, MemoryError):
        return None


def to_bytes(text: str, charset: str) -> tuple[bytes, str | None]:
    """Text as content, and the name of its charset where that had to be another."""
    codec = charset_of(charset)
    try:
        return text.encode(codec, "surrogateescape"), None
    except (UnicodeError, ValueError):
        if codec not in ("ascii", "utf_8"):  # what was no character there is none in UTF-8
            text = _ESCAPED.sub("\ufffd", text)
        return text.encode("utf-8", "surrogateescape"), "utf-8"


def decode_body(body: bytes, encoding: str) -> bytes | None:
    """A body without its transfer encoding; None where that is not known or the body breaks it."""
    if encoding in _AS_IT_IS:
        return body
    try:
        if encoding == "quoted-printable":
            return binascii.a2b_qp(body)
        if encoding == "base64":
            return binascii.a2b_base64(body)
    except binascii.Error:
        pass
    return None


def encode_body(
    content: bytes,
    encoding: str,
    *,
    end: bytes,
    eight_bit: bool,
    boundaries: set[bytes],
    wide: bool = False,
    ends: bool = True,
) -> tuple[bytes, str]:
    """Content in a transfer encoding, and which: the one it had, or another that can say it. ``end``: the line end;
    ``eight_bit``: whether bytes above 127 may go as they are; ``wide``: a character has several bytes, which may look
    like line ends; ``ends``: whether base64 has a line end behind its last line. No line of it is one of
    ``boundaries``."""
    if encoding in _AS_IT_IS:
        if not wide and _may_stay(content, encoding, eight_bit) and not _has_boundary(content, boundaries):
            return content, encoding
        encoding = "quoted-printable"
    if encoding == "quoted-printable" and not wide:
        encoded = binascii.b2a_qp(_with_lf(content), quotetabs=False, istext=True).replace(b"\n", end)
        if not _has_boundary(encoded, boundaries):
            return encoded, encoding
    plain = base64.b64encode(content)
    lines = [plain[at : at + 76] for at in range(0, len(plain), 76)]
    return end.join(lines) + (end if ends else b""), "base64"


def _may_stay(content: bytes, encoding: str, eight_bit: bool) -> bool:
    """Whether content may go as it is."""
    if not content.isascii() and (encoding in ("7bit", "") or not eight_bit):
        return False
    return b"\0" not in content and max(map(len, _with_lf(content).split(b"\n"))) <= _LONGEST_LINE


def _with_lf(content: bytes) -> bytes:
    """Content with no other line ends than LF."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def _has_boundary(content: bytes, boundaries: set[bytes]) -> bool:
    """Whether a line would end the part that it stands in (RFC 2046 section 5.1.1)."""
    if not boundaries or b"--" not in content:
        return False
    for line in _with_lf(content).split(b"\n"):
        if line[:2] == b"--":
            name = line[2:].rstrip(b" \t")
            if name in boundaries or name.removesuffix(b"--") in boundaries:
                return True
    return False


def line_end_of(raw: bytes) -> bytes | None:
    """The first line end in some bytes."""
    found = _LINE.search(raw)
    return found[0] if found else None
