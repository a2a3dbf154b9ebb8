"""The text part of a message, made from its HTML. Pure."""

from __future__ import annotations

import re
from html import unescape

from mailerq.attempt import Type
from mailerq.content.step import ContentError

LONGEST = 1_000_000
"""Characters of HTML of which a text is made; of longer HTML the beginning."""
DEEPEST = 200
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
_LAYOUT = re.compile(r"</?(?:table|tbody|tr)\b[^<>]*>")
_CELL = re.compile(r"<(/?)td\b[^<>]*>")
_IMAGE = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
_ALT = re.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_BLANK = re.compile(r"[ \t\u00a0\u200a]+$", re.MULTILINE)
_GAP = re.compile(r"\n{3,}")


def flat(html: str) -> str:
    """HTML that was made from MJML, without the tables that only lay it out."""
    return _CELL.sub(r"<\1div>", _LAYOUT.sub("", _HIDDEN.sub("", html)))


def plain_text(html: str) -> str:
    """HTML as a text to be read: links with their addresses, images as the text that stands for them."""
    try:
        import html_to_markdown
    except ImportError:
        raise not_installed("html-to-markdown") from None
    source = _IMAGE.sub(_alternative, html if len(html) <= LONGEST else html[:LONGEST].rpartition("<")[0])
    options = html_to_markdown.ConversionOptions(
        extract_metadata=False, skip_images=True, max_depth=DEEPEST, autolinks=False
    )
    try:
        text = html_to_markdown.convert(source, options).content or ""
    except Exception:  # whatever it cannot read, a reader of the text part may still read
        text = unescape(re.sub(r"<[^<>]*>", " ", source))
    return _GAP.sub("\n\n", _BLANK.sub("", text)).strip("\n") + "\n"


def _alternative(image: re.Match[str]) -> str:
    found = _ALT.search(image[0])
    return f"<span>{found[1] or found[2] or ''}</span>" if found else ""


def not_installed(package: str) -> ContentError:
    """What is said where a library is not there."""
    what = f"responsive messages need the package {package}, which is not installed: pip install 'mailerq[content]'"
    return ContentError(what, type=Type.RESPONSIVE, passing=True)
