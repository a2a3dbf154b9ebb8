"""Rules for HTML as mail programs show it, and as filters see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from urllib.parse import urlsplit

from mailerq.lint.message import Message, organisation
from mailerq.lint.rule import GMAIL, Rule, Spot, hint, warning

CLIPPED = 102 * 1024
LOOKED_AT = 2_000_000
LITTLE = 20
ACTIVE = ("script", "iframe", "object", "embed", "form", "applet")
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(?P<unseen>style|script|title)\b[^<>]*>.*?(?:</(?P=unseen)|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][a-z0-9:-]*)(?P<attributes>[^<>]*)>|(?P<text>[^<]+)|<",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s=/"'>]+)(?:\s*+=\s*+(?:"([^"]*)(?:"|\Z)|'([^']*)(?:'|\Z)|([^\s"']\S*)))?""", re.DOTALL)
_SHOWN_URL = re.compile(r"\s*(?:https?://|www\.)?((?:[\w-]+\.)+[a-z]{2,})(?:[/?#:]\S*)?\s*", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-f:]*:[0-9a-f:.]*\]?)", re.IGNORECASE)


class Page:
    """What is looked at. ``images``: line and attributes of each, ``links``: line, address and text, ``active``: line
    and name of elements that no mail program runs, ``letters``: how many there are of text. Lines are those of the
    HTML. Takes time in proportion to its length, whatever it is, which the parser of the standard library does not."""

    def __init__(self, text: str) -> None:
        self.images: list[tuple[int, dict[str, str]]] = []
        self.links: list[tuple[int, str, str]] = []
        self.active: list[tuple[int, str]] = []
        self.letters = 0
        self._link: tuple[int, str] | None = None
        self._shown: list[str] = []
        line = 1
        for token in _TOKEN.finditer(text[:LOOKED_AT]):
            name = (token["unseen"] or token["name"] or "").lower()
            if name:
                self._element(line, name, bool(token["end"]), token["attributes"] or "")
            elif token["text"]:
                self._text(unescape(token["text"]))
            line += token[0].count("\n")

    def _element(self, line: int, name: str, ends: bool, attributes: str) -> None:
        if name == "a":
            if self._link is not None:
                self.links.append((*self._link, "".join(self._shown)[:500]))
            self._link = None if ends else (line, attributes_of(attributes).get("href", ""))
            self._shown = []
        elif name == "img":
            self.images.append((line, attributes_of(attributes)))
        elif name in ACTIVE and not ends:
            self.active.append((line, name))

    def _text(self, text: str) -> None:
        self.letters += len("".join(text.split()))
        if self._link is not None and len(self._shown) < 100:
            self._shown.append(text[:500])


def attributes_of(text: str) -> dict[str, str]:
    """The attributes of a tag, the first of each name; those without a value have ''."""
    found: dict[str, str] = {}
    for one in _ATTRIBUTE.finditer(text):
        found.setdefault(one[1].lower(), unescape(one[2] or one[3] or one[4] or ""))
    return found


_page = lru_cache(4)(Page)


def pages(message: Message) -> Iterator[tuple[int, Page]]:
    """The HTML of a message, with the line before its first."""
    for part in message.html:
        plain = part.encoding in ("7bit", "8bit", "binary")
        yield message.line_at(part.offset + part.block.start) - 1 if plain else -1, _page(part.text)


def _line(before: int, line: int) -> int:
    """Encoded lines are not those of the message."""
    return before + line if before >= 0 else 0


def image_alt(message: Message) -> Iterator[Spot]:
    """Images that say nothing."""
    for before, page in pages(message):
        without = [line for line, attributes in page.images if "alt" not in attributes]
        if without:
            yield _line(before, without[0]), f"{len(without)} of {len(page.images)} images have no alt text"


def image_http(message: Message) -> Iterator[Spot]:
    """Images without TLS."""
    for before, page in pages(message):
        for line, attributes in page.images:
            if attributes.get("src", "").lower().startswith("http://"):
                yield _line(before, line), f"an image comes by http: {(attributes.get('src') or '')[:80]}"
                break


def image_inside(message: Message) -> Iterator[Spot]:
    """Images written into the HTML."""
    for before, page in pages(message):
        for line, attributes in page.images:
            if attributes.get("src", "").lower().startswith("data:"):
                yield _line(before, line), "an image is written into the HTML (data:)"
                break


def only_images(message: Message) -> Iterator[Spot]:
    """Images and no text."""
    for _, page in pages(message):
        if page.images and page.letters < LITTLE:
            yield 0, f"the HTML has {len(page.images)} images and {page.letters} letters of text"


def clipped(message: Message) -> Iterator[Spot]:
    """HTML that is too long to be shown."""
    for part in message.html:
        if len(part.content) > CLIPPED:
            yield message.line_in(part), f"the HTML has {len(part.content) // 1024} KB"


def active(message: Message) -> Iterator[Spot]:
    """Elements that no mail program runs."""
    for before, page in pages(message):
        for line, tag in page.active[:1]:
            yield _line(before, line), f"the HTML has <{tag}>"


def link_address(message: Message) -> Iterator[Spot]:
    """Links to IP addresses."""
    for before, page in pages(message):
        for line, address, _ in page.links:
            if _ADDRESS.fullmatch(_host(address)):
                yield _line(before, line), f"a link leads to an IP address: {address[:80]}"


def link_deceives(message: Message) -> Iterator[Spot]:
    """Links that lead elsewhere than they say."""
    for before, page in pages(message):
        for line, address, shown in page.links:
            said, host = _SHOWN_URL.fullmatch(shown), _host(address)
            if said and host and organisation(said[1]) != organisation(host):
                yield _line(before, line), f"a link says {said[1][:60]} and leads to {host[:60]}"


def _host(address: str) -> str:
    try:
        url = urlsplit(address.strip())
        return (url.hostname or "") if url.scheme in ("http", "https") else ""
    except ValueError:
        return ""


RULES: tuple[Rule, ...] = (
    warning(
        "image-alt", "most mail programs show no images at first", 'write alt="..."; alt="" for decoration', image_alt
    ),
    hint("image-http", "mail programs that load images by TLS only show none", "use https://", image_http),
    warning("image-inside", "Gmail and Outlook show none", "attach it and use cid:, or link to it", image_inside),
    warning("only-images", "filters take it for spam", "say in text what the images say", only_images),
    warning("clipped", "Gmail cuts HTML after 102 KB, with the unsubscribe link at its end", "shorten it", clipped),
    warning("active", "mail programs remove it, filters take it for an attack", "link to a page instead", active),
    warning("link-address", "filters take it for an attack", "use a host name", link_address),
    warning(
        "link-deceives",
        f"filters take it for phishing; {GMAIL}: links must be clear",
        "let the text say where it leads, or say no address",
        link_deceives,
    ),
)
