"""MJML of which every word is ours: what comes from a description is put in behind marks. Pure.

No text of a description is ever read as MJML, or as HTML where it is not meant to be: the MJML has a mark in its place,
the HTML made from it still has the mark, and only then what is meant is put there, escaped (``Writing.fill``). So it
cannot open a tag, end an attribute, or make MJML load something. Tags of the personalisation are put in last of all:
the making of a text part does not change them, and in HTML they may be escaped like all else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from msgspec import Struct

from mailerq.content.responsive.kinds import Pairs
from mailerq.content.responsive.tags import pieces

LONGEST = 64_000_000
"""Characters of HTML."""
MOST_TAGS = 20_000
"""Tags in a message; more are text like any other while the text part is made."""
_SAFE = re.compile(r"[A-Za-z0-9#., %-]*")
_ATTRIBUTE = re.compile(r'\s([a-zA-Z][\w:-]*)="([^"]*)"')


class TooLong(Exception):
    """The HTML is longer than it may be."""


class Extra(Struct, frozen=True):
    """Styles and attributes for the tag in which, or right behind which, a mark stands."""

    css: Pairs = ()
    attributes: Pairs = ()


class Writing:
    """One message as it is written. ``seed``: a digest of all that comes in, which makes marks that none of it has."""

    def __init__(self, seed: str) -> None:
        self._mark = f"mq{seed}"
        self._puts: list[str] = []
        self._extras: dict[str, Extra] = {}
        self._known: dict[str, str] = {}
        self._tags: list[tuple[str, str]] = []
        self._put = re.compile(self._mark + r"p(\d+)z")
        self._tag = re.compile(self._mark + r"t(\d+)z")
        self._marked = re.compile(
            r"<([a-z][a-z0-9]*)((?:\s[a-zA-Z][\w:-]*=\"[^\"<>]*\")*)\s?(/?)>(?=(" + self._mark + r"p\d+z)?)"
        )

    def text(self, text: str, extra: Extra | None = None) -> str:
        """A mark for a text, in an element or in an attribute."""
        return self._new(self._escaped(text), extra)

    def lines(self, text: str, extra: Extra | None = None) -> str:
        """The same, with its line breaks."""
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        return self._new(self._escaped(text).replace("\n", "<br />"), extra)

    def html(self, html: str, extra: Extra | None = None) -> str:
        """A mark for HTML as it is."""
        return self._new("".join(self._tagged(piece, piece) if tag else piece for piece, tag in pieces(html)), extra)

    def value(self, text: str) -> str:
        """A value for an attribute of MJML: as it is where it can do no harm, else a mark."""
        return text if _SAFE.fullmatch(text) else self.text(text)

    def element(
        self, name: str, attributes: Mapping[str, str], css: Pairs, content: str, extra: Extra | None = None
    ) -> str:
        """HTML of one element; ``content`` is HTML or marks."""
        merged, style = dict(attributes), _style(css)
        for key, value in extra.attributes if extra else ():
            if key.lower() == "style":
                style = f"{style};{value}"
            else:
                merged[key.lower()] = value
        if extra and extra.css:
            style = f"{style};{_style(extra.css)}"
        written = [f' {key}="{self.text(value)}"' for key, value in merged.items()]
        if style:
            written.append(f' style="{self.text(style.strip(";"))}"')
        return f"<{name}{''.join(written)}>{content}</{name}>"

    def _once(self, text: str) -> str:
        """The same mark for the same text."""
        mark = self._known.get(text)
        if mark is None:
            mark = self._known[text] = self.text(text)
        return mark

    def _escaped(self, text: str) -> str:
        return "".join(self._tagged(piece, escape(piece)) if tag else escape(piece) for piece, tag in pieces(text))

    def _new(self, html: str, extra: Extra | None) -> str:
        mark = f"{self._mark}p{len(self._puts)}z"
        self._puts.append(html)
        if extra is not None and (extra.css or extra.attributes):
            self._extras[mark] = extra
        return mark

    def _tagged(self, tag: str, in_html: str) -> str:
        if len(self._tags) >= MOST_TAGS:
            return in_html
        self._tags.append((in_html, tag))
        return f"{self._mark}t{len(self._tags) - 1}z"

    def dress(self, html: str) -> str:
        """``html`` with the styles and attributes that go with its marks."""
        return self._marked.sub(self._dressed, html) if self._extras else html

    def _dressed(self, found: re.Match[str]) -> str:
        marks = self._put.finditer(found[2])
        extras = [self._extras[mark] for mark in [*(mark[0] for mark in marks), found[4]] if mark in self._extras]
        if not extras:
            return found[0]
        attributes = dict(_ATTRIBUTE.findall(found[2]))
        style = attributes.pop("style", "")
        for extra in extras:
            for name, value in extra.attributes:
                if name.lower() == "style":
                    style = f"{style.rstrip(';')};{self._once(value)}"
                elif name.lower() == "class":
                    attributes["class"] = f"{attributes.get('class', '')} {self._once(value)}".strip()
                else:
                    attributes[name.lower()] = self._once(value)
            style = ";".join(filter(None, [style.rstrip(";"), self._once(_style(extra.css)) if extra.css else ""]))
        if style:
            attributes["style"] = style
        written = "".join(f' {name}="{value}"' for name, value in attributes.items())
        return f"<{found[1]}{written}{' /' if found[3] else ''}>"

    def fill(self, html: str) -> str:
        """``html`` with what the marks stand for; tags are still marks. Raises TooLong."""
        for _ in range(4):  # what was put in may have marks itself: elements in elements
            if sum(len(self._puts[int(mark[1])]) for mark in self._put.finditer(html)) > LONGEST:
                raise TooLong
            html, count = self._put.subn(lambda mark: self._puts[int(mark[1])], html)
            if not count:
                break
        return html

    def fill_tags(self, html: str) -> str:
        """HTML with the tags."""
        return self._tag.sub(lambda mark: self._tags[int(mark[1])][0], html)

    def fill_tags_of_text(self, text: str) -> str:
        """A text with the tags."""
        return self._tag.sub(lambda mark: self._tags[int(mark[1])][1], text)


def _style(css: Iterable[tuple[str, str]]) -> str:
    return ";".join(f"{name}:{value}" for name, value in css)


def mjml(name: str, attributes: Mapping[str, str], content: str = "") -> str:
    """One element of MJML. The values and the content are ours, or marks."""
    written = "".join(f' {key}="{value}"' for key, value in attributes.items() if value)
    return f"<{name}{written}>{content}</{name}>"
