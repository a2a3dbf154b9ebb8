"""Stills of videos. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

_YOUTUBE = re.compile(
    r"https?://(?:(?:www|m|music)\.)?(?:youtube(?:-nocookie)?\.com/(?:watch\?(?:[^#]*&)?v=|embed/|shorts/|live/|v/)|youtu\.be/)"
    r"([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
_VIMEO = re.compile(r"https?://(?:(?:www|player)\.)?vimeo\.com/(?:[a-z]+/)*(\d{5,12})(?!\d)", re.IGNORECASE)


def youtube_still(url: str) -> str | None:
    """The address of the still of a video at YouTube, which follows from its own."""
    found = _YOUTUBE.match(url)
    return f"https://img.youtube.com/vi/{found[1]}/hqdefault.jpg" if found else None


def vimeo_question(url: str) -> str | None:
    """Where Vimeo says which still a video has (oEmbed)."""
    found = _VIMEO.match(url)
    return f"https://vimeo.com/api/oembed.json?url={quote(f'https://vimeo.com/{found[1]}', safe='')}" if found else None


class _Answer(msgspec.Struct):
    thumbnail_url: str = ""


def vimeo_still(answer: bytes) -> str | None:
    """The address in Vimeo's answer."""
    try:
        url = msgspec.json.decode(answer, type=_Answer).thumbnail_url
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return (
        url if url.startswith("https://") and len(url) < 2000 and not re.search(r"[\x00-\x20\x7f\"<>]", url) else None
    )
