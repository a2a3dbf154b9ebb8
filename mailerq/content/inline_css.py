"""The step ``inlinecss``: the CSS of style blocks goes into style attributes, in each text/html part.

Mail programs that know no style blocks show the message as it was meant. What no attribute can say (``@media``,
``:hover``) stays in its block. Nothing is ever loaded: ``<link>`` and ``@import`` stay as they are. Other parts keep
their bytes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from zope.interface import implementer

from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job

if TYPE_CHECKING:
    from mailerq.content.apart import Apart

LARGEST = 2_000_000
"""Characters of HTML in a message: mail programs cut it after a tenth of that."""
_MARK = "data-css-inline"
_STYLE = re.compile(r"<style\b([^<>]{0,2000})>", re.IGNORECASE)
_MEDIA = re.compile(r"""\smedia\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>]+)""", re.IGNORECASE)
_DOCTYPE = re.compile(r"\A\s*<!doctype\b[^<>]*>", re.IGNORECASE)
_REVEALED = re.compile(r"<!--(\[(?:if\b[^\]<>-]{0,200}|endif)\])-->", re.IGNORECASE)
_HALVES = re.compile("[\udc80-\udcff]")
_PLACES = (0x10FE00, 0xFFE00)  # private characters, where bytes stand that are no characters of their charset


@implementer(IContentStep)
class InlineCss:
    """See ``IContentStep``."""

    name = "inlinecss"
    slow = True

    def wanted(self, job: Job, described: bool) -> bool:
        """Whether the job asks for it."""
        return bool(job.known.inlinecss)

    def apply(self, message: bytes, job: Job, occasion: Occasion) -> bytes:
        """The message with styled HTML; the same object where it has no style blocks."""
        return in_message(message, occasion.eight_bit)


def in_message(message: bytes, eight_bit: bool) -> bytes:
    """``message`` with the CSS of each text/html part in its tags. Raises ContentError."""
    from mailerq.content.mime_texts import TooMany, find_texts, joined, rewrite

    try:
        texts = find_texts(message)
    except TooMany as error:
        raise ContentError(f"inlinecss: the message {error}") from None
    read = {
        number: text
        for number, part in enumerate(texts.parts)
        if part.kind == "html" and (text := part.text(message)) is not None and _STYLE.search(text)
    }
    if not read:
        return message
    if texts.signed:
        raise ContentError("inlinecss: the message is signed already, and would not be as it was signed")
    styled = dict(zip(read, inlined(list(read.values())), strict=True))
    contents = {
        number: rewrite(message, texts, texts.parts[number], text, eight_bit) for number, text in styled.items()
    }
    return joined(message, texts, contents, False)


def inlined(documents: list[str]) -> list[str]:
    """HTML documents with their CSS in style attributes. Blocking, up to a minute. Raises ContentError."""
    from msgspec import msgpack

    from mailerq.content.apart import ApartError

    if sum(map(len, documents)) > LARGEST:
        raise ContentError(f"inlinecss: the message has more than {LARGEST} characters of HTML")
    places = [_place(html) for html in documents]
    prepared = [_hidden(_marked(html), place) for html, place in zip(documents, places, strict=True)]
    try:
        answer = msgpack.decode(_apart().call(msgpack.encode(prepared)), type=list[str])
    except ApartError as error:
        raise ContentError(f"inlinecss: the HTML could not be used: {error}", passing=error.passing) from None
    return [
        _shown(_finished(before, after), place) for before, after, place in zip(documents, answer, places, strict=True)
    ]


@cache
def _apart() -> Apart:
    from importlib.util import find_spec

    from mailerq.content.apart import Apart

    if find_spec("css_inline") is None:
        raise ContentError("inlinecss: needs css-inline, which is not installed: pip install 'mailerq[content]'")
    return Apart("mailerq.content.css_apart")


def close() -> None:
    """End the processes that have nothing to do."""
    if _apart.cache_info().currsize:
        _apart().close()


def _marked(html: str) -> str:
    """Style blocks that are not for every screen are told to be left alone."""

    def mark(found: re.Match[str]) -> str:
        media = _MEDIA.search(found[1])
        if media is None or media[1].strip("\"' \t\r\n").lower() in ("", "all", "screen") or _MARK in found[1]:
            return found[0]
        return f'<style {_MARK}="ignore"{found[1]}>'

    return _STYLE.sub(mark, html)


def _finished(before: str, after: str) -> str:
    """What an HTML parser has changed though it means something to mail programs is as it was: the document type,
    conditional comments of the kind that other programs show, and line ends."""
    doctype = _DOCTYPE.match(before)
    if doctype is not None:
        after = _DOCTYPE.sub(lambda _: doctype[0], after, count=1)
    if "<![" in before:
        after = _REVEALED.sub(r"<!\1>", after)
    if "\r\n" in before:
        after = after.replace("\r\n", "\n").replace("\n", "\r\n")
    if before.endswith("\n") and not after.endswith("\n"):
        after += "\r\n" if before.endswith("\r\n") else "\n"
    return after if _MARK in before else after.replace(f' {_MARK}="ignore"', "")


def _place(html: str) -> int | None:
    """Where the bytes that are no characters can be hidden; None: there are none."""
    if not _HALVES.search(html):
        return None
    for place in _PLACES:
        if not any(chr(place + byte) in html for byte in range(0x80, 0x100)):
            return place
    raise ContentError(
        "inlinecss: the HTML has bytes that are no characters, and all characters that could stand for them"
    )


def _hidden(html: str, place: int | None) -> str:
    return html if place is None else _HALVES.sub(lambda found: chr(ord(found[0]) - 0xDC00 + place), html)


def _shown(html: str, place: int | None) -> str:
    if place is None:
        return html
    return re.sub(f"[{chr(place + 0x80)}-{chr(place + 0xFF)}]", lambda found: chr(ord(found[0]) - place + 0xDC00), html)
