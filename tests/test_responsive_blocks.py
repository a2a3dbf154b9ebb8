"""Responsive mail: what each block becomes, and what is wrong with those that become nothing."""

from __future__ import annotations

import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.responsive.image_size import image_size
from mailerq.content.step import ContentError
from tests.descriptions import Web, composed, html, message, part, reasons


def png(width: int, height: int) -> bytes:
    """The beginning of an image."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)


def image(size: tuple[int, int] = (100, 50), **members: Any) -> str:
    """The HTML of an image block."""
    web = Web({"https://example.org/i.png": (png(*size), "image/png")})
    return html({"type": "image", "src": "https://example.org/i.png", **members}, web=web)


def faults(*blocks: Any) -> list[str]:
    """What is wrong with blocks, without the place that is the same for all."""
    return [reason.replace("content.blocks", "") for reason in reasons({"content": {"blocks": list(blocks)}})]


class Images(SynchronousTestCase):
    """How large images are shown."""

    def test_own_width(self) -> None:
        """As wide as they are, but never wider than the room there is."""
        self.assertIn('width="100"', image())
        self.assertIn('width="580"', image((1000, 500)))

    def test_said_width(self) -> None:
        """Percents are of the room, pixels pixels; nothing is downloaded for that."""
        self.assertIn('width="290"', html({"type": "image", "src": "https://example.org/x", "width": "50%"}))
        self.assertIn('width="120"', html({"type": "image", "src": "https://example.org/x", "width": "120px"}))

    def test_said_height(self) -> None:
        """The width follows from a height alone."""
        self.assertIn('width="100"', image((1000, 600), height="60px"))

    def test_in_columns(self) -> None:
        """The room of a column is its part of the twelve."""
        column = {"size": 3, "blocks": [{"type": "image", "src": "https://example.org/x", "width": "100%"}]}
        self.assertIn('width="145"', html({"type": "columns", "columns": [column]}))

    def test_no_image(self) -> None:
        """What is none that we know is as wide as there is room."""
        web = Web({"https://example.org/i.svg": (b"<svg/>", "image/svg+xml")})
        self.assertIn('width="580"', html({"type": "image", "src": "https://example.org/i.svg"}, web=web))

    def test_template(self) -> None:
        """An address that is personalised is not downloaded."""
        self.assertIn(
            'src="https://example.org/{$id}.png"', html({"type": "image", "src": "https://example.org/{$id}.png"})
        )

    def test_tags(self) -> None:
        """Own styles and attributes of the image and of its link."""
        made = image(
            link={"url": "https://example.org/", "title": "T"},
            img={"attributes": {"longdesc": "<l>"}, "css": {"border-color": "red"}},
            a={"attributes": {"rel": "nofollow"}, "css": {"margin-right": "10px"}},
        )
        self.assertRegex(made, r'<img [^>]*longdesc="&lt;l&gt;"[^>]*style="[^"]*;border-color:red"')
        self.assertRegex(made, r'<a href="https://example.org/" [^>]*rel="nofollow"[^>]*style="margin-right:10px"')

    def test_sizes(self) -> None:
        """PNG, GIF, JPEG and the three kinds of WebP."""
        jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08\0\x20\0\x10"
        self.assertEqual(image_size(png(3, 4)), (3, 4))
        self.assertEqual(image_size(b"GIF89a\x05\0\x06\0"), (5, 6))
        self.assertEqual(image_size(jpeg), (16, 32))
        lossy = b"RIFF....WEBPVP8 " + b"\0" * 7 + b"\x9d\x01\x2a" + struct.pack("<HH", 7, 8)
        lossless = b"RIFF....WEBPVP8L" + b"\0" * 4 + b"\x2f" + struct.pack("<I", 8 | 9 << 14)
        extended = b"RIFF....WEBPVP8X" + b"\0" * 8 + b"\x0a\0\0\x0b\0\0"
        self.assertEqual([image_size(body) for body in (lossy, lossless, extended)], [(7, 8), (9, 10), (11, 12)])
        for nothing in (b"", b"\x89PNG\r\n\x1a\n", png(0, 4), b"<svg/>", b"\xff\xd8\xff\xda\0\x02", extended[:-1]):
            self.assertIsNone(image_size(nothing))


class Links(SynchronousTestCase):
    """Where blocks lead."""

    def test_params(self) -> None:
        """Parameters are put into an address, in place of those of the same name."""
        link = {"url": "https://example.org/?a=1&b=2#c", "params": {"b": "x y&", "n": "{$n}"}}
        self.assertIn(
            'href="https://example.org/?a=1&amp;b=x%20y%26&amp;n={$n}#c"', html({"type": "link", "link": link})
        )

    def test_schemes(self) -> None:
        """No address runs anything."""
        for url in ("javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "example.org", "java\tscript:x", ""):
            self.assertIn("[0].link.link", faults({"type": "link", "link": url})[0])
        for url in ("mailto:a@example.org", "tel:+31", "#top", "{$url}", "app://x"):
            self.assertEqual(faults({"type": "link", "link": url, "label": "x"}), [])

    def test_rewrite(self) -> None:
        """The rules are looked at in their order, in links of all blocks and of HTML."""
        rules = [
            {"domain": {"equals": "example.org"}, "params": {"one": "1"}, "protocol": "https"},
            {"path": {"match": "*/page"}, "params": {"two": "2"}, "last": True},
            {"url": {"regex": "^https"}, "params": {"three": "3"}, "unique": True},
            {"domain": {"contains": "other"}, "params": {"four": "4"}},
        ]
        content = (
            "<a href=\"http://example.org/\">a</a> <a class=x href='https://other.example/page'>b</a>"
            '<a href="mailto:x@y">c</a>'
        )
        blocks = [
            {"type": "html", "content": content},
            {"type": "button", "label": "x", "link": "https://other.example/"},
        ]
        made = part(message({"content": {"blocks": blocks}, "rewrite": {"links": rules}}), "text/html")
        self.assertIn('href="https://example.org/?one=1"', made)
        self.assertIn('href="https://other.example/page?two=2"', made)
        self.assertIn('href="mailto:x@y"', made)
        self.assertIn('href="https://other.example/?three=3&amp;four=4"', made)

    def test_slow_rule(self) -> None:
        """A regular expression that may take long is refused."""
        found = reasons({"text": "x", "rewrite": {"links": [{"url": {"regex": "(a+)+b"}}]}})
        self.assertEqual(found, ("rewrite.links[0].url.regex: may take too long on a long address",))

    def test_follow(self) -> None:
        """Names become addresses where that is known, and Google+ is gone."""
        platforms = {"facebook": "example", "twitter": "@x", "reddit": "https://reddit.com/r/x", "googleplus": "x"}
        made = html({"type": "follow", "platforms": platforms})
        for url in ("https://www.facebook.com/example", "https://x.com/x", "https://reddit.com/r/x"):
            self.assertIn(f'href="{url}"', made)
        self.assertNotIn("oogle", made)
        self.assertIn("platforms.blog", faults({"type": "follow", "platforms": {"blog": "x"}})[0])

    def test_share(self) -> None:
        """What is shared is in the address, escaped."""
        made = html(
            {"type": "share", "platforms": ["twitter"], "link": {"url": "https://a.example/?b=c&d", "title": "T & U"}}
        )
        self.assertIn("url=https%3A%2F%2Fa.example%2F%3Fb%3Dc%26d&amp;text=T%20%26%20U", made)


class Layout(SynchronousTestCase):
    """What is around blocks."""

    def test_columns(self) -> None:
        """Columns without a size share what the others leave."""
        made = html({"type": "columns", "columns": [{"size": 6, "blocks": []}, {"blocks": []}, {"blocks": []}]})
        self.assertIn(".mj-column-per-50", made)
        self.assertIn(".mj-column-per-25", made)

    def test_wrong_columns(self) -> None:
        """At most twelve, of twelve in all; none in others."""
        inner = {"type": "columns", "columns": [{"blocks": []}]}
        self.assertIn("1 to 12 columns", faults({"type": "columns", "columns": [{}] * 13})[0])
        self.assertIn("more than 12", faults({"type": "columns", "columns": [{"size": 8}, {"size": 8}]})[0])
        found = faults({"type": "columns", "columns": [{"blocks": [{"type": "container", "blocks": [inner]}]}]})
        self.assertIn("columns cannot be", found[0])

    def test_visibility(self) -> None:
        """What is for the web alone is left out; what is for one device has its class, and a rule for it."""
        block = {"type": "text", "content": "hello"}
        self.assertNotIn("hello", html({**block, "visibility": {"output": "webonly"}}))
        made = html({**block, "visibility": {"device": "mobile"}})
        self.assertIn('class="only-mobile"', made)
        self.assertIn("(min-width:480px){.only-mobile{display:none !important}}", made)
        self.assertNotIn("only-mobile", html(block))

    def test_container_css(self) -> None:
        """The cell of a block has its own styles and attributes."""
        container = {"css": {"border": "solid 1px red"}, "attributes": {"summary": "S"}}
        self.assertRegex(
            html({"type": "text", "content": "x", "container": container}),
            r'<td [^>]*summary="S" style="[^"]*;border:solid 1px red">',
        )

    def test_css_everywhere(self) -> None:
        """So have the element of a block, the content, and the message."""
        made = part(
            message(
                {
                    "css": {"x-a": "1"},
                    "content": {"css": {"x-b": "2"}, "blocks": [{"type": "text", "content": "c", "css": {"x-c": "3"}}]},
                }
            ),
            "text/html",
        )
        for one in (";x-a:1", ";x-b:2", ';x-c:3">c<'):
            self.assertIn(one, made)

    def test_bad_css(self) -> None:
        """A style is one value of one property."""
        block = {"type": "text", "content": "x"}
        for css in ({"a": "b;c:d"}, {"a:b": "c"}, {"a": "b}"}, {"a": {}}, [1]):
            self.assertEqual(len(faults({**block, "css": css})), 1, css)
        self.assertEqual(len(faults({**block, "attributes": {"onclick": "x"}})), 1)

    def test_pixel(self) -> None:
        """The pixel is there where no image is, or where it is forced."""
        pixel = {"pixel": "https://example.org/pixel.gif"}
        picture = [{"type": "image", "src": "https://example.org/x", "width": 10}]
        for blocks, force, there in (([], False, True), (picture, False, False), (picture, True, True)):
            made = part(message({"content": {"blocks": blocks}, "tracking": {**pixel, "force": force}}), "text/html")
            self.assertEqual("pixel.gif" in made, there)

    def test_no_foreign_fonts(self) -> None:
        """Reading a mail asks nobody for fonts."""
        self.assertNotIn("googleapis", html({"type": "text", "content": "x", "font": {"family": "Roboto, Ubuntu"}}))

    def test_no_mjml(self) -> None:
        """MJML in a text is text."""
        made = html({"type": "html", "content": '<mj-include path="/etc/hostname" /><mj-button href="x">'})
        self.assertIn('<mj-include path="/etc/hostname" />', made)


class Faults(SynchronousTestCase):
    """Descriptions that cannot be used."""

    def test_all(self) -> None:
        """All faults are said at once, each with its place, and that is final."""
        with self.assertRaises(ContentError) as caught:
            composed(
                {
                    "from": 5,
                    "content": {"blocks": [{"type": "text"}, {}, {"type": "image", "src": "x.png", "margin": "?"}]},
                }
            )
        self.assertEqual(
            caught.exception.reasons,
            (
                "from: expected an address, got 5",
                "content.blocks[0].text.content: is missing",
                "content.blocks[1].type: is missing",
                "content.blocks[2].image.margin: expected a number of pixels, got '?'",
                "content.blocks[2].image.src: expected an address with http:// or https://, got 'x.png'",
            ),
        )
        self.assertFalse(caught.exception.passing)
        self.assertEqual(caught.exception.what, "mime: from: expected an address, got 5 (and 4 more)")

    def test_unknown_members(self) -> None:
        """They are not looked at, and null is as good as missing."""
        self.assertEqual(
            faults({"type": "text", "content": "x", "new": {"a": 1}, "margin": None, "font": {"b": 2}}), []
        )

    def test_unknown_block(self) -> None:
        """Its type is said; feed, which is none of ours, with what to do."""
        self.assertIn("expected one of button, columns", faults({"type": "banner"})[0])
        self.assertIn("put their articles into blocks", faults({"type": "feed", "url": "https://example.org/"})[0])

    def test_sizes(self) -> None:
        """Negative lengths are 0, those that are too long are cut."""
        self.assertIn("height:0px", html({"type": "spacer", "height": -5}))
        self.assertIn("height:2000px", html({"type": "spacer", "height": 1e300}))
        self.assertEqual(len(faults({"type": "heading", "content": "x", "size": 7})), 1)
