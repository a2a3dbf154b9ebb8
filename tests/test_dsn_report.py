"""Bounces as bytes: read again by parsers that are not ours, whatever the mail was that they are about."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from flufl.bounce import scan_message
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.header_block import split
from mailerq.dsn.described import header_of
from mailerq.dsn.report import MOST_BACK, Report, write
from mailerq.dsn.statuses import status_of
from mailerq.smtp.envelope import prepare
from mailerq.smtp.extensions import Extensions
from tests.owner import Mail

REPORT = Report(
    action="failed",
    identity="abc-1.1.dsn",
    to="sender@example.org",
    author="Mail Delivery System <mailer-daemon@out.example>",
    mta="out.example",
    recipient="you@example.com",
    original="rfc822;you@example.com",
    envid="",
    status="5.1.1",
    code=550,
    said="Not here",
    host="mx.example.com",
    arrived=1_800_000_000.0,
    tried=1_800_000_060.0,
    attempts=1,
)
MESSAGE = b"From: sender@example.org\r\nSubject: Hello\r\n\r\nHello.\r\n"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "address", "email"]), inner),
    max_leaves=6,
)
TEXTS = st.lists(st.text(max_size=1000), min_size=4, max_size=4)


def parsed(report: Report = REPORT, message: bytes | None = MESSAGE, full: bool = False) -> EmailMessage:
    found: Any = message_from_bytes(write(report, message, full).encode(), policy=policy.default)
    return found


def parts(report: Report = REPORT, message: bytes | None = MESSAGE, full: bool = False) -> list[Any]:
    return list(parsed(report, message, full).iter_parts())


def status_fields(report: Report) -> dict[str, str]:
    """Those of the second part, as they are written, unfolded."""
    content = write(report, None, False)
    block = content.split("delivery-status\r\n")[1].partition("\r\n\r\n")[2].partition("\r\n--=_")[0]
    lines = block.replace("\r\n ", " ").split("\r\n")
    return dict(line.split(": ", 1) for line in lines if line)


class Form(SynchronousTestCase):
    """What stands where."""

    def test_three_parts(self) -> None:
        """A text, a status in two blocks, a header; all of it ASCII where the mail is."""
        text, status, header = parts()
        self.assertEqual(
            [part.get_content_type() for part in (text, status, header)],
            ["text/plain", "message/delivery-status", "text/rfc822-headers"],
        )
        self.assertEqual(len(status.get_payload()), 2)
        self.assertEqual(text["content-type"].params["charset"], "us-ascii")
        self.assertTrue(write(REPORT, MESSAGE, True).isascii())

    def test_flufl(self) -> None:
        """flufl.bounce, which mailing lists use, finds the address of a failure and of nothing else."""
        for full in (False, True):
            self.assertEqual(scan_message(parsed(full=full)), {b"you@example.com"})
        self.assertEqual(scan_message(parsed(structs.replace(REPORT, action="relayed", status="2.0.0"))), set())
        self.assertEqual(scan_message(parsed(structs.replace(REPORT, action="delayed", status="4.0.0"))), set())

    def test_no_defects(self) -> None:
        """The standard library finds nothing wrong in it."""
        for message in (None, MESSAGE):
            for one in parsed(message=message).walk():
                self.assertEqual(one.defects, [])

    def test_short_lines(self) -> None:
        """No line is longer than 998 bytes, however long the answer is."""
        report = structs.replace(
            REPORT, said="x" * 60000, recipient="é" * 900 + "@example.com", original="utf-8;" + "ü" * 900
        )
        content = write(report, b"Subject: " + b"y" * 2000 + b"\r\nX: z\r\n\r\n", False).encode()
        self.assertLess(max(map(len, content.split(b"\r\n"))), 999)
        self.assertIn(b"X: z\r\n", content)

    def test_utf8(self) -> None:
        """Addresses in UTF-8: message/global-delivery-status with the address type utf-8; a header in UTF-8:
        message/global-headers; a whole message with one: message/global."""
        address = "grüße@bücher.example"
        report = structs.replace(REPORT, recipient=address, original=f"utf-8;{address}")
        message = "Subject: Grüße\r\n\r\nHallo\r\n".encode()
        for full, back in ((False, "message/global-headers"), (True, "message/global")):
            found = message_from_bytes(write(report, message, full).encode())
            kinds = [part.get_content_type() for part in found.get_payload()]  # type: ignore[union-attr]
            self.assertEqual(kinds, ["text/plain", "message/global-delivery-status", back])
        fields = status_fields(report)
        self.assertEqual(fields["Final-Recipient"], f"utf-8; {address}")
        self.assertEqual(fields["Original-Recipient"], f"utf-8; {address}")

    def test_answer_in_utf8(self) -> None:
        """An answer in UTF-8 about an address in ASCII: people read it, programs get ASCII."""
        text, status, _ = parts(structs.replace(REPORT, said="Unbekannter Empfänger"))
        self.assertIn("Empfänger", text.get_content())
        self.assertEqual(status.get_payload()[1]["diagnostic-code"], "smtp; 550 5.1.1 Unbekannter Empf\\xe4nger")

    def test_subject(self) -> None:
        """The message's subject is in the text, decoded."""
        text = parts(message=b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n")[0]
        self.assertIn("Subject:  Grüße\r\n", text.get_content())

    def test_nothing_injected(self) -> None:
        """Line ends in an answer, a subject or an address make no lines of their own."""
        evil = "x\r\nAction: relayed\r\n\r\n--=_\nFinal-Recipient: rfc822; evil@example.org\u2028a\x85b\x00"
        report = structs.replace(REPORT, said=evil, recipient=evil, original=f"rfc822;{evil}", envid=evil, host=evil)
        found = parsed(report, b"Subject: =?utf-8?q?a=0D=0AAction:_b?=\r\n\r\n")
        self.assertEqual(found["to"], "sender@example.org")
        fields = status_fields(report)
        self.assertEqual(fields["Action"], "failed")
        self.assertEqual(len(list(found.iter_parts())), 3)
        self.assertNotIn("\nAction: b", found.as_string())

    def test_boundary_in_the_message(self) -> None:
        """A message that has our boundary in it, as a bounce of the same mail would, gets another."""
        first = write(REPORT, MESSAGE, True)
        inner: Any = parts(message=first.encode(), full=True)[2].get_payload(0)
        self.assertEqual(inner.as_bytes().replace(b"\r\n", b"\n"), first.encode().replace(b"\r\n", b"\n"))

    def test_what_comes_back(self) -> None:
        """All of the message, line ends made CRLF; but only the header of one that is too large or no UTF-8."""
        rfc822 = parts(message=b"A: b\n\nx\rz\n", full=True)[2]
        self.assertEqual(rfc822.get_content_type(), "message/rfc822")
        for message in (b"A: b\r\n\r\n" + b"x" * MOST_BACK, b"A: b\r\n\r\n\xff\r\n", b"A: b\r\n\r\n\0"):
            part = parts(message=message, full=True)[2]
            self.assertEqual((part.get_content_type(), part.get_content()), ("text/rfc822-headers", "A: b\r\n"))

    def test_seven_bits(self) -> None:
        """A bounce in UTF-8 can be sent to a host that takes seven bits, and is still one for programs."""
        address = "grüße@example.com"
        report = structs.replace(REPORT, recipient=address, original=f"utf-8;{address}", said="Empfänger unbekannt")
        body = write(report, "Subject: Grüße\r\n\r\n".encode(), False).encode()
        talk = prepare(Mail(body=body, sender=""), Extensions())
        self.assertIsNone(talk.refusal)
        found = message_from_bytes(talk.body)
        status: Any = found.get_payload(1)
        self.assertEqual(status.get_content_type(), "message/global-delivery-status")
        self.assertIn(f"Final-Recipient: utf-8; {address}".encode(), decoded(status))
        header: Any = found.get_payload(2)
        self.assertIn("Subject: Grüße".encode(), decoded(header))


def decoded(part: Any) -> bytes:
    """The content of a part of the type message/…, which the standard library does not decode."""
    from base64 import b64decode

    payload = part.get_payload()
    inner = payload[0].get_payload() if isinstance(payload, list) else payload
    return b64decode(inner) if part["content-transfer-encoding"] == "base64" else inner.encode()


class AnyReport(SynchronousTestCase):
    """Whatever it is about."""

    @settings(max_examples=150, deadline=None)
    @given(TEXTS, st.binary(max_size=3000), st.booleans(), st.sampled_from([None, 250, 451, 550]))
    def test_any(self, texts: list[str], message: bytes, full: bool, code: int | None) -> None:
        """Any texts and any message give a report of three parts in UTF-8, with one recipient."""
        said, recipient, envid, host = texts
        report = structs.replace(
            REPORT, said=said, recipient=recipient, original=f"utf-8;{recipient}", envid=envid, host=host, code=code
        )
        content = write(report, message, full)
        self.assertEqual(write(report, message, full), content)
        found = message_from_bytes(content.encode())
        self.assertEqual(found.get_content_type(), "multipart/report")
        self.assertEqual(len(found.get_payload()), 3)
        self.assertEqual(content.count("\r\nFinal-Recipient: "), 1)
        json.dumps(content)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=500), st.booleans())
    def test_field_like(self, tail: bytes, full: bool) -> None:
        """Any header comes back as a header."""
        found = message_from_bytes(write(REPORT, b"Subject: x\r\nX-A: " + tail, full).encode())
        self.assertEqual(len(found.get_payload()), 3)

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(["from", "to", "subject", "name", "address"]), VALUES), st.binary(max_size=50)
    )
    def test_described(self, description: dict[str, Any], tail: bytes) -> None:
        """Any description gives a header in ASCII, or none."""
        for body in (json.dumps(description).encode(), json.dumps(description).encode()[:-1] + tail, b"{" + tail):
            found = header_of(body)
            if found is not None:
                self.assertTrue(found.isascii())
                names = [field.name for field in split(found).fields]
                self.assertEqual(names, [name for name in ("From", "To", "Subject") if name in names])
                self.assertEqual(split(found).written(), found)


class Statuses(SynchronousTestCase):
    def test_table(self) -> None:
        """The host's own, or one that fits; a delay is transient, whatever was said."""
        for given_, expected in (
            (("failed", "error", 550, "5.7.1"), "5.7.1"),
            (("failed", "error", 554, None), "5.0.0"),
            (("failed", "error", 451, None), "4.0.0"),
            (("failed", "error", 550, "2.0.0"), "5.0.0"),
            (("failed", "error", 550, "5.1.1\r\nX: y"), "5.0.0"),
            (("failed", "error", 550, "9.1.1"), "5.0.0"),
            (("failed", "nohosts", None, None), "5.1.2"),
            (("failed", "connect", None, None), "4.4.1"),
            (("failed", "expired", None, None), "4.4.7"),
            (("failed", "error", None, None), "5.0.0"),
            (("failed", "what", None, None), "5.0.0"),
            (("delayed", "error", 550, "5.7.1"), "4.7.1"),
            (("relayed", "success", 250, "2.1.5"), "2.1.5"),
            (("relayed", "success", 250, None), "2.0.0"),
        ):
            self.assertEqual(status_of(*given_), expected, given_)
