"""Responsive mail: what becomes of a description, as a message and as HTML."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.descriptions import html, message, part, reasons, text


class Messages(SynchronousTestCase):
    """The message around the content."""

    def test_alternative(self) -> None:
        """Blocks give HTML, and a text made from it."""
        made = message(
            {"from": "a@example.org", "subject": "Hi", "content": {"blocks": [{"type": "text", "content": "x"}]}}
        )
        self.assertEqual(made.get_content_type(), "multipart/alternative")
        self.assertEqual([one.get_content_type() for one in made.iter_parts()], ["text/plain", "text/html"])
        self.assertEqual(part(made, "text/plain"), "x\n")

    def test_own_html(self) -> None:
        """A content that is a text is the HTML, as it is."""
        made = message({"from": "a@example.org", "content": "<p class=q>Hello <b>you</b></p>"})
        self.assertEqual(part(made, "text/html"), "<p class=q>Hello <b>you</b></p>\n")


class Escaping(SynchronousTestCase):
    """Texts stay texts."""

    def test_text(self) -> None:
        """A tag in a text is shown, not made."""
        self.assertIn("&lt;script&gt;", html({"type": "text", "content": "<script>"}))

    def test_plain(self) -> None:
        """In the text part it is as it was."""
        self.assertIn("a <b> & c", text({"type": "text", "content": "a <b> & c"}))


class Faults(SynchronousTestCase):
    """Descriptions that cannot be used."""

    def test_all(self) -> None:
        """All faults are said at once, each with its place."""
        found = reasons(
            {
                "from": 5,
                "content": {"blocks": [{"type": "text", "content": "x"}, {}, {"type": "image", "src": "x.png"}]},
            }
        )
        self.assertEqual(
            [reason.partition(":")[0] for reason in found],
            ["from", "content.blocks[1].type", "content.blocks[2].image.src"],
        )
