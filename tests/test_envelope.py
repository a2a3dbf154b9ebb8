"""What a mail looks like to one host: parameters, addresses, or why it cannot be sent there."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.smtp.envelope import prepare
from mailerq.smtp.extensions import Extensions, parse_extensions
from tests.owner import Mail, short

ALL = Extensions(pipelining=True, eightbit=True, smtputf8=True, size=0)
NONE = Extensions()
ASCII = b"Subject: x\r\n\r\nhello\r\n"
EIGHT = "Subject: x\r\n\r\nGrüße\r\n".encode()
HEADERS = "Subject: Grüße\r\n\r\nhello\r\n".encode()


def lines(offers: Extensions, body: bytes = ASCII, **fields: Any) -> str:
    """The two commands, or the refusal."""
    talk = prepare(Mail(body=body, **fields), offers)
    if talk.refusal is not None:
        assert talk.refusal.description.startswith("not sent: ")
        return short(talk.refusal)
    return (talk.mail_line + talk.rcpt_line).decode().replace("\r\n", " ").strip()


class ParameterTests(SynchronousTestCase):
    def test_table(self) -> None:
        """SIZE, BODY and SMTPUTF8: where they are offered, and only where they are needed."""
        eight = Extensions(eightbit=True)
        to = "RCPT TO:<one@example.org>"
        for offers, body, expected in (
            (NONE, ASCII, f"MAIL FROM:<sender@example.com> {to}"),
            (ALL, ASCII, f"MAIL FROM:<sender@example.com> SIZE=21 {to}"),
            (ALL, b"a\nb", f"MAIL FROM:<sender@example.com> SIZE=6 {to}"),
            (ALL, b"x" * 70_000 + b"\n", f"MAIL FROM:<sender@example.com> SIZE=70002 {to}"),
            (ALL, EIGHT, f"MAIL FROM:<sender@example.com> BODY=8BITMIME SIZE=23 {to}"),
            (ALL, HEADERS, f"MAIL FROM:<sender@example.com> BODY=8BITMIME SMTPUTF8 SIZE=27 {to}"),
            (eight, EIGHT, f"MAIL FROM:<sender@example.com> BODY=8BITMIME {to}"),
            (eight, HEADERS, f"MAIL FROM:<sender@example.com> {to}"),
            (NONE, EIGHT, f"MAIL FROM:<sender@example.com> {to}"),
        ):
            self.assertEqual(lines(offers, body), expected)

    def test_null_sender(self) -> None:
        """An empty envelope is ``<>``."""
        self.assertEqual(lines(NONE, sender=""), "MAIL FROM:<> RCPT TO:<one@example.org>")

    def test_too_large(self) -> None:
        """Larger than the host says it takes: 552, counted with CRLF line ends."""
        self.assertEqual(lines(Extensions(size=20)), "error 552 5.3.4 mail from")
        self.assertIn("SIZE=21", lines(Extensions(size=21)))
        self.assertEqual(lines(Extensions(size=5), b"a\nb"), "error 552 5.3.4 mail from")
        self.assertEqual(lines(Extensions(size=100_000), b"x" * 100_000), "error 552 5.3.4 mail from")

    def test_eight_bits_for_a_host_of_seven(self) -> None:
        """The body is converted; a signed one is refused."""
        talk = prepare(Mail(body=EIGHT), NONE)
        self.assertTrue(talk.body.isascii())
        self.assertEqual(lines(NONE, b"DKIM-Signature: v=1\r\n" + EIGHT), "error 554 5.6.3 mail from")

    def test_signed_headers_of_eight_bits(self) -> None:
        """With 8BITMIME and without SMTPUTF8 they go as they are: encoding them would break the signature."""
        body = b"DKIM-Signature: v=1\r\n" + HEADERS
        talk = prepare(Mail(body=body), Extensions(eightbit=True))
        self.assertEqual(talk.body, body)
        self.assertIn(b"BODY=8BITMIME", talk.mail_line)


class AddressTests(SynchronousTestCase):
    def test_domain_becomes_an_a_label(self) -> None:
        """A domain that is not ASCII needs no SMTPUTF8; IDNA 2008: straße is not strasse."""
        self.assertEqual(
            lines(NONE, recipient="one@Straße.example", sender="two@bücher.example"),
            "MAIL FROM:<two@xn--bcher-kva.example> RCPT TO:<one@xn--strae-oqa.example>",
        )

    def test_local_part_needs_smtputf8(self) -> None:
        """It is sent as UTF-8 where SMTPUTF8 is offered, and is refused where it is not."""
        self.assertEqual(
            lines(ALL, recipient="jürgen@bücher.example"),
            "MAIL FROM:<sender@example.com> BODY=8BITMIME SMTPUTF8 SIZE=21 RCPT TO:<jürgen@bücher.example>",
        )
        for fields in ({"recipient": "jürgen@example.org"}, {"sender": "jürgen@example.org"}):
            self.assertEqual(lines(Extensions(eightbit=True), **fields), "error 550 5.6.7 mail from")

    def test_quoted_and_literal(self) -> None:
        """What RFC 5321 allows passes."""
        for address in ('"a b"@example.org', '"a\\"b"@example.org', "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a+b=c@x"):
            self.assertIn(f"RCPT TO:<{address}>", lines(NONE, recipient=address))

    def test_never_a_second_command(self) -> None:
        """Line breaks, brackets, spaces and what cannot be encoded are refused, nothing is sent."""
        for address in (
            "a@b\r\nDATA",
            "a\nb@c",
            "a@b> SIZE=1",
            "a b@c",
            "a@b\0",
            "a@\ud800b",
            "a\x85@b",
            '"a\r\n"@b',
            '"a"b"@c',
            "a@" + "ü" * 300,
            "a@b ü",
        ):
            self.assertEqual(lines(ALL, recipient=address), "error 501 5.1.3 mail from", repr(address))
            self.assertEqual(lines(ALL, sender=address), "error 501 5.1.7 mail from", repr(address))
        self.assertEqual(lines(ALL, recipient=""), "error 501 5.1.3 mail from")


class ExtensionsTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Keywords in any case, parameters of any kind, old spellings."""
        found = parse_extensions(
            [b"mx.test", b"pipelining", b"Size 1000", b"8bitmime", b"auth=login plain", b"", b"\xff"]
        )
        self.assertTrue(found.pipelining and found.eightbit)
        self.assertFalse(found.smtputf8 or found.starttls)
        self.assertEqual(found.size, 1000)
        self.assertEqual(found.auth, {"LOGIN", "PLAIN"})

    def test_size_without_a_number(self) -> None:
        """SIZE alone, or with nonsense, is SIZE without a limit; no SIZE is None."""
        for line, size in (
            (b"SIZE", 0),
            (b"SIZE x", 0),
            (b"SIZE -5", 0),
            (b"SIZE " + b"9" * 99, 0),
            (b"SIZES 5", None),
        ):
            self.assertEqual(parse_extensions([b"mx", line]).size, size, line)

    def test_the_first_line_is_a_name(self) -> None:
        """A host called PIPELINING offers nothing by that."""
        self.assertFalse(parse_extensions([b"PIPELINING"]).pipelining)
        self.assertFalse(parse_extensions([]).pipelining)
