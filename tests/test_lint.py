"""What is found wrong with a message: a row for each rule, and none for a good one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256

from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.lint.message import Message, aligned
from mailerq.lint.report import as_json, lines
from mailerq.lint.rule import Finding, Severity
from mailerq.lint.rules import RULES, lint

NOW = 1_790_000_000.0  # 2026-09-21
GOOD = """\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=a; b=eA==; bh=BODY;
 h=from:to:subject:date:message-id:list-unsubscribe:list-unsubscribe-post
From: News <news@example.org>
To: Ann <ann@example.com>
Subject: =?utf-8?q?News_f=C3=BCr_alle?=
Date: Mon, 21 Sep 2026 10:00:00 +0000
Message-ID: <1.2@example.org>
List-Unsubscribe: <https://example.org/u?a=ann>, <mailto:off@example.org>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
List-Id: News <news.example.org>
Feedback-ID: may:ann:news:example
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="o"

--o
Content-Type: multipart/alternative; boundary="i"

--i
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße. Unsubscribe: https://example.org/u
--i
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>Gr=C3=BC=C3=9Fe, this is text enough. <img alt=3D"Logo" src=3D"https://exa=
mple.org/l.png"> <a href=3D"https://www.example.org/u">example.org</a></p>
--i--
--o
Content-Type: application/pdf
Content-Disposition: attachment; filename="a.pdf"
Content-Transfer-Encoding: base64

JVBERi0=
--o--
"""

_BODY = sha256(Relaxed.canonicalize_body(GOOD.partition("\n\n")[2].replace("\n", "\r\n").encode())).digest()
GOOD = GOOD.replace("BODY", base64.b64encode(_BODY).decode())


def of(text: str | bytes, *, envelope: str | None = "b@bounces.example.org", bulk: bool = False) -> list[Finding]:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return lint(Message(raw, now=NOW, envelope=envelope, bulk=bulk))


def without(name: str) -> str:
    """The good message without a field."""
    header, _, body = GOOD.partition("\n\n")
    kept: list[str] = []
    for line in header.split("\n"):
        if line.startswith(" ") and kept and kept[-1] == "":
            continue
        kept.append("" if line.startswith(f"{name}:") else line)
    return "\n".join(line for line in kept if line) + "\n\n" + body


def field(name: str, value: str) -> str:
    """The good message with another value."""
    header, _, body = without(name).partition("\n\n")
    return f"{header}\n{name}: {value}\n\n{body}"


def html(text: str) -> str:
    """The good message with other HTML (quoted-printable)."""
    start, end = GOOD.index("<p>"), GOOD.index("--i--")
    return GOOD[:start] + text.replace("=", "=3D") + "\n" + GOOD[end:]


def swap(old: str, new: str) -> str:
    assert old in GOOD, old
    return GOOD.replace(old, new, 1)


def deep() -> str:
    parts = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(1000))
    return field("X", "y").partition("\nContent-Type")[0] + "\n" + parts


P = "<p>this is text enough, and more"
PLAIN = 'Content-Type: text/plain; charset=utf-8\n\nx\n--i\nContent-Type: text/html; charset="utf-8"\n\n'
SIGNATURE = GOOD.partition("\nFrom")[0].partition(": ")[2]
ROWS: list[tuple[str, str | bytes]] = [
    ("from-missing", without("From")),
    ("from-invalid", field("From", "News")),
    ("from-invalid", field("From", "News <news@localhost>")),
    ("from-several", field("From", "a@example.org, b@example.org")),
    ("from-free-mail", field("From", "a@gmail.com")),
    ("name-is-address", field("From", '"service@bank.example" <a@example.org>')),
    ("reply-to-invalid", field("Reply-To", "nobody")),
    ("date-missing", without("Date")),
    ("date-invalid", field("Date", "yesterday")),
    ("date-invalid", field("Date", "Mon, 99 Sep 99999 10:00:00 +9999")),
    ("date-far", field("Date", "Mon, 21 Sep 2020 10:00:00 +0000")),
    ("date-far", field("Date", "Mon, 21 Sep 2030 10:00:00 +0000")),
    ("message-id-missing", without("Message-ID")),
    ("message-id-invalid", field("Message-ID", "1")),
    ("field-twice", "Subject: x\n" + GOOD),
    ("subject-missing", without("Subject")),
    ("subject-missing", field("Subject", "")),
    ("subject-reply", field("Subject", "RE: your order")),
    ("to-missing", without("To")),
    ("bcc-there", field("Bcc", "x@example.org")),
    ("header-broken", swap("List-Id: News", "no field\nList-Id: News")),
    ("header-eight-bit", field("X-A", "\udcff")),
    ("header-utf8", field("X-A", "ü")),
    ("header-control", field("X-A", "a\x07")),
    ("word-broken", field("X-A", "=?utf-8?b?a?=")),
    ("word-broken", field("X-A", "=?nothing?q?a?=")),
    ("header-large", field("X-A", "\n ".join(["x" * 70] * 2000))),
    ("line-long", swap("Unsubscribe:", "x" * 999 + " Unsubscribe:")),
    ("lone-cr", swap("Unsubscribe:", "a\r Unsubscribe:")),
    ("mixed-ends", swap("To: Ann <ann@example.com>\n", "To: Ann <ann@example.com>\r\n")),
    ("nul", swap("Unsubscribe:", "\0 Unsubscribe:")),
    ("body-missing", GOOD.partition("\n\n")[0] + "\n\n"),
    ("large", swap("JVBERi0=", "\n".join(["JVBE" * 19] * 350_000))),
    ("version-missing", without("MIME-Version")),
    ("type-invalid", swap("application/pdf", "pdf")),
    ("structure", swap("--i--\n", "")),
    ("structure", swap('; boundary="i"', "")),
    ("structure", swap('boundary="i"', 'boundary="other"')),
    ("too-deep", deep()),
    ("encoding-unknown", swap("Encoding: base64", "Encoding: base46")),
    ("encoded-multipart", swap('boundary="i"', 'boundary="i"\nContent-Transfer-Encoding: base64')),
    ("base64-broken", swap("JVBERi0=", "JVBERi0")),
    ("base64-broken", swap("JVBERi0=", "JVBE!Ri0=")),
    ("quoted-broken", swap("Gr=C3=BC", "Gr=XY")),
    ("eight-bit", swap("Encoding: 8bit", "Encoding: 7bit")),
    ("charset-missing", swap("text/plain; charset=utf-8", "text/plain")),
    ("charset-unknown", swap("text/plain; charset=utf-8", "text/plain; charset=utf-9")),
    ("charset-unknown", swap("text/plain; charset=utf-8", "text/plain; charset=zip")),
    ("charset-wrong", swap("text/plain; charset=utf-8", "text/plain; charset=us-ascii")),
    ("plain-missing", swap("text/plain", "text/html")),
    ("plain-empty", swap("Grüße. Unsubscribe: https://example.org/u\n", "\n")),
    (
        "alternatives-order",
        swap("text/plain", "text/x").replace("text/html", "text/plain").replace("text/x", "text/html"),
    ),
    ("program", swap("a.pdf", "a.pdf.EXE")),
    ("unnamed", swap('; filename="a.pdf"', "")),
    ("image-alt", html(P + "<img src='https://x.example/'>")),
    ("image-http", html(P + "<img alt='' src='http://x.example/'>")),
    ("image-inside", html(P + "<img alt='' src='data:image/png;base64,xx'>")),
    ("only-images", html("<img alt='x' src='https://x.example/'>")),
    ("clipped", html(P + "<br>\n" * 30_000)),
    ("active", html(P + "<script>x</script>")),
    ("link-address", html(P + "<a href='https://192.0.2.1/x'>here</a>")),
    ("link-deceives", html(P + "<a href='https://evil.example/x'>https://bank.example/login</a>")),
    ("unsubscribe-missing", without("List-Unsubscribe")),
    ("unsubscribe-invalid", field("List-Unsubscribe", "https://example.org/u")),
    ("unsubscribe-https-missing", field("List-Unsubscribe", "<mailto:off@example.org>")),
    ("unsubscribe-mailto-missing", field("List-Unsubscribe", "<https://example.org/u>")),
    ("one-click-missing", without("List-Unsubscribe-Post")),
    ("one-click-invalid", field("List-Unsubscribe-Post", "yes")),
    ("one-click-alone", field("List-Unsubscribe", "<mailto:off@example.org>")),
    ("one-click-unsigned", field("DKIM-Signature", SIGNATURE.replace("list-unsubscribe-post", "x"))),
    ("unsubscribe-link-missing", html(P).replace(". Unsubscribe:", ".")),
    ("list-id-missing", without("List-Id")),
    ("list-id-invalid", field("List-Id", "news.example.org")),
    ("feedback-id-invalid", field("Feedback-ID", "example")),
    ("dkim-missing", without("DKIM-Signature")),
    ("dkim-unaligned", field("DKIM-Signature", SIGNATURE.replace("example.org", "other.example"))),
    ("dkim-incomplete", field("DKIM-Signature", SIGNATURE.replace("b=eA==;", ""))),
    ("dkim-from", field("DKIM-Signature", SIGNATURE.replace("h=from:", "h="))),
    ("dkim-weak", field("DKIM-Signature", SIGNATURE.replace("sha256", "sha1"))),
    ("dkim-body", swap("Unsubscribe:", "Unsubscribe now:")),
    ("dkim-length", field("DKIM-Signature", SIGNATURE + "; l=5")),
    ("dkim-expired", field("DKIM-Signature", SIGNATURE + "; x=1700000000")),
    ("dkim-fields", field("DKIM-Signature", SIGNATURE.replace(":subject", ""))),
]


class Rules(SynchronousTestCase):
    """Each of them."""

    def test_nothing_to_find(self) -> None:
        """A message as large providers want it has no finding, with any line ends."""
        for end in ("\n", "\r\n"):
            self.assertEqual(of(GOOD.replace("\n", end), bulk=True), [])

    def test_each(self) -> None:
        """Each row has what it is there for."""
        for name, message in ROWS:
            self.assertIn(name, {finding.rule for finding in of(message)}, message[:3000])

    def test_all_have_a_row(self) -> None:
        """No rule is without a row, but for those of the envelope; and no two have the same name."""
        names = [rule.name for rule in RULES]
        self.assertEqual(set(names) - {name for name, _ in ROWS}, {"envelope-unaligned", "dmarc-fails"})
        self.assertEqual(len(names), len(set(names)))

    def test_envelope(self) -> None:
        """The envelope's domain and the signature's are compared with that of From."""
        self.assertEqual([finding.rule for finding in of(GOOD, envelope="a@esp.example")], ["envelope-unaligned"])
        found = of(field("From", "News <a@other.example>"), envelope="a@esp.example")
        self.assertEqual(found[0].rule, "dmarc-fails")
        self.assertEqual(of(GOOD, envelope=""), [])

    def test_bulk(self) -> None:
        """What is demanded of mail to many is an error there, and a warning elsewhere."""
        message = without("List-Unsubscribe-Post")
        for bulk, severity in ((False, Severity.WARNING), (True, Severity.ERROR)):
            (finding,) = of(message, bulk=bulk)
            self.assertEqual((finding.rule, finding.severity), ("one-click-missing", severity))

    def test_lines(self) -> None:
        """A finding names the line, in decoded parts that of nothing."""
        (finding,) = (one for one in of(swap("JVBERi0=", "!")) if one.rule == "base64-broken")
        self.assertEqual(GOOD.split("\n")[finding.line - 1], "Content-Type: application/pdf")

    def test_alignment(self) -> None:
        """Domains are of one organisation if what is registered is the same."""
        for one, other, same in (
            ("example.org", "mail.example.org", True),
            ("a.example.org", "b.example.org", True),
            ("example.co.uk", "other.co.uk", False),
            ("a.example.co.uk", "example.co.uk", True),
            ("example.org", "example.com", False),
            ("", "", False),
        ):
            self.assertEqual(aligned(one, other), same, (one, other))


PIECES = [
    *(
        b"From: ",
        b"Content-Type: ",
        b"multipart/mixed; boundary=",
        b"message/rfc822",
        b"text/html",
        b"; charset=",
        b"x",
    ),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"--x",
        b"--x--",
        b"Content-Transfer-Encoding: ",
        b"base64",
        b"=",
        b"=?utf-8?b?",
    ),
    *(
        b"quoted-printable",
        b"DKIM-Signature: ",
        b"h=a:b; x=9",
        b"Date: ",
        b"List-Unsubscribe: <",
        b"<a href=//[>",
        b"<![x",
    ),
    *(
        b"idna",
        b"unicode_escape",
        b"utf-16",
        b"?=",
        b'"',
        b"*0*=",
        b"'",
        b"\xff",
        b"\0",
        b"Content-Disposition: attachment",
    ),
]
anything = some.lists(some.one_of(some.sampled_from(PIECES), some.binary(max_size=4)), max_size=40).map(b"".join)


class Hostile(SynchronousTestCase):
    """Messages that want to do harm."""

    @settings(max_examples=500, deadline=None)
    @given(anything, some.one_of(some.none(), some.text(max_size=10)))
    def test_never_raises(self, message: bytes, envelope: str | None) -> None:
        """Any bytes have findings, and the report of them is printable."""
        found = of(message, envelope=envelope)
        for line in lines("f", found):
            self.assertTrue(line.isprintable(), line)
        json.loads(as_json(found))

    def test_bounded(self) -> None:
        """What is large, deep or many-fold is looked at in reasonable time."""
        makers: list[Callable[[], bytes]] = [
            lambda: b"A: 1\n" * 100_000 + b"\nx",
            lambda: b"From: " + b"a@b.c, " * 100_000 + b"\n\nx",
            lambda: b"From: " + b"(" * 100_000 + b"\n\nx",
            lambda: b"From: " + b'"' * 100_001 + b"\n\nx",
            lambda: b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n" * 100_000,
            lambda: b"Content-Type: text/html\n\n" + b"<a href='" * 200_000,
            lambda: b"Content-Type: text/html\n\n" + b"<" * 500_000,
            lambda: b"Content-Type: text/html\n\n" + b"<!--" * 200_000,
            lambda: b"Content-Type: " + b"x;" * 100_000 + b"\n\nx",
            lambda: b"List-Unsubscribe: " + b"<a>," * 100_000 + b"\n\nx",
            lambda: b"List-Id: " + b"a " * 100_000 + b"\n\nx",
            lambda: b"Subject: " + b"=?utf-8?q?" * 100_000 + b"\n\nx",
        ]
        for make in makers:
            of(make())
