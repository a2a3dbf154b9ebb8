"""The step ``inlinecss``: CSS goes into tags; nothing is loaded; hostile HTML is a mail that has failed."""

from __future__ import annotations

import base64
import json
import os
import quopri
import signal
import socket
from email import message_from_bytes, policy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailerq.content import inline_css
from mailerq.content.apart import Apart, ApartError
from mailerq.content.inline_css import LARGEST, InlineCss, in_message, inlined
from mailerq.content.step import ContentError, IContentStep, Occasion
from mailerq.job import Job, read

STYLE = "<style>p {color: red}</style>"
HTML = f"<html><head>{STYLE}</head><body><p>Grüße, {{$name}}</p></body></html>"
PIECES = [
    "<style>",
    "</style>",
    "<p>",
    "<b a=1>",
    "p{",
    "}",
    "a:b",
    "@media x{",
    "<!--",
    "-->",
    "<![if x]>",
    "&amp;",
    "é",
    "\r\n",
]
PIECES += [
    "<table>",
    "<td>",
    "</table>",
    "<style media=x>",
    "\0",
    "\udcff",
    "\U0010fe80",
    "<svg>",
    "<script>",
    "<!doctype x>",
    "{$x}",
]


def part(html: str, encoding: str = "8bit", charset: str = "utf-8") -> bytes:
    """A text/html part, or message."""
    content = html.encode(charset)
    if encoding == "base64":
        content = base64.encodebytes(content).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        content = quopri.encodestring(content).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + content


def html_of(message: bytes) -> str:
    """What the html part of a message says, by the standard library."""
    parsed: Any = message_from_bytes(message, policy=policy.default)
    return next(str(one.get_content()) for one in parsed.walk() if one.get_content_type() == "text/html")


class Inlined(SynchronousTestCase):
    """HTML texts."""

    def one(self, html: str) -> str:
        return inlined([html])[0]

    def test_style(self) -> None:
        """What can stand in an attribute does, before what stands there; it leaves its block."""
        made = self.one(f'{STYLE}<p>a</p><p style="color: blue">b</p>')
        self.assertEqual(made.count("color: red"), 1 + made.count("color: red;color: blue"))
        self.assertIn('<p style="color: red;">a</p>', made)
        self.assertIn("color: blue", made)
        self.assertNotIn("p {", made)

    def test_what_no_attribute_can_say(self) -> None:
        """Stays in its block: @media, @font-face, :hover, what no tag fits."""
        rules = ["@media (max-width: 600px)", "@font-face", "a:hover", "[data-ogsc] .x", "p::before"]
        css = "@font-face {font-family: F; src: url(https://x.example/f)}" + "".join(
            f"{rule} {{color: blue}}" for rule in ("a:hover", "[data-ogsc] .x", "p::before")
        )
        made = self.one(f"<style>p{{a:b}}{css}@media (max-width: 600px) {{p {{width: 1px}}}}</style><p><a>x</a></p>")
        for rule in rules:
            self.assertIn(rule, made.partition("<body")[0])
        self.assertNotIn("blue", made.partition("<body")[2])

    def test_media_of_a_block(self) -> None:
        """A block that is not for every screen is left alone, and told of no mark."""
        block = '<style media="only screen and (max-width: 600px)">p {color: blue}</style>'
        made = self.one(f"{STYLE}{block}<p>a</p>")
        self.assertIn(block, made)
        self.assertIn('<p style="color: red;">', made)
        self.assertIn("color: blue;", self.one(f"{block.replace('only screen and (max-width: 600px)', 'screen')}<p>a"))
        self.assertIn('data-css-inline="ignore"', self.one(f'{STYLE}<style data-css-inline="ignore">i{{}}</style>'))

    def test_templates(self) -> None:
        """Variables stay as they are."""
        made = self.one(STYLE + '<p><a href="{$url}">{$name}</a>{$a.b[4]|default("x")}</p>')
        for variable in ('href="{$url}"', "{$name}", '{$a.b[4]|default("x")}'):
            self.assertIn(variable, made)

    def test_for_mail_programs(self) -> None:
        """The document type and conditional comments of both kinds stay as they are."""
        doctype = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/x.dtd">'
        comments = ["<!--[if mso]><table><tr><td><style>p{}</style><![endif]-->", "<![if !mso]>", "<![endif]>"]
        made = self.one(f"{doctype}\n{STYLE}<p>{comments[0]}a{comments[1]}b{comments[2]}</p>")
        self.assertTrue(made.startswith(doctype))
        for comment in comments:
            self.assertIn(comment, made)

    def test_nothing_is_loaded(self) -> None:
        """Neither links nor imports nor images are fetched, and no file is read: they stay as they are."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        made = self.one(
            f'<base href="{url}/"><link rel="stylesheet" href="{url}/a.css"><link rel=stylesheet href=b>'
            f'<link rel="stylesheet" href="/etc/passwd"><link rel="stylesheet" href="file:///etc/passwd">'
            f'<style>@import url("{url}/c.css"); @import "{url}/d.css"; p {{background: url({url}/e.png)}}</style>'
            f'<body background="{url}/f.png"><p>x<img src="{url}/g.png"></p></body></html>'
        )
        self.assertRaises(BlockingIOError, server.accept)
        for name in ("a.css", "c.css", "d.css", "e.png", "f.png", "g.png", "file:///etc/passwd"):
            self.assertIn(name, made)
        self.assertNotIn("root:", made)

    def test_hostile(self) -> None:
        """What would bring the process down brings down one that is there for it: the mail has failed for good, and
        the next one works."""
        many = "<p>" + "".join(f"<b a={number}>" for number in range(3000))
        for html in ("<div>" * 15_000, many + "<p>x" * 20_000, many + "<p>x" * 250):
            with self.assertRaises(ContentError) as caught:
                inlined([STYLE + html])
            error = caught.exception
            self.assertTrue(error.what.startswith("inlinecss: "))
            self.assertFalse(error.passing)
            self.assertIn("color: red", self.one(STYLE + "<p>x"))

    def test_size(self) -> None:
        """More than any mail has is not tried."""
        error = self.assertRaises(ContentError, inlined, ["x" * LARGEST, "y"])
        self.assertIn("characters of HTML", error.what)

    @settings(deadline=None, max_examples=300)
    @given(some.lists(some.sampled_from(PIECES) | some.text(max_size=4), max_size=30).map("".join))
    def test_any_html(self, html: str) -> None:
        """Any text is HTML, and has an answer."""
        text = "".join(sign for sign in html if not "\ud800" <= sign <= "\udc7f" and not "\udd00" <= sign <= "\udfff")
        self.assertIsInstance(self.one(text), str)


class Messages(SynchronousTestCase):
    """Messages with such texts."""

    def test_encodings(self) -> None:
        """In each transfer encoding and charset the text stays what it was, but for its CSS; so does the encoding."""
        for charset in ("utf-8", "iso-8859-1"):
            for encoding in ("8bit", "quoted-printable", "base64"):
                made = in_message(b"From: a@x\r\n" + part(HTML, encoding, charset), True)
                self.assertIn('<p style="color: red;">Grüße, {$name}</p>', html_of(made))
                self.assertIn(f"charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n".encode(), made)

    def test_bytes_that_are_no_characters(self) -> None:
        """Text without charset keeps its bytes, whatever they are."""
        made = in_message(
            b"Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            + f"{STYLE}<p>\U0010fe80".encode()
            + b"\xff",
            True,
        )
        self.assertIn(b'<p style="color: red;">\xf4\x8f\xba\x80\xff', made)

    def test_other_parts(self) -> None:
        """All other parts keep their bytes, attached HTML too; line ends stay of one kind."""
        attached = part(HTML).replace(b"8bit\r\n", b"8bit\r\nContent-Disposition: attachment\r\n")
        others = [b"Content-Type: text/plain\r\n\r\n<style>p{}</style> {text}", attached, b"\r\n\0\xff binary"]
        pieces = [others[0], part(HTML.replace("><", ">\r\n<")), *others[1:]]
        message = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\npre"
        message += b"".join(b"\r\n--B\r\n" + piece for piece in pieces) + b"\r\n--B--\r\nepilogue"
        made = in_message(message, True)
        for other in others:
            self.assertIn(b"\r\n--B\r\n" + other + b"\r\n--B", made)
        self.assertTrue(made.startswith(message[: message.index(others[0])]))
        self.assertTrue(made.endswith(b"\r\n--B--\r\nepilogue"))
        self.assertEqual(made.count(b"\n"), made.count(b"\r\n"))
        self.assertIn('<p style="color: red;">', html_of(made))

    def test_untouched(self) -> None:
        """A message without style blocks is the same object."""
        for message in (
            b"",
            b"x",
            part("<p>x</p>"),
            b"Content-Type: text/plain\r\n\r\n<style>p{}</style>",
            b"\xff" * 50,
        ):
            self.assertIs(in_message(message, True), message)

    def test_signed(self) -> None:
        """What is signed is not changed."""
        error = self.assertRaises(ContentError, in_message, b"DKIM-Signature: v=1\r\n" + part(HTML), True)
        self.assertIn("signed", error.what)
        sealed = b"Content-Type: multipart/signed; boundary=B\r\n\r\n--B\r\n" + part(HTML) + b"\r\n--B--\r\n"
        self.assertIs(in_message(sealed, True), sealed)

    @settings(deadline=None, max_examples=150)
    @given(
        some.lists(some.sampled_from([*PIECES, "\r\n--B\r\n", "\r\n--B--", "Content-Type: text/html\r\n\r\n"])).map(
            "".join
        ),
        some.binary(max_size=9),
    )
    def test_any_message(self, text: str, odd: bytes) -> None:
        """Any bytes are a message, or a ContentError."""
        body = text.encode("utf-8", "surrogateescape") + odd
        for head in (
            b"",
            b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n",
            b"Content-Type: text/html\r\n\r\n",
        ):
            try:
                self.assertIsInstance(in_message(head + body, bool(len(odd) % 2)), bytes)
            except ContentError as error:
                self.assertTrue(error.what.startswith("inlinecss: "))


class Step(SynchronousTestCase):
    """The step itself."""

    def test_step(self) -> None:
        """It is one, for jobs that ask for it, and in a thread."""
        step = InlineCss()
        verifyObject(IContentStep, step)
        self.assertTrue(step.slow)
        jobs = [
            read(json.dumps({"recipient": "a@b.c", "mime": "x", "inlinecss": flag}).encode())
            for flag in (True, 1, False, 0)
        ]
        self.assertEqual([isinstance(job, Job) and step.wanted(job, False) for job in jobs], [True, True, False, False])
        assert isinstance(jobs[0], Job)
        self.assertIn(b"style=", step.apply(part(HTML), jobs[0], Occasion(0.0)))

    def test_not_installed(self) -> None:
        """Without the library the error says what to install."""
        inline_css._apart.cache_clear()
        self.addCleanup(inline_css._apart.cache_clear)
        self.patch(__import__("importlib.util").util, "find_spec", lambda name: None)
        error = self.assertRaises(ContentError, inlined, [STYLE])
        self.assertIn("pip install 'mailerq[content]'", error.what)


class Processes(SynchronousTestCase):
    """``Apart``."""

    def setUp(self) -> None:
        self.apart = Apart("mailerq.content.css_apart")
        self.addCleanup(self.apart.close)

    def test_kept(self) -> None:
        """A process is used again; one that ended meanwhile is not."""
        self.apart.call(b"\x90")
        first = self.apart._idle[0]._process
        self.apart.call(b"\x90")
        self.assertIs(self.apart._idle[0]._process, first)
        os.kill(first.pid, signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual(self.apart.call(b"\x90"), b"\x90")
        self.assertIsNot(self.apart._idle[0]._process, first)

    def test_closed(self) -> None:
        """Those that have nothing to do can be ended."""
        self.apart.call(b"\x90")
        process = self.apart._idle[0]._process
        self.apart.close()
        self.assertEqual(process.returncode, 0)

    def test_what_it_says(self) -> None:
        """What the function cannot do is told, and the process goes on."""
        self.assertRaises(ApartError, self.apart.call, b"\xc1")
        self.assertEqual(len(self.apart._idle), 1)

    def test_no_such_module(self) -> None:
        """A process that ends at once is no answer."""
        self.assertRaises(ApartError, Apart("mailerq.content.no_such_module").call, b"x")
