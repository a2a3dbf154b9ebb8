"""A description as HTML that works in mail programs, and as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mailerq.content.responsive.description import Content, Description, refuse
from mailerq.content.responsive.layout import sections, wrapper
from mailerq.content.responsive.page import WIDTH, Around, Page, font_of
from mailerq.content.responsive.plain_text import flat, not_installed, plain_text
from mailerq.content.responsive.rewriting import TooMuch
from mailerq.content.responsive.writing import LONGEST, Extra, TooLong, Writing, mjml

_BEHIND = "#ffffff"
_DEVICES = (
    "<mj-style>@media only screen and (max-width:479px){.only-desktop{display:none !important}}"
    "@media only screen and (min-width:480px){.only-mobile{display:none !important}}</mj-style>"
)


def html_and_text(
    description: Description, seed: str, bodies: Mapping[str, bytes], stills: Mapping[str, str]
) -> tuple[str | None, str]:
    """The HTML (None: there is only text) and the text. ``seed``: a digest of all that goes in. ``bodies``: what was
    downloaded, by URL; ``stills``: the stills of videos that had to be asked for. Raises ContentError."""
    writing = Writing(seed)
    page = Page(writing, description.rewrite, bodies, stills)
    content = description.content
    if content is None:
        return None, description.plain or ""
    try:
        if isinstance(content, str):
            html = source = writing.fill(writing.html(page.html(content, ())))
        else:
            rendered = writing.dress(_rendered(_mjml(page, description, content)))
            html = writing.fill(_with_pixel(rendered, page, description))
            source = flat(html)
    except TooLong:
        raise refuse((f"content: its HTML has more than {LONGEST} characters",)) from None
    except TooMuch:
        raise refuse(("rewrite: the rules are too many, or too slow, for so many links",)) from None
    if description.plain is not None:
        return writing.fill_tags(html), description.plain
    return writing.fill_tags(html), writing.fill_tags_of_text(plain_text(source))


def _mjml(page: Page, description: Description, content: Content) -> str:
    writing = page.writing
    behind = (description.background.color if description.background else "") or _BEHIND
    colour = content.background.color if content.background else ""
    around = Around(behind=colour or behind, font=font_of(description.font, Around().font))
    parts = wrapper(page, sections(page, content.blocks, around), colour, Extra(content.css, content.attributes))
    body = {
        "width": f"{WIDTH}px",
        "background-color": writing.value(behind),
        "css-class": writing.text("", Extra(description.css, description.attributes)),
    }
    head = mjml("mj-title", {}, writing.text(description.subject)) + (_DEVICES if page.devices else "")
    return mjml("mjml", {}, mjml("mj-head", {}, head) + mjml("mj-body", body, parts))


def _rendered(source: str) -> str:
    try:
        import mrml
    except ImportError:
        raise not_installed("mrml") from None
    return mrml.to_html(source, None, mrml.RenderOptions(disable_comments=False, fonts={})).content


def _with_pixel(html: str, page: Page, description: Description) -> str:
    tracking = description.tracking
    if not tracking.pixel or (page.images and not tracking.force):
        return html
    attributes = {"src": tracking.pixel, "alt": "", "width": "1", "height": "1"}
    element = page.writing.element("img", attributes, (("display", "block"), ("border", "0")), "")
    image = element.removesuffix("</img>")
    before, body, after = html.rpartition("</body>")
    return f"{before}{image}{body}{after}"
