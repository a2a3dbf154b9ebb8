"""Responsive mail: the message that a description becomes."""

from __future__ import annotations

import base64
import json

from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.step import ContentError
from tests.descriptions import GALLERY, Web, composed, gallery_web, html, message, part, reasons, text

TEXT = {"blocks": [{"type": "text", "content": "x"}]}
PDF = base64.b64encode(b"%PDF-1.7").decode()


class Messages(SynchronousTestCase):
    """The message around the content."""

    def test_alternative(self) -> None:
        """Blocks give HTML, and a text made from it."""
        made = message({"from": "a@example.org", "subject": "Hi", "content": TEXT})
        self.assertEqual(made.get_content_type(), "multipart/alternative")
        self.assertEqual([one.get_content_type() for one in made.iter_parts()], ["text/plain", "text/html"])
        self.assertEqual(part(made, "text/plain"), "x\n")

    def test_own_html(self) -> None:
        """A content that is a text is the HTML, as it is."""
        made = message({"from": "a@example.org", "content": "<p class=q>Hello <b>you</b></p>"})
        self.assertEqual(part(made, "text/html"), "<p class=q>Hello <b>you</b></p>\n")
        self.assertEqual(part(made, "text/plain"), "Hello **you**\n")

    def test_own_text(self) -> None:
        """A text that is given is the text part; textVersion is an older name."""
        for name in ("text", "textVersion"):
            self.assertEqual(
                part(message({name: "Mine,\nall of it", "content": TEXT}), "text/plain"), "Mine,\nall of it\n"
            )

    def test_text_alone(self) -> None:
        """Without content the message is only its text."""
        made = message({"text": "x"})
        self.assertEqual((made.get_content_type(), made.get_content()), ("text/plain", "x\r\n"))

    def test_nothing(self) -> None:
        """With neither there is no message."""
        self.assertEqual(reasons({"subject": "x"}), ("content: is missing, and there is no text",))

    def test_wire_form(self) -> None:
        """Line ends are CRLF, lines are short, bytes are ASCII."""
        made = composed(
            {"subject": "ü", "content": "<p>" + "lång " * 1000 + "</p>\n.\nFrom me", "headers": {"X-A": "b " * 600}}
        )
        self.assertTrue(made.isascii())
        self.assertEqual(made.count(b"\n"), made.count(b"\r\n"))
        self.assertLessEqual(max(map(len, made.split(b"\r\n"))), 998)

    def test_no_letters_of_ours(self) -> None:
        """A text in another script is in base64, and comes back as it was."""
        made = message({"text": "漢字" * 100})
        self.assertEqual(made["Content-Transfer-Encoding"], "base64")
        self.assertEqual(made.get_content().strip(), "漢字" * 100)

    def test_gallery(self) -> None:
        """All descriptions of the gallery are composed."""
        for path in sorted(GALLERY.glob("*.json")):
            made = message(json.loads(path.read_text(encoding="utf-8")), gallery_web())
            self.assertIn("</html>", part(made, "text/html"), path.name)
            self.assertTrue(path.with_suffix(".png").exists(), path.name)

    def test_same(self) -> None:
        """What is composed again at the same time is the same; at another time only what tells them apart is not."""
        self.assertEqual(composed({"text": "x"}), composed({"text": "x"}))
        self.assertNotEqual(composed({"text": "x"}, seen="1600000000 abc"), composed({"text": "x"}))


class Header(SynchronousTestCase):
    """The fields of the header."""

    def test_fields(self) -> None:
        """Each member is in its field; nobody sees bcc."""
        made = message(
            {
                "from": {"name": "A, B", "address": "a@example.org"},
                "to": [{"name": "Jö", "email": "jo@bücher.example"}, "x@example.net"],
                "cc": "C <c@example.com>",
                "bcc": "secret@example.com",
                "replyTo": "r@example.org",
                "subject": "Grüße",
                "headers": {"X-One": "1", "x-two": ["a", "ü"]},
                "text": "x",
            }
        )
        self.assertEqual(made["From"], '"A, B" <a@example.org>')
        self.assertEqual(made["To"], "Jö <jo@xn--bcher-kva.example>, x@example.net")
        self.assertEqual(
            (made["Cc"], made["Reply-To"], made["Subject"]), ("C <c@example.com>", "r@example.org", "Grüße")
        )
        self.assertEqual((made["X-One"], made.get_all("X-Two")), ("1", ["a", "ü"]))
        self.assertNotIn("secret", made.as_string())

    def test_time(self) -> None:
        """The date is when the job was first taken, or that of the occasion; the identity is of the author's domain."""
        made = message({"from": "a@Example.org", "text": "x"})
        self.assertEqual(made["Date"], "Tue, 14 Nov 2023 22:13:20 +0000")
        self.assertRegex(made["Message-ID"], r"^<[0-9a-f]{24}@example\.org>$")
        self.assertIn("2020", message({"text": "x"}, seen="1600000000 abc")["Date"])

    def test_from_and_to_missing(self) -> None:
        """From is then the envelope, To the recipient."""
        made = message({"text": "x"})
        self.assertEqual((made["From"], made["To"]), ("bounce@example.org", "joe@example.net"))

    def test_no_from(self) -> None:
        """Without an envelope, too, there is none."""
        with self.assertRaises(ContentError) as caught:
            composed({"text": "x"}, envelope=None)
        self.assertEqual(caught.exception.reasons, ("from: is missing, and so is the envelope of the job",))

    def test_own_fields(self) -> None:
        """A field of headers takes the place of ours; those that say how the message is built cannot be had."""
        made = message({"text": "x", "subject": "a", "headers": {"message-id": "<own@example.org>", "Subject": "b"}})
        self.assertEqual((made.get_all("Message-ID"), made.get_all("Subject")), (["<own@example.org>"], ["b"]))
        found = reasons({"text": "x", "headers": {"Content-Type": "a/b", "a b": "c", "Bcc": "d"}})
        self.assertEqual(len(found), 3)

    def test_injection(self) -> None:
        """Line breaks in what goes into the header are refused, each with its place."""
        bad = "a\r\nX-Bad: b"
        found = reasons(
            {
                "from": {"name": bad, "address": "a@example.org"},
                "to": f"{bad}@example.org",
                "subject": bad,
                "headers": {"X-A": bad, bad: "x"},
                "attachments": [{"data": "", "name": bad, "type": bad}],
                "text": "x",
            }
        )
        places = [reason.partition(": ")[0] for reason in found]
        self.assertEqual(places[:4], ["from.name", "to", "subject", "headers.X-A"])
        self.assertEqual(places[-2:], ["attachments[0].name", "attachments[0].type"])

    def test_templates(self) -> None:
        """Tags of the personalisation stay in subjects, names and addresses."""
        made = message(
            {"from": {"name": "{$shop}", "address": "{$mail}"}, "subject": "Hi {$name|ucfirst}", "text": "x"}
        )
        self.assertIn(b"From: {$shop} <{$mail}>".decode(), str(made).replace('"', ""))
        self.assertEqual(made["Subject"], "Hi {$name|ucfirst}")

    def test_non_ascii_local_part(self) -> None:
        """It stays, in UTF-8 (RFC 6532)."""
        self.assertIn("From: jörg@bücher.example\r\n".encode(), composed({"from": "jörg@bücher.example", "text": "x"}))


class Attachments(SynchronousTestCase):
    """Files."""

    def test_data(self) -> None:
        """Base64 in the description; the type by its name where it is not said."""
        made = message({"content": TEXT, "attachments": [{"data": PDF, "name": "a.pdf"}]})
        self.assertEqual(made.get_content_type(), "multipart/mixed")
        (file,) = made.iter_attachments()
        self.assertEqual(
            (file.get_content_type(), file.get_filename(), file.get_content()),
            ("application/pdf", "a.pdf", b"%PDF-1.7"),
        )

    def test_url(self) -> None:
        """Downloaded, with the name and the type that it has there."""
        web = Web({"https://example.org/x/r%C3%A9sum%C3%A9.txt?a=1": (b"hello", "text/plain")})
        made = message({"text": "x", "attachments": [{"url": "https://example.org/x/r%C3%A9sum%C3%A9.txt?a=1"}]}, web)
        (file,) = made.iter_attachments()
        self.assertEqual((file.get_filename(), file.get_content()), ("résumé.txt", "hello"))

    def test_names(self) -> None:
        """Names of any length and script come back (RFC 2231), but without folders."""
        for name, wanted in (
            ("Rechnung für März.pdf", None),
            ("漢字" * 40 + ".pdf", None),
            ('a"b;c.pdf', None),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("x" * 200, None),
        ):
            made = composed({"text": "x", "attachments": [{"data": PDF, "name": name}]})
            self.assertLess(max(map(len, made.split(b"\r\n"))), 90)
            (file,) = message({"text": "x", "attachments": [{"data": PDF, "name": name}]}).iter_attachments()
            self.assertEqual(file.get_filename(), wanted or name)

    def test_long_base64(self) -> None:
        """What is long is read, too; what is none is said."""
        data = base64.b64encode(b"x" * 300_000).decode()
        (file,) = message({"text": "x", "attachments": [{"data": data}]}).iter_attachments()
        self.assertEqual(len(file.get_content()), 300_000)
        for bad in ("?", "?" * 300_000):
            (found,) = reasons({"text": "x", "attachments": [{"data": bad}]})
            self.assertIn("attachments[0].data", found)

    def test_faults(self) -> None:
        """An attachment needs a url or data."""
        self.assertEqual(
            reasons({"text": "x", "attachments": [{"name": "a"}]}), ("attachments[0]: has neither url nor data",)
        )


class Texts(SynchronousTestCase):
    """The text part that is made from the HTML."""

    def test_readable(self) -> None:
        """Links have their addresses, images their text; nothing of the layout is in it."""
        made = text(
            {"type": "heading", "content": "Title"},
            {"type": "image", "src": "https://example.org/a.png", "alt": "A logo", "width": 10},
            {"type": "columns", "columns": [{"blocks": [{"type": "text", "content": "left"}]}, {"blocks": []}]},
            {"type": "button", "label": "Go", "link": "https://example.org/?a=1&b=2"},
        )
        self.assertEqual(made, "# Title\n\nA logo\n\nleft\n\n[Go](https://example.org/?a=1&b=2)\n")

    def test_signs(self) -> None:
        """Signs are as they were written."""
        self.assertEqual(text({"type": "text", "content": "a <b> & c_d * e"}), "a <b> & c_d * e\n")

    def test_templates(self) -> None:
        """So are tags of the personalisation."""
        tag = '{$my_name|default:"*you*"} {if $a > 1}x{/if}'
        self.assertEqual(text({"type": "text", "content": tag}), tag + "\n")


class Personal(SynchronousTestCase):
    """Tags of the personalisation in HTML."""

    def test_html(self) -> None:
        """In an html block they are as they were; elsewhere, where they stand in a text or an address, escaped."""
        tag = '{$a|default:"<b>"}'
        self.assertIn(f"<p>{tag}</p>", html({"type": "html", "content": f"<p>{tag}</p>"}))
        self.assertIn(
            'href="https://example.org/{$path}?q={$q}"',
            html({"type": "link", "link": "https://example.org/{$path}?q={$q}"}),
        )
        self.assertIn("{$a|default:&quot;&lt;b&gt;&quot;}", html({"type": "text", "content": tag}))

    def test_colour(self) -> None:
        """A colour may be one, too."""
        self.assertIn("background:{$colour}", html({"type": "button", "label": "x", "color": "{$colour}"}))
