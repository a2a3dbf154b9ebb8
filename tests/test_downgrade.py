"""Messages of 8 bits for hosts of 7: what a reader sees stays the same, signatures are never broken."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.smtp.downgrade import header_end, seven_bit

MULTIPART = (
    """\
From: Jürgen Müller <j@example.com>
To: a@b.example, "Köln, Büro" <x@müller.example>
Received: first
Subject: Grüße aus Köln
Received: second
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 8bit

Vorwort für alte Leser
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Hallo Jürgen, 1 = 1
.
zwei Leerzeichen__

--b
Content-Type: application/pdf; name="tür.pdf"
Content-Disposition: attachment; filename="tür.pdf"
Content-Transfer-Encoding: binary

ü\x01\x02
--b
Content-Type: text/plain
Content-Transfer-Encoding: base64

SGFsbG8=
--b--
""".replace("__", "  ")
    .replace("\n", "\r\n")
    .encode()
)


def parsed(body: bytes) -> EmailMessage:
    message = email.message_from_bytes(body, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def converted(body: bytes) -> EmailMessage:
    result = seven_bit(body)
    assert result is not None and result.isascii()
    return parsed(result)


class ConvertTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Each part is encoded by itself, its content and charset kept; what is ASCII is left alone."""
        message = converted(MULTIPART)
        text, pdf, old = message.iter_parts()
        self.assertEqual(text["content-transfer-encoding"], "quoted-printable")
        self.assertEqual(text.get_content().splitlines(), ["Hallo Jürgen, 1 = 1", ".", "zwei Leerzeichen  "])
        self.assertEqual(pdf["content-transfer-encoding"], "base64")
        self.assertEqual(pdf.get_content(), "ü\x01\x02".encode())
        self.assertEqual(pdf.get_filename(), "tür.pdf")
        self.assertEqual(old.get_payload(), "SGFsbG8=")
        self.assertNotIn("content-transfer-encoding", message)

    def test_headers(self) -> None:
        """Names and subject read the same, domains are A-labels, the order stays, ASCII headers are untouched."""
        message = converted(MULTIPART)
        self.assertEqual(message["subject"], "Grüße aus Köln")
        self.assertEqual(message["from"], "Jürgen Müller <j@example.com>")
        second = message["to"].addresses[1]
        self.assertEqual((second.display_name, second.addr_spec), ("Köln, Büro", "x@xn--mller-kva.example"))
        names = [name.lower() for name in message]
        self.assertEqual(names[:6], ["from", "to", "received", "subject", "received", "mime-version"])
        self.assertEqual(message.get_all("received"), ["first", "second"])

    def test_text_without_mime(self) -> None:
        """Text of no known charset is ``unknown-8bit`` (RFC 1428), and its bytes are those that came."""
        for body in ("Subject: x\r\n\r\nGrüße\r\n".encode(), b"Subject: x\n\nGr\xfc\xdfe\n"):
            message = converted(body)
            self.assertEqual(message.get_content_charset(), "unknown-8bit")
            self.assertEqual(message["mime-version"], "1.0")
            content = message.get_payload(decode=True)
            assert isinstance(content, bytes)
            self.assertEqual(content.replace(b"\r\n", b"\n"), body.partition(b"\n\n")[2] or "Grüße\n".encode())

    def test_headers_only(self) -> None:
        """For a host with 8BITMIME the parts stay as they are."""
        result = seven_bit(MULTIPART, headers_only=True)
        assert result is not None
        self.assertTrue(result[: header_end(result)].isascii())
        self.assertIn("Hallo Jürgen".encode(), result)

    def test_latin1_headers(self) -> None:
        """A header that is no UTF-8 is taken for Latin-1."""
        self.assertEqual(converted(b"Subject: Gr\xfc\xdfe\r\n\r\nx\r\n")["subject"], "Grüße")

    def test_message_in_a_message(self) -> None:
        """A forwarded message is converted inside, never encoded as a whole."""
        body = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + MULTIPART
        message = converted(body)
        self.assertEqual(message.get_content_type(), "message/rfc822")
        inner = message.get_payload(0)
        assert isinstance(inner, EmailMessage)
        self.assertEqual(inner["subject"], "Grüße aus Köln")


class SignedTests(SynchronousTestCase):
    def test_never_broken(self) -> None:
        """DKIM, ARC, and a signed part with 8 bits: None."""
        eight = "Subject: x\r\n\r\nGrüße\r\n".encode()
        signed = MULTIPART.replace(b"multipart/mixed", b"multipart/signed")
        for body in (
            b"DKIM-Signature: v=1\r\n" + eight,
            b"ARC-Message-Signature: i=1\r\n" + eight,
            b"ARC-Seal: i=1\r\n" + eight,
            signed,
            signed.replace(b"binary", b"7bit"),
            "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nX-A: ü\r\n\r\nx\r\n--s--\r\n".encode(),
        ):
            self.assertIsNone(seven_bit(body))

    def test_a_signed_part_of_seven_bits(self) -> None:
        """A signed part that is ASCII stays byte for byte, others are converted."""
        inner = (
            b"Content-Type: multipart/signed; boundary=s; protocol=x; micalg=y\r\n\r\n--s\r\n"
            b"Content-Type: text/plain\r\n\r\nsigned  \r\n\r\n--s\r\n"
            b"Content-Type: application/pgp-signature\r\n\r\nabc\r\n--s--\r\n"
        )
        outer = (
            b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
            + inner
            + "\r\n--o\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n--o--\r\n".encode()
        )
        result = seven_bit(outer)
        assert result is not None
        self.assertIn(inner, result)

    def test_an_address_that_ascii_cannot_say(self) -> None:
        """A local part that is not ASCII in a header: None."""
        self.assertIsNone(seven_bit("From: jürgen@example.org\r\n\r\nx\r\n".encode()))


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"Subject: ",
                    b"From: ",
                    b"Content-Type: ",
                    b"multipart/mixed; boundary=b",
                    b"text/plain; charset=x",
                    b"Content-Transfer-Encoding: ",
                    b"8bit",
                    b"base64",
                    b"\r\n",
                    b"\n",
                    b"\r",
                    b"--b",
                    b"--b--",
                    b"x@y",
                    "ü".encode(),
                    b"\xff",
                    b"\x00",
                    b": ",
                    b'"',
                    b"<",
                    b">",
                    b"message/rfc822",
                    b"=?utf-8?q?=FF?=",
                ]
            ),
            max_size=25,
        )
    )
    def test_any_message(self, words: list[bytes]) -> None:
        """Never an exception, and never 8 bits."""
        result = seven_bit(b"".join(words))
        self.assertTrue(result is None or result.isascii())
