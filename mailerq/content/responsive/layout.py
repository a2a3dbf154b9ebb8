"""Blocks in blocks: containers and columns, as sections of MJML. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

from msgspec.structs import replace

from mailerq.content.responsive.block_shapes import Block, Column, Columns, Container, Import
from mailerq.content.responsive.blocks import leaf
from mailerq.content.responsive.kinds import Sides
from mailerq.content.responsive.page import Around, Page, colour_of, dressed, margin_seen, own, plus, spacer
from mailerq.content.responsive.writing import Extra, mjml

_NONE = Sides()


def sections(page: Page, blocks: tuple[Block, ...], around: Around, inset: Sides = _NONE) -> Iterator[str]:
    """``blocks`` as sections below each other. ``inset``: the room that containers leave at both sides."""
    row: list[str] = []
    for block in _shown(blocks):
        margin = margin_seen(block, around)
        if not isinstance(block, Columns | Container) and margin is None:
            row.append(leaf(page, block, around))
            continue
        if row:
            yield _section(page, around, inset, _column("100%", row))
            row = []
        if isinstance(block, Columns):
            yield _columns(page, block, around, inset)
        elif isinstance(block, Container):
            yield from _container(page, block, around, inset)
        else:
            yield _apart(page, block, around, plus(inset, margin or _NONE))
    if row:
        yield _section(page, around, inset, _column("100%", row))


def _apart(page: Page, block: Block, around: Around, room: Sides) -> str:
    """A block in a section of its own, which has ``room`` around it."""
    margin = block.margin or _NONE
    alone = copy(block)
    alone.margin = None
    width = max(around.width - margin.left - margin.right, 20)
    more = {"padding": f"{room.top}px {room.right}px {room.bottom}px {room.left}px"}
    return _section(page, around, _NONE, _column("100%", [leaf(page, alone, replace(around, width=width))]), more)


def _shown(blocks: tuple[Block, ...]) -> Iterator[Block]:
    """Those that a mail shows, what was imported among them."""
    for block in blocks:
        if block.visibility.output == "webonly":
            continue
        if isinstance(block, Import):
            yield from _shown(block.blocks or ())
        else:
            yield block


def _column(width: str, rows: list[str], more: dict[str, str] | None = None) -> str:
    return mjml("mj-column", {"width": width, "vertical-align": "top", **(more or {})}, "".join(rows))


def _section(page: Page, around: Around, inset: Sides, columns: str, more: dict[str, str] | None = None) -> str:
    attributes = {"padding": f"0 {inset.right}px 0 {inset.left}px", "text-align": "left"}
    if around.inside:
        attributes["background-color"] = page.writing.value(around.inside)
    return mjml("mj-section", {**attributes, **(more or {})}, columns)


def _room(page: Page, height: int, colour: str, around: Around) -> Iterator[str]:
    if height:
        inside = replace(around, inside=colour)
        yield _section(page, inside, _NONE, _column("100%", [spacer(page, height, colour)]))


def _container(page: Page, block: Container, around: Around, inset: Sides) -> Iterator[str]:
    """Its blocks in sections of their own, with its colour behind them and its room around them."""
    padding, margin = block.padding or _NONE, block.margin or _NONE
    colour = colour_of(block, around)
    left, right = padding.left + margin.left, padding.right + margin.right
    inner = Sides(0, inset.right + right, 0, inset.left + left)
    behind = colour or around.behind
    within = replace(around, width=max(around.width - left - right, 40), inside=colour, behind=behind)
    yield from _room(page, margin.top, around.behind, around)
    yield from _room(page, padding.top, behind, around)
    yield from (_class_of(page, block, part) for part in sections(page, block.blocks, within, inner))
    yield from _room(page, padding.bottom, behind, around)
    yield from _room(page, margin.bottom, around.behind, around)


def _class_of(page: Page, block: Block, section: str) -> str:
    """A section of a container, dressed as the container wants it."""
    found = dressed(page, block, own(block))
    if not found or "css-class" in section.partition(">")[0]:
        return section
    return section.replace("<mj-section", f'<mj-section css-class="{found["css-class"]}"', 1)


def _columns(page: Page, block: Columns, around: Around, inset: Sides) -> str:
    padding, margin = block.padding or _NONE, block.margin or _NONE
    sides = plus(padding, margin)
    colour = colour_of(block, around)
    around = replace(around, width=max(around.width - sides.left - sides.right, 40), inside="")
    around = replace(around, behind=colour or around.behind)
    more = {"padding": f"{sides.top}px {sides.right + inset.right}px {sides.bottom}px {sides.left + inset.left}px"}
    if colour:
        more["background-color"] = page.writing.value(colour)
    more |= dressed(page, block, own(block))
    widths = _widths(block.columns)
    written = "".join(
        _one_column(page, column, around, width) for column, width in zip(block.columns, widths, strict=True)
    )
    return _section(page, around, _NONE, written, more)


def _widths(columns: tuple[Column, ...]) -> list[float]:
    """Percents: those without a size share what the others leave."""
    said = sum(column.size or 0 for column in columns)
    open_ones = sum(not column.size for column in columns)
    each = (12 - said) / open_ones if open_ones else 0
    return [100 * (column.size or each) / 12 for column in columns]


def _one_column(page: Page, column: Column, around: Around, percent: float) -> str:
    padding = column.padding or _NONE
    width = int(around.width * percent / 100) - padding.left - padding.right
    colour = column.background.color if column.background else ""
    within = replace(around, width=max(width, 20), behind=colour or around.behind, inside="")
    more = {"padding": f"{padding.top}px {padding.right}px {padding.bottom}px {padding.left}px"}
    if colour:
        more["background-color"] = page.writing.value(colour)
    if column.css or column.attributes:
        more["css-class"] = page.writing.text("", own(column))
    return _column(f"{percent:.4g}%", list(_rows(page, column.blocks, within)), more)


def _rows(page: Page, blocks: tuple[Block, ...], around: Around) -> Iterator[str]:
    """Blocks in a column: no sections, so that a container is its blocks with its colour behind each."""
    for block in _shown(blocks):
        if not isinstance(block, Container):
            yield from _row(page, block, around)
            continue
        padding, margin = block.padding or _NONE, block.margin or _NONE
        colour = colour_of(block, around)
        within = replace(around, inside=colour, behind=colour or around.behind)
        yield spacer(page, margin.top, around.inside or around.behind)
        yield spacer(page, padding.top, colour or around.behind)
        yield from _rows(page, block.blocks, within)
        yield spacer(page, padding.bottom, colour or around.behind)
        yield spacer(page, margin.bottom, around.inside or around.behind)


def _row(page: Page, block: Block, around: Around) -> Iterator[str]:
    """A block in a column. Its margin above and below is room of its own; that at its sides has its colour."""
    margin = margin_seen(block, around)
    if margin is None:
        yield leaf(page, block, around)
        return
    behind = around.inside or around.behind
    alone = copy(block)
    alone.margin = Sides(0, margin.right, 0, margin.left)
    yield from (spacer(page, margin.top, behind), leaf(page, alone, around), spacer(page, margin.bottom, behind))


def wrapper(page: Page, parts: Iterator[str], colour: str, extra: Extra) -> str:
    """All sections, with one colour behind them."""
    attributes = {"padding": "0", "background-color": page.writing.value(colour)}
    if extra.css or extra.attributes:
        attributes["css-class"] = page.writing.text("", extra)
    return mjml("mj-wrapper", attributes, "".join(parts))
