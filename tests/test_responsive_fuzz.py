"""Descriptions of all sorts: each gives a message or reasons why there is none, in bounded time."""

from __future__ import annotations

import email
import email.policy
import json
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.responsive.block_shapes import MOST_BLOCKS
from mailerq.content.responsive.description import parse
from mailerq.content.responsive.image_size import LARGEST, image_size
from mailerq.content.step import ContentError
from tests.descriptions import Web, composed, html, part, reasons

TYPES = (
    *("button", "columns", "container", "follow", "heading", "html", "image", "import", "link", "separator", "share"),
    *("spacer", "text", "video", "feed", "nothing"),
)
MEMBERS = (
    *("content", "label", "link", "font", "color", "size", "corners", "css", "attributes", "visibility", "container"),
    *("margin", "padding", "background", "blocks", "columns", "platforms", "icon", "src", "alt", "align", "width"),
    *("height", "url", "style", "title", "img", "a", "rewrite", "description", "thumbnail", "facebook", "twitter"),
)
TOP = (
    *("from", "to", "cc", "bcc", "replyTo", "subject", "text", "textVersion", "headers", "attachments", "dkim", "font"),
    *("background", "content", "css", "attributes", "rewrite", "tracking", "data", "name", "description", "version"),
)
NASTY = st.sampled_from(
    (
        *(
            "",
            '"><script>alert(1)</script>',
            "</td></table>",
            "a\r\nX-Bad: 1",
            "{$x}",
            '{$x|default:"<b>"}',
            "{if $a > 1}",
        ),
        *("#fff", "red", "50%", "10", "10px", "center", "https://x.org/?a=1&b={$c}", "javascript:alert(1)", "\x00\x1b"),
        *(
            "<mj-include path='/etc/passwd' />",
            "</mj-text><mj-raw>",
            "]]>",
            "<!-- ",
            "--><b>",
            "&lt;",
            "mq0p1z",
            "é漢🎈",
        ),
        *(
            "https://www.youtube.com/watch?v=zSQCH1qyIDo",
            "https://vimeo.com/12345678",
            "https://web/i",
            "joe@example.org",
        ),
    )
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 3000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | NASTY
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from((*MEMBERS, "url", "top", "color", "address", "email", "data")), inner, max_size=5
        )
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)}, optional={name: VALUES for name in MEMBERS if name not in ("blocks", "columns")}
)
BLOCKS = st.recursive(
    st.lists(BLOCK, max_size=3),
    lambda inner: st.lists(
        st.builds(lambda blocks: {"type": "container", "blocks": blocks, "padding": 5}, inner)
        | st.builds(lambda blocks: {"type": "columns", "columns": [{"blocks": blocks}, {"size": 6}]}, inner)
        | BLOCK,
        max_size=3,
    ),
    max_leaves=6,
)
DESCRIPTIONS = st.fixed_dictionaries(
    {"content": st.builds(lambda blocks: {"blocks": blocks}, BLOCKS) | VALUES},
    optional={name: VALUES for name in TOP if name != "content"},
)
WORDS = st.text(max_size=20) | NASTY
COLOURS = st.sampled_from(("red", "#123", "rgb(1, 2, 3)", "{$colour}"))
PAIRS = st.dictionaries(st.sampled_from(("border", "x-y", "class", "style", "title")), st.sampled_from(("1", "a b")))
ELEMENT = st.fixed_dictionaries({}, optional={"css": PAIRS, "attributes": PAIRS})
SIDES = st.integers(-3, 100) | st.dictionaries(st.sampled_from(("top", "left", "right")), st.integers(0, 50))
LINK = st.fixed_dictionaries(
    {"url": st.sampled_from(("https://x.org/?a=1", "mailto:a@b.c", "{$url}", "#top"))},
    optional={"title": WORDS, "params": st.dictionaries(st.just("p"), WORDS), "attributes": PAIRS},
)
GOOD = {
    "content": WORDS,
    "label": WORDS,
    "alt": WORDS,
    "title": WORDS,
    "description": WORDS,
    "link": LINK,
    "color": COLOURS,
    "background": st.fixed_dictionaries({"color": COLOURS}),
    "css": PAIRS,
    "attributes": PAIRS,
    "margin": SIDES,
    "padding": SIDES,
    "container": ELEMENT,
    "img": ELEMENT,
    "a": ELEMENT,
    "align": st.sampled_from(("left", "center", "right")),
    "width": st.sampled_from((10, "50%", "3000px")),
    "font": st.fixed_dictionaries({}, optional={"color": COLOURS, "size": st.sampled_from((12, "1.5em"))}),
    "visibility": st.fixed_dictionaries({"device": st.sampled_from(("mobile", "desktop", "always"))}),
}
NEEDED = {"src": "https://web/i", "content": "c", "link": "https://x.org/"}
GOOD_BLOCK = st.builds(
    lambda kind, members: {**NEEDED, "type": kind, **members},
    st.sampled_from(("button", "heading", "html", "image", "link", "separator", "spacer", "text")),
    st.fixed_dictionaries({}, optional=GOOD),
)
WEB = Web({"https://web/i": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10", "image/png")})
VOID = ("img", "br", "meta", "link", "hr", "input", "col")


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Each is noted."""
        self.found |= {tag, *(f"@{name}" for name, _ in attrs)}


def outcome(description: Any) -> bytes | None:
    """The message, or None where it was refused with reasons."""
    try:
        return composed(description, WEB)
    except ContentError as error:
        assert error.reasons and all(error.reasons) and error.what.startswith("mime: ")
        return None


class Anything(SynchronousTestCase):
    """Whatever comes in."""

    @settings(max_examples=80, deadline=None)
    @given(VALUES)
    def test_values(self, value: Any) -> None:
        """Any JSON is a description or has reasons why it is none."""
        body = json.dumps(value).encode()
        try:
            parse(body)
        except ContentError as error:
            self.assertTrue(error.reasons)

    @settings(max_examples=80, deadline=None)
    @given(DESCRIPTIONS)
    def test_descriptions(self, description: Any) -> None:
        """What looks like a description gives a message of ASCII header lines, or reasons."""
        made = outcome(description)
        if made is not None:
            header = made.partition(b"\r\n\r\n")[0]
            self.assertNotIn(b"X-Bad", b"\n".join(line[:5] for line in header.split(b"\r\n")))
            self.assertNotIn(b"\n\n", made.replace(b"\r\n", b""))
            self.assertEqual(email.message_from_bytes(made).defects, [])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(GOOD_BLOCK, max_size=4), st.booleans())
    def test_good_ones(self, blocks: list[Any], in_columns: bool) -> None:
        """What has the members that it should have is composed, and no mark stays in it."""
        content = [{"type": "columns", "columns": [{"blocks": blocks}]}] if in_columns else blocks
        made = outcome({"content": {"blocks": [{"type": "container", "padding": 3, "blocks": content}]}})
        assert made is not None
        page = part(email.message_from_bytes(made, policy=email.policy.default), "text/html")  # type: ignore[arg-type]
        self.assertIsNone(re.search(r"mq[0-9a-f]{24}[pt]\d+z", page))

    @settings(max_examples=80, deadline=None)
    @given(st.text(max_size=40) | NASTY, st.sampled_from(("text", "heading", "button", "link", "image")))
    def test_texts_make_nothing(self, said: str, kind: str) -> None:
        """No text of a block makes a tag or an attribute that the block without it does not have."""

        def block(text: str) -> dict[str, Any]:
            link = {"url": "https://x.org/", "title": text or "t", "params": {"a": text or "t"}}
            members = {"content": text, "label": text, "alt": text, "link": link, "src": "https://web/i"}
            return {"type": kind, **members}

        allowed = Tags(html(block("plain"), web=WEB)).found | {"br"}
        self.assertEqual(Tags(html(block(said or "x"), web=WEB)).found - allowed, set())

    @settings(max_examples=80, deadline=None)
    @given(st.text(max_size=60) | NASTY)
    def test_header_texts(self, said: str) -> None:
        """No subject, name or file name makes a header field; what is accepted comes back as it was."""
        description = {
            "from": {"name": said, "address": "a@example.org"},
            "subject": said,
            "text": "x",
            "attachments": [{"data": "", "name": said}],
        }
        made = outcome(description)
        if made is None:
            return
        found = email.message_from_bytes(made, policy=email.policy.default)
        self.assertEqual(str(found["Subject"] or "").strip(), said.strip())
        fields = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"]
        self.assertEqual([name for name in found if name != "Subject"], [name for name in fields if name != "Subject"])

    @settings(max_examples=500, deadline=None)
    @given(
        st.sampled_from(
            (b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"RIFF....WEBPVP8 ", b"RIFF....WEBPVP8X")
        ),
        st.binary(max_size=80),
    )
    def test_images(self, magic: bytes, rest: bytes) -> None:
        """Any bytes have a size that may be, or none."""
        size = image_size(magic + rest)
        self.assertTrue(size is None or all(0 < side <= LARGEST for side in size))


class Bounded(SynchronousTestCase):
    """How much there may be."""

    def test_deep_containers(self) -> None:
        """Containers in containers a thousand deep are refused."""
        for deep in (50, 1000, 100_000):
            body = '{"type":"container","blocks":[' * deep + "]}" * deep
            with self.assertRaises(ContentError) as caught:
                parse(f'{{"content":{{"blocks":[{body}]}}}}'.encode())
            self.assertIn("deep", caught.exception.what)

    def test_many_blocks(self) -> None:
        """Ten thousand blocks are refused at the first that is too many."""
        found = reasons({"content": {"blocks": [{"type": "spacer"}] * 10_000}})
        self.assertEqual(
            found, (f"content.blocks[{MOST_BLOCKS}]: is one block more than the {MOST_BLOCKS} that a message may have",)
        )

    def test_as_many_as_may_be(self) -> None:
        """So many as there may be are composed."""
        self.assertEqual(html(*[{"type": "text", "content": "x"}] * MOST_BLOCKS).count(">x<"), MOST_BLOCKS)

    def test_many_faults(self) -> None:
        """Of a thousand faults the first fifty are listed."""
        found = reasons({"content": {"blocks": [{}] * 1000}})
        self.assertEqual((len(found), found[-1]), (51, "and 950 more"))

    def test_half_of_a_pair(self) -> None:
        """Half of a surrogate pair is no text."""
        with self.assertRaises(ContentError) as caught:
            parse(b'{"text": "\\ud83d"}')
        self.assertIn("surrogate", caught.exception.what)

    def test_styles_of_many(self) -> None:
        """Styles that many cells share cannot make a message of any length."""
        css = {f"x{number}": "y" * 500 for number in range(100)}
        columns = {"type": "columns", "columns": [{"blocks": [{"type": "spacer"}]}]}
        deep = {"type": "container", "css": css, "blocks": [columns] * 490}
        self.assertIn("its HTML has more", reasons({"content": {"blocks": [deep]}})[0])

    def test_many_rules(self) -> None:
        """Rules for links take bounded time in all."""
        rule = {"url": {"regex": "a+b"}, "params": {"x": "y"}}
        link = f"<a href='http://example.org/{'a' * 500}'>x</a>"
        found = reasons({"content": link * 2000, "rewrite": {"links": [rule] * 50}})
        self.assertEqual(found, ("rewrite: the rules are too many, or too slow, for so many links",))

    def test_long_brackets(self) -> None:
        """Texts full of what may begin a tag take no longer than others."""
        for said in (
            "{$" * 50_000,
            "<a href" * 20_000,
            '<a href="' * 20_000,
            "{$a" + '"' * 100_000,
            "<img alt=" * 20_000,
        ):
            self.assertTrue(part_of(said))


def part_of(said: str) -> str:
    """The HTML of a text, as a block and as HTML."""
    rules = {"links": [{"params": {"a": "b"}}]}
    return html({"type": "html", "content": said, "rewrite": rules}, {"type": "text", "content": said})
