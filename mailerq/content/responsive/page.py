"""What blocks are written on: the marks, what was downloaded, and what is around a block. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from mailerq.content.responsive.block_shapes import Block, Font
from mailerq.content.responsive.image_size import Size, image_size
from mailerq.content.responsive.kinds import Pairs, Sides
from mailerq.content.responsive.rewriting import Budget, Rules, rewritten, rewritten_html
from mailerq.content.responsive.urls import Link, with_params
from mailerq.content.responsive.writing import Extra, Writing, mjml

WIDTH = 580
NO_EXTRA = Extra()
FONT = Font("Helvetica, Arial, sans-serif", "16px", "1.5", "#222222", "normal")
AROUND = Sides(10, 15, 10, 15)
"""The room around text where a block does not say."""


class Page:
    """One message in the making. ``bodies``: what was downloaded, by URL; ``stills``: addresses of stills of videos."""

    def __init__(self, writing: Writing, rules: Rules, bodies: Mapping[str, bytes], stills: Mapping[str, str]) -> None:
        self.writing = writing
        self.rules = rules
        self.bodies = bodies
        self.stills = stills
        self.images = 0
        self.devices = False
        self._budget = Budget()
        self._sizes: dict[str, Size | None] = {}

    def size_of(self, url: str) -> Size | None:
        """Width and height of an image that was downloaded, if it is one."""
        if url not in self._sizes:
            body = self.bodies.get(url)
            self._sizes[url] = None if body is None else image_size(body)
        return self._sizes[url]

    def body_text(self, url: str) -> str:
        """What was downloaded, as text."""
        return self.bodies.get(url, b"").decode("utf-8-sig", "replace").replace("\x00", " ")

    def url(self, link: Link, rules: Rules) -> str:
        """Where a link leads in the end."""
        return rewritten(with_params(link.url, link.params), (*self.rules, *rules), self._budget)

    def html(self, source: str, rules: Rules) -> str:
        """HTML with its links as they are wanted."""
        return rewritten_html(source, (*self.rules, *rules), self._budget)


class Around(Struct, frozen=True):
    """What is around a block. ``width``: the room that it has, in pixels; ``behind``: the colour there is; ``inside``:
    the colour that a container around it puts behind it ('': none)."""

    width: int = WIDTH
    behind: str = "#ffffff"
    inside: str = ""
    font: Font = FONT


def font_of(font: Font | None, around: Font) -> Font:
    """``font``, and what it leaves out from around it."""
    if font is None:
        return around
    return replace(around, **{name: value for name, value in asdict(font).items() if value})


def font_css(font: Font) -> Pairs:
    """The same in CSS."""
    return (
        ("font-family", font.family),
        ("font-size", font.size),
        ("line-height", font.line_height),
        ("color", font.color),
        ("font-weight", font.weight),
    )


def font_attributes(page: Page, font: Font) -> dict[str, str]:
    """The same in MJML."""
    return {name: page.writing.value(value) for name, value in font_css(font)}


def frame(
    page: Page, block: Block, around: Around, padding: Sides = AROUND, more: Extra = NO_EXTRA
) -> tuple[dict[str, str], int]:
    """Attributes of the cell that a block is in, and the room that is left in it. Its margin is a part of the padding:
    where that can be seen, ``layout.py`` has put the block into room of its own."""
    inner = plus(block.padding or padding, block.margin or Sides())
    attributes = {"padding": f"{inner.top}px {inner.right}px {inner.bottom}px {inner.left}px"}
    if colour := colour_of(block, around):
        attributes["container-background-color"] = page.writing.value(colour)
    attributes |= dressed(page, block, more)
    return attributes, max(around.width - inner.left - inner.right, 20)


def plus(one: Sides, other: Sides) -> Sides:
    """Both together."""
    return Sides(one.top + other.top, one.right + other.right, one.bottom + other.bottom, one.left + other.left)


def colour_of(block: Block, around: Around) -> str:
    """What is put behind a block; '' where nothing is."""
    return (block.background.color if block.background else "") or around.inside


def margin_seen(block: Block, around: Around) -> Sides | None:
    """The margin of a block where it has another colour than what is around it; None: padding does as well."""
    if block.margin is None or block.margin == Sides() or colour_of(block, around) in ("", around.behind):
        return None
    return block.margin


def dressed(page: Page, block: Block, more: Extra) -> dict[str, str]:
    """The ``css-class`` by which a cell gets styles, and by which it is shown on some devices only."""
    device = block.visibility.device
    extra = both(more, block.container)
    if device == "mobile":
        extra = Extra((*extra.css, ("mso-hide", "all")), extra.attributes)
    if device == "always" and not extra.css and not extra.attributes:
        return {}
    page.devices = page.devices or device != "always"
    return {"css-class": page.writing.text("" if device == "always" else f"only-{device}", extra)}


def spacer(page: Page, height: int, colour: str) -> str:
    """Empty room of a colour."""
    if not height:
        return ""
    attributes = {"height": f"{height}px", "padding": "0"}
    return mjml("mj-spacer", {**attributes, "container-background-color": page.writing.value(colour)})


def own(block: Any) -> Extra:
    """A block's own styles and attributes."""
    return Extra(block.css, block.attributes)


def both(first: Extra, second: Any) -> Extra:
    """Those of two."""
    return Extra((*first.css, *second.css), (*first.attributes, *second.attributes))
