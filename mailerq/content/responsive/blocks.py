"""Each block that has no blocks in it, as MJML. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailerq.content.responsive.block_shapes import (
    Block,
    Button,
    Heading,
    Html,
    Image,
    LinkBlock,
    Separator,
    Spacer,
    TextBlock,
    Video,
)
from mailerq.content.responsive.kinds import Extent, Pairs, Sides
from mailerq.content.responsive.page import (
    AROUND,
    Around,
    Page,
    both,
    font_attributes,
    font_css,
    font_of,
    frame,
    own,
)
from mailerq.content.responsive.social import Follow, Icon, Share, label_of
from mailerq.content.responsive.urls import Link
from mailerq.content.responsive.videos import youtube_still
from mailerq.content.responsive.writing import Extra, mjml

_NONE = Sides()
_HEADINGS = {1: ("32px", "1.25"), 2: ("26px", "1.3"), 3: ("22px", "1.3"), 4: ("19px", "1.4"), 5: ("16px", "1.4")}
_SMALLEST = ("14px", "1.4")
_CORNERS = {"default": "0", "radius": "4px", "round": "500px"}
_BUTTON = Sides(12, 24, 12, 24)
_PLAIN_LINK: Pairs = (("color", "#2a6db0"),)


def leaf(page: Page, block: Block, around: Around) -> str:
    """A block as MJML that can stand in a column."""
    return _WRITERS[type(block)](page, block, around)


def _anchor(page: Page, link: Link, block: Any, label: str, *, css: Pairs, extra: Extra, title: str = "") -> str:
    """A link in HTML; ``label`` is HTML or a mark."""
    attributes = {"href": page.url(link, block.rewrite), "target": "_blank"}
    if link.title or title:
        attributes["title"] = link.title or title
    return page.writing.element("a", attributes, css, label, both(Extra(attributes=link.attributes), extra))


def _text(page: Page, block: TextBlock, around: Around) -> str:
    content = block.content or block.source or page.body_text(block.url)
    return _words(page, block, around, page.writing.lines(content, own(block)))


def _html(page: Page, block: Html, around: Around) -> str:
    content = page.html(block.content or block.source or page.body_text(block.url), block.rewrite)
    return _words(page, block, around, page.writing.html(content, own(block)))


def _words(page: Page, block: Any, around: Around, content: str, font: Any = None) -> str:
    cell, _ = frame(page, block, around)
    used = font or font_of(block.font, around.font)
    return mjml("mj-text", {**cell, **font_attributes(page, used), "align": block.align}, content)


def _heading(page: Page, block: Heading, around: Around) -> str:
    size, height = _HEADINGS.get(block.size or 1, _SMALLEST)
    base = font_of(None, around.font)
    font = font_of(block.font, type(base)(base.family, size, height, base.color, "bold"))
    css = (("margin", "0"), *font_css(font), ("text-align", block.align))
    content = page.writing.lines(block.content)
    if block.link:
        css_of_link = (("color", font.color), ("text-decoration", "none"))
        content = _anchor(page, block.link, block, content, css=css_of_link, extra=Extra())
    element = page.writing.element(f"h{block.size or 1}", {}, css, content, own(block))
    return _words(page, block, around, page.writing.html(element), font)


def _link(page: Page, block: LinkBlock, around: Around) -> str:
    link = block.link or Link()
    label = page.writing.lines(block.label or link.label or block.title or link.url)
    font = font_of(block.font, around.font)
    css: Pairs = (("color", block.font.color),) if block.font and block.font.color else _PLAIN_LINK
    element = _anchor(page, link, block, label, css=css, extra=both(own(block), block.a), title=block.title)
    return _words(page, block, around, page.writing.html(element), font)


def _button(page: Page, block: Button, around: Around) -> str:
    cell, _ = frame(page, block, around)
    colours = font_of(None, around.font)
    base = type(colours)(colours.family, colours.size, "1.25", "#ffffff", "bold")
    size = block.size or _BUTTON
    attributes = {
        **cell,
        **font_attributes(page, font_of(block.font, base)),
        "align": block.align,
        "background-color": page.writing.value(block.color),
        "border-radius": _CORNERS[block.corners],
        "inner-padding": f"{size.top}px {size.right}px {size.bottom}px {size.left}px",
    }
    extra = both(own(block), block.a)
    if block.link is None:
        return mjml("mj-button", attributes, page.writing.lines(block.label, extra))
    extra = both(Extra(attributes=block.link.attributes), extra)
    attributes["href"] = page.writing.text(page.url(block.link, block.rewrite), extra)
    if block.link.title:
        attributes["title"] = page.writing.text(block.link.title)
    return mjml("mj-button", attributes, page.writing.lines(block.label or block.link.label))


def _separator(page: Page, block: Separator, around: Around) -> str:
    cell, _ = frame(page, block, around, AROUND, own(block))
    attributes = {
        "border-width": f"{block.height or 0}px",
        "border-style": block.style,
        "border-color": page.writing.value(block.color),
    }
    return mjml("mj-divider", {**cell, **attributes})


def _spacer(page: Page, block: Spacer, around: Around) -> str:
    cell, _ = frame(page, block, around, _NONE)
    return mjml("mj-spacer", {**cell, "height": f"{block.height or 0}px"})


def _image(page: Page, block: Image, around: Around) -> str:
    cell, room = frame(page, block, around, _NONE)
    shown = _shown(room, page.size_of(block.src), block.width, block.height)
    return _picture(page, block, cell, shown, src=block.src, link=block.link)


def _video(page: Page, block: Video, around: Around) -> str:
    cell, room = frame(page, block, around, _NONE)
    youtube = None if block.thumbnail else youtube_still(block.url)
    src = block.thumbnail or youtube or page.stills.get(block.url, "")
    return _picture(page, block, cell, (room, None), src=src, link=block.link or Link(block.url))


def _picture(
    page: Page, block: Any, cell: dict[str, str], shown: tuple[int, int | None], *, src: str, link: Link | None
) -> str:
    page.images += 1
    is_image = isinstance(block, Image)
    attributes = {
        **cell,
        "src": page.writing.text(src, both(own(block), block.img) if is_image else own(block)),
        "alt": page.writing.text(block.alt or ("" if is_image else "Video")),
        "align": block.align,
        "width": f"{shown[0]}px",
        "height": f"{shown[1]}px" if shown[1] else "",
    }
    if link is not None:
        of_link = Extra(attributes=link.attributes)
        attributes["href"] = page.writing.text(
            page.url(link, block.rewrite), both(of_link, block.a) if is_image else of_link
        )
        if link.title:
            attributes["title"] = page.writing.text(link.title)
    return mjml("mj-image", attributes)


def _shown(
    room: int, real: tuple[int, int] | None, width: Extent | None, height: Extent | None
) -> tuple[int, int | None]:
    """How wide an image is shown, and how high where that does not follow: never wider than the room there is."""
    if width is not None:
        wanted = room * width.amount / 100 if width.percent else width.amount
        high = None if height is None or height.percent else int(height.amount)
        return max(min(int(wanted), room), 1), high
    if real is None:
        return room, None if height is None or height.percent else int(height.amount)
    if height is not None and not height.percent:
        return max(min(int(real[0] * height.amount / real[1]), room), 1), None
    return min(real[0], room), None


def _labels(page: Page, block: Any, around: Around, places: list[tuple[str, str, Pairs]], rules: Any = ()) -> str:
    """A label above, and coloured labels that are links."""
    writing, icon = page.writing, block.icon
    anchors = [_place(page, icon, name, url, attributes) for name, url, attributes in places]
    above = (
        f"{writing.element('div', {}, (('padding-bottom', '8px'),), writing.lines(block.label))}" if block.label else ""
    )
    content = above + " ".join(anchors)
    return _words(page, block, around, writing.html(content, own(block)))


def _place(page: Page, icon: Icon, platform: str, url: str, attributes: Pairs) -> str:
    name, colour = label_of(platform)
    size = max(icon.size or 0, 16)
    css = (
        ("display", "inline-block"),
        ("background-color", "#5a6470" if icon.type == "grey" else colour),
        ("color", "#ffffff"),
        ("font-size", f"{min(max(size * 4 // 9, 11), 20)}px"),
        ("line-height", f"{size}px"),
        ("font-weight", "bold"),
        ("padding", f"0 {max(size * 3 // 8, 8)}px"),
        ("margin", "0 4px 8px 0"),
        ("border-radius", f"{icon.radius}px"),
        ("text-decoration", "none"),
        ("white-space", "nowrap"),
    )
    written = {"href": url, "target": "_blank"}
    return page.writing.element("a", written, css, page.writing.text(name), Extra(attributes=attributes))


def _follow(page: Page, block: Follow, around: Around) -> str:
    places = [(one.platform, one.url, one.attributes) for one in block.platforms]
    return _labels(page, block, around, places)


def _share(page: Page, block: Share, around: Around) -> str:
    shared = page.url(block.link, ()) if block.link else ""
    special = {"facebook": block.facebook.attributes, "twitter": block.twitter.attributes}
    places = [(name, block.url_at(name, shared), special.get(name, ())) for name in block.platforms]
    return _labels(page, block, around, places)


_WRITERS: dict[type[Block], Callable[[Page, Any, Around], str]] = {
    TextBlock: _text,
    Html: _html,
    Heading: _heading,
    LinkBlock: _link,
    Button: _button,
    Separator: _separator,
    Spacer: _spacer,
    Image: _image,
    Video: _video,
    Follow: _follow,
    Share: _share,
}
