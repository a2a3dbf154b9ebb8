"""The blocks of a description: which members each has. Pure."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Struct

from mailerq.content.responsive.kinds import (
    Align,
    Attributes,
    Colour,
    Css,
    Family,
    FontSize,
    LineHeight,
    Pixels,
    SidesOr,
    Text,
    Weight,
    Width,
    one_of,
)
from mailerq.content.responsive.reading import Reader, Reading, list_of, object_of, read
from mailerq.content.responsive.rewriting import RewriteOr
from mailerq.content.responsive.urls import Fetched, LinkOr, Web
from mailerq.content.responsive.videos import vimeo_question, youtube_still

MOST_BLOCKS = 1000
DEEPEST = 20
"""Containers in containers."""


class Font(Struct, frozen=True, rename="camel"):
    """How letters look; what is empty is as around it."""

    family: Family = ""
    size: FontSize = ""
    line_height: LineHeight = ""
    color: Colour = ""
    weight: Weight = ""


class Background(Struct, frozen=True):
    """What is behind it: a colour."""

    color: Colour = ""


class Element(Struct, frozen=True):
    """Own styles and attributes of an element of the HTML."""

    css: Css = ()
    attributes: Attributes = ()


class Visibility(Struct, frozen=True):
    """Where it is shown."""

    output: Annotated[str, Reader(one_of("always", "mailonly", "webonly"))] = "always"
    device: Annotated[str, Reader(one_of("always", "desktop", "mobile"))] = "always"


FontOr = Annotated[Font | None, object_of(Font)]
BackgroundOr = Annotated[Background | None, object_of(Background)]
ElementOr = Annotated[Element, object_of(Element)]


class Block(Struct):
    """What all blocks may have. ``place``: where it stands, for messages about it."""

    kind: ClassVar[str] = ""
    needed: ClassVar[tuple[str, ...]] = ()
    """Members of which one has to be there."""
    background: BackgroundOr = None
    margin: SidesOr = None
    padding: SidesOr = None
    container: ElementOr = Element()
    css: Css = ()
    attributes: Attributes = ()
    visibility: Annotated[Visibility, object_of(Visibility)] = Visibility()
    place: str = ""


class Button(Block):
    """A link that looks like a button. ``size``: the room around its label."""

    kind = "button"
    label: Text = ""
    link: LinkOr = None
    font: FontOr = None
    color: Colour = "#2a6db0"
    size: SidesOr = None
    corners: Annotated[str, Reader(one_of("default", "radius", "round"))] = "default"
    align: Align = "center"
    a: ElementOr = Element()
    rewrite: RewriteOr = ()


class Heading(Block):
    """A title; ``size`` 1 is the largest."""

    kind = "heading"
    needed = ("content",)
    content: Text = ""
    size: Pixels = 1
    align: Align = "left"
    font: FontOr = None
    link: LinkOr = None
    rewrite: RewriteOr = ()


class Html(Block):
    """HTML as it is, in the message or at ``url``."""

    kind = "html"
    needed = ("content", "source", "url")
    content: Text = ""
    source: Text = ""
    url: Fetched = ""
    font: FontOr = None
    align: Align = "left"
    rewrite: RewriteOr = ()


class TextBlock(Block):
    """Text, in the message or at ``url``."""

    kind = "text"
    needed = ("content", "source", "url")
    content: Text = ""
    source: Text = ""
    url: Fetched = ""
    font: FontOr = None
    align: Align = "left"


class Image(Block):
    """An image. ``width`` and ``height`` of the image itself where they are missing."""

    kind = "image"
    needed = ("src",)
    src: Web = ""
    alt: Text = ""
    align: Align = "left"
    link: LinkOr = None
    width: Width = None
    height: Width = None
    img: ElementOr = Element()
    a: ElementOr = Element()
    rewrite: RewriteOr = ()


class Video(Block):
    """A still of a video at YouTube or Vimeo (or ``thumbnail``) that leads to it."""

    kind = "video"
    needed = ("url",)
    url: Web = ""
    thumbnail: Web = ""
    alt: Text = ""
    align: Align = "left"
    link: LinkOr = None
    rewrite: RewriteOr = ()


class LinkBlock(Block):
    """One link."""

    kind = "link"
    needed = ("link",)
    label: Text = ""
    title: Text = ""
    link: LinkOr = None
    align: Align = "left"
    font: FontOr = None
    a: ElementOr = Element()
    rewrite: RewriteOr = ()


class Separator(Block):
    """A line."""

    kind = "separator"
    color: Colour = "#cccccc"
    style: Annotated[str, Reader(one_of("solid", "dashed", "dotted", "double", "groove", "ridge"))] = "solid"
    height: Pixels = 4


class Spacer(Block):
    """Empty room."""

    kind = "spacer"
    height: Pixels = 50


class Import(Block):
    """Blocks from elsewhere; ``blocks`` once they were downloaded."""

    kind = "import"
    needed = ("url",)
    url: Fetched = ""
    blocks: tuple[Block, ...] | None = None
    in_columns: bool = False


def blocks(value: Any, place: str, reading: Reading) -> tuple[Block, ...]:
    """An array of blocks."""
    if not isinstance(value, list):
        reading.expected(place, "an array of blocks", value)
        return ()
    if reading.depth >= DEEPEST:
        reading.fault(place, f"is more than {DEEPEST} deep")
        return ()
    reading.depth += 1
    found = []
    for number, one in enumerate(value):
        reading.blocks += 1
        if reading.blocks > MOST_BLOCKS:
            if reading.blocks == MOST_BLOCKS + 1:
                reading.fault(f"{place}[{number}]", f"is one block more than the {MOST_BLOCKS} that a message may have")
            break
        found.append(_block(one, f"{place}[{number}]", reading))
    reading.depth -= 1
    return tuple(block for block in found if block is not None)


Blocks = Annotated[tuple[Block, ...], Reader(blocks)]


class Container(Block):
    """Blocks below each other, with one background."""

    kind = "container"
    needed = ("blocks",)
    blocks: Blocks = ()


class Column(Struct):
    """One of the columns: ``size`` twelfths wide."""

    blocks: Blocks = ()
    size: Pixels = None
    background: BackgroundOr = None
    padding: SidesOr = None
    css: Css = ()
    attributes: Attributes = ()


class Columns(Block):
    """Up to twelve columns beside each other; below each other on a phone."""

    kind = "columns"
    needed = ("columns",)
    columns: Annotated[tuple[Column, ...], list_of(Column)] = ()


def _block(value: Any, place: str, reading: Reading) -> Block | None:
    if not isinstance(value, dict):
        reading.expected(place, "an object", value)
        return None
    kind = value.get("type")
    shape = _shape(kind) if isinstance(kind, str) else None
    if shape is None:
        if kind is None:
            reading.fault(f"{place}.type", "is missing")
        elif kind == "feed":
            reading.fault(f"{place}.type", "blocks of type feed are not supported; put their articles into blocks")
        else:
            reading.expected(f"{place}.type", "one of " + ", ".join(sorted(_SHAPES)), kind)
        return None
    place = f"{place}.{shape.kind}"
    if shape is Columns and reading.columns:
        reading.fault(place, "stands in columns itself, where columns cannot be")
        return None
    reading.columns += shape is Columns
    block = read(shape, value, place, reading)
    reading.columns -= shape is Columns
    block.place = place
    if isinstance(block, Import):
        block.in_columns = reading.columns > 0
    if shape.needed and all(value.get(name) is None for name in shape.needed):
        reading.fault(f"{place}.{shape.needed[0]}", "is missing")
    _look_closer(block, reading)
    return block


def _look_closer(block: Block, reading: Reading) -> None:
    """What a member alone does not show."""
    if isinstance(block, Heading) and not 1 <= (block.size or 0) <= 6:
        reading.fault(f"{block.place}.size", "expected 1 to 6")
    if (
        isinstance(block, Video)
        and block.url
        and not (block.thumbnail or youtube_still(block.url) or vimeo_question(block.url))
    ):
        reading.fault(f"{block.place}.url", "is no video at YouTube or Vimeo; give a thumbnail")
    if isinstance(block, Columns):
        sizes = [column.size for column in block.columns]
        if not 1 <= len(sizes) <= 12:
            reading.fault(f"{block.place}.columns", f"expected 1 to 12 columns, got {len(sizes)}")
        elif any(size is not None and not 1 <= size <= 12 for size in sizes):
            reading.fault(f"{block.place}.columns", "expected sizes of 1 to 12")
        elif sum(size or 1 for size in sizes) > 12:
            reading.fault(f"{block.place}.columns", "the sizes are more than 12 in all")


def _shape(kind: str) -> type[Block] | None:
    return _SHAPES.get(kind)


_SHAPES: dict[str, type[Block]] = {}


def known(*shapes: type[Block]) -> None:
    """These are types of blocks."""
    _SHAPES.update({shape.kind: shape for shape in shapes})


known(Button, Heading, Html, TextBlock, Image, Video, LinkBlock, Separator, Spacer, Import, Container, Columns)
