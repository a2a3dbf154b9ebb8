"""How wide and high an image is, from its first bytes: PNG, GIF, JPEG, WebP. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable

LARGEST = 100_000
"""Pixels a side; what says more is not believed."""
_MOST_SEGMENTS = 1000
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))

Size = tuple[int, int]


def image_size(body: bytes) -> Size | None:
    """Width and height; None where it is none of these, or is cut short."""
    for magic, read in _KINDS:
        if body.startswith(magic):
            try:
                size = read(body)
            except (struct.error, IndexError):
                return None
            return size if size and 0 < size[0] <= LARGEST and 0 < size[1] <= LARGEST else None
    return None


def _png(body: bytes) -> Size | None:
    """The header chunk is always the first (PNG, section 11.2.2)."""
    if body[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", body, 16)
    return width, height


def _gif(body: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", body, 6)
    return width, height


def _jpeg(body: bytes) -> Size | None:
    """Segments until the first that begins a frame (ITU T.81, section B.2). Turned images are wide as they are shown
    only in programs that look at EXIF, so that is not looked at."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if body[at] != 0xFF:
            return None
        while body[at] == 0xFF:
            at += 1
        marker = body[at]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", body, at + 4)
            return width, height
        if marker in (0xD8, 0x01) or 0xD0 <= marker <= 0xD7:
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            return None
        (length,) = struct.unpack_from(">H", body, at + 1)
        at += 1 + max(length, 2)
    return None


def _webp(body: bytes) -> Size | None:
    """RFC 9649: simple, lossless and extended."""
    if body[8:12] != b"WEBP":
        return None
    kind = body[12:16]
    if kind == b"VP8 " and body[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", body, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(_three(body, 24), "little") + 1, int.from_bytes(_three(body, 27), "little") + 1
    return None


def _three(body: bytes, at: int) -> bytes:
    if len(body) < at + 3:
        raise IndexError
    return body[at : at + 3]


_KINDS: tuple[tuple[bytes, Callable[[bytes], Size | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _webp),
)
