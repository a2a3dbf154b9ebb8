"""Signatures that others find right: whatever the message is, and in each canonicalization."""

from __future__ import annotations

import re
from hashlib import sha256
from unittest.mock import patch

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content import dkim_signing
from mailerq.content.dkim_signing import Signer, body_digest, canonical, relaxed_lines
from mailerq.content.dkim_step import sign
from mailerq.content.step import ContentError
from mailerq.smtp.wire import normal
from tests import verifiers
from tests.verifiers import Zone

NOW = 1764000000.0
_, RSA = verifiers.rsa()
_, ED = verifiers.ed25519()
ZONE = Zone()
ZONE.publish("s1", "example.org", RSA)
ZONE.publish("s2", "example.org", ED)
MESSAGE = (
    b"Received: by x\r\nFrom: Joe <joe@example.org>\r\nTo: a@b.c,\r\n\td@e.f\r\nSubject:  Hi   there \r\n"
    b"Date: Tue, 24 Nov 2026 20:41:02 +0000\r\nMessage-ID: <1@x>\r\nX-Mine: yes\r\n"
    b"\r\nhello  world \t\r\n\t\r\n.dot\r\n\r\n\r\n"
)
WAYS = [(header, body) for header in (True, False) for body in (True, False)]


def signer(**changes: object) -> Signer:
    return Signer(**{"domain": "example.org", "selector": "s1", "key": RSA, **changes})  # type: ignore[arg-type]


def tags(message: bytes, name: str = "DKIM-Signature") -> dict[str, str]:
    """Those of the uppermost such field."""
    found = re.search(rf"^{name}:((?:.*\r\n)(?:[ \t].*\r\n)*)", message.decode("latin-1"), re.MULTILINE)
    assert found
    pairs = (tag.partition("=") for tag in re.sub(r"\s", "", found[1]).split(";"))
    return {name: value for name, _, value in pairs}


class Right(SynchronousTestCase):
    """dkimpy says so."""

    def test_ways(self) -> None:
        """RSA and Ed25519, in all four canonicalizations."""
        for key, selector in ((RSA, "s1"), (ED, "s2")):
            for relaxed in WAYS:
                signed = sign(MESSAGE, [signer(key=key, selector=selector, relaxed=relaxed)], NOW)
                self.assertEqual(ZONE.dkim(signed), [True], (selector, relaxed))
                self.assertTrue(signed.endswith(MESSAGE))

    def test_tags(self) -> None:
        """What the signature says; never l=."""
        signed = sign(MESSAGE, [signer(expire=int(NOW) + 60, report=True, headers=("x-mine", "x-absent"))], NOW)
        found = tags(signed)
        self.assertEqual(found.pop("h"), "from:subject:date:message-id:to:x-mine:from")
        self.assertEqual(len(found.pop("bh")), 44)
        self.assertEqual(len(found.pop("b")), 344)
        expected = {"v": "1", "a": "rsa-sha256", "c": "relaxed/simple", "d": "example.org", "s": "s1"}
        more = {"i": "@example.org", "t": "1764000000", "x": "1764000060", "r": "y"}
        self.assertEqual(found, expected | more)

    def test_lines(self) -> None:
        """No line of it is longer than 78 characters, whatever it lists, and all of them but the first are folds."""
        many = MESSAGE.replace(b"X-Mine: yes\r\n", b"".join(b"X-%04d: a\r\n" % number for number in range(300)))
        names = tuple(f"x-{number:04d}" for number in range(300))
        signed = sign(many, [signer(headers=names, domain=".".join(["a" * 60] * 4))], NOW)
        lines = signed[: -len(many)].split(b"\r\n")
        long = [line for line in lines if len(line) > 78]
        self.assertEqual([line[:5] for line in long], [b"\td=aa", b"\ti=@a"])  # one word
        self.assertTrue(all(line.startswith(b"\t") for line in lines[1:-1]))

    def test_several(self) -> None:
        """Several signatures, the lowest priority on top; of equals the first; all right."""
        ways = [("s1", RSA, 5), ("s2", ED, -1), ("s3", RSA, 5)]
        ZONE.publish("s3", "example.org", RSA)
        signed = sign(MESSAGE, [signer(selector=name, key=key, priority=order) for name, key, order in ways], NOW)
        self.assertEqual(re.findall(rb"s=(s\d);", signed), [b"s2", b"s1", b"s3"])
        self.assertEqual(ZONE.dkim(signed), [True] * 3)

    def test_once(self) -> None:
        """The same selector and domain twice is one signature: the first."""
        signed = sign(MESSAGE, [signer(report=True), signer()], NOW)
        self.assertEqual(signed.count(b"DKIM-Signature"), 1)
        self.assertIn(b"r=y", signed)

    def test_repeated_fields(self) -> None:
        """Fields that are there more than once are all signed, the lowest first."""
        message = b"To: one@x\r\n" + MESSAGE + b"more\r\n"
        signed = sign(message, [signer()], NOW)
        self.assertEqual(tags(signed)["h"].split(":").count("to"), 2)
        self.assertEqual(ZONE.dkim(signed), [True])

    def test_broken_by_changes(self) -> None:
        """Another From, another subject, more text: none goes unnoticed."""
        signed = sign(MESSAGE, [signer()], NOW)
        for changed in (
            b"From: eve@evil.example\r\n" + signed,
            signed.replace(b"Hi   there", b"Hi  here"),
            signed + b"more\r\n",
            signed.replace(b"joe@", b"eve@"),
        ):
            self.assertNotEqual(ZONE.dkim(changed), [True])

    def test_header_alone(self) -> None:
        """A message without body, with a line that is no field, or from a mailbox file is signed as one that has an
        empty line after its header."""
        for message, sent in (
            (b"From: a@b.c\r\n", b"From: a@b.c\r\n\r\n"),
            (b"From: a@b.c\r\nno field\r\n", b"From: a@b.c\r\n\r\nno field\r\n"),
            (b"From a@b.c Tue\r\nFrom: a@b.c\r\n\r\nx\r\n", b"From: a@b.c\r\n\r\nx\r\n"),
        ):
            for relaxed in WAYS:
                signed = sign(message, [signer(relaxed=relaxed)], NOW)
                self.assertTrue(signed.endswith(b"\r\n" + sent), signed)
                self.assertEqual(ZONE.dkim(signed), [True], message)


class Refused(SynchronousTestCase):
    """What cannot be signed."""

    def test_from(self) -> None:
        """From must be there, once."""
        for message, why in (
            (MESSAGE.replace(b"From:", b"Form:"), "no From field"),
            (b"from: x@y.z\r\n" + MESSAGE, "2 From fields"),
            (b"", "no From field"),
            (b"\r\n" + MESSAGE, "no From field"),
        ):
            error = self.assertRaises(ContentError, sign, message, [signer()], NOW)
            self.assertIn(why, error.what)

    def test_header_too_large(self) -> None:
        """A header of more than 256 KiB is refused at once."""
        message = b"To: a@b\r\n" * 200_000 + MESSAGE
        self.assertIn("262144", self.assertRaises(ContentError, sign, message, [signer()], NOW).what)


def relaxed_by_rule(body: bytes) -> bytes:
    """As RFC 6376 section 3.4.4 says it, word by word."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


BITS = st.sampled_from([b" ", b"  ", b"\t", b"\r\n", b"\r", b"\n", b".", b"a", b"\xc3\xa4", b":", b"x" * 70, b" \r\n"])
FIELDS = st.sampled_from(
    [b"Subject:", b"To: ", b"tO:\t", b"Date:", b"X-Y:", b"DKIM-Signature: v=1", b"CC:", b"Received: ", b"\r\n ", b" a"]
)


class Canonical(SynchronousTestCase):
    """The short ways are the same as the long ones."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(BITS).map(b"".join), st.sampled_from([0, 1, 7, 262144]))
    def test_body(self, text: bytes, piece: int) -> None:
        """Relaxed bodies, and simple ones, in pieces of any length: the rule, word by word."""
        body = normal(text)
        simple = re.sub(rb"(\r\n)*\Z", b"", body) + b"\r\n"
        with patch.object(dkim_signing, "PIECE", piece):
            for relaxed, wanted in ((True, relaxed_by_rule(body)), (False, simple)):
                self.assertEqual(body_digest(b"ab" + body, 2, relaxed), sha256(wanted).digest())

    def test_many_empty_lines(self) -> None:
        """A million empty lines at the end take no time; nor does a megabyte of blanks."""
        for relaxed in (False, True):
            self.assertEqual(body_digest(b"x" + b"\r\n" * 1_000_000, 0, relaxed), sha256(b"x\r\n").digest())
        self.assertEqual(relaxed_lines(b"x" + b" " * 1_000_000 + b"y\r\n"), b"x y\r\n")

    def test_rfc_example(self) -> None:
        """The example of RFC 6376 section 3.4.5."""
        fields = [b"A: X\r\n", b"B : Y\t\r\n\tZ  \r\n"]
        body = b" C \r\nD \t E\r\n\r\n\r\n"
        self.assertEqual([canonical(field, True) for field in fields], [b"a:X\r\n", b"b:Y Z\r\n"])
        self.assertEqual([canonical(field, False) for field in fields], fields)
        self.assertEqual(relaxed_lines(body), b" C\r\nD E\r\n\r\n\r\n")


class Anything(SynchronousTestCase):
    """Any bytes."""

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.one_of(FIELDS, BITS), max_size=12).map(b"".join),
        st.lists(BITS, max_size=12).map(b"".join),
        st.sampled_from(WAYS),
    )
    @example(b"\x00: x\r\n", b"", (True, True))
    def test_verified(self, header: bytes, body: bytes, relaxed: tuple[bool, bool]) -> None:
        """A message of odd fields and lines is signed so that dkimpy finds it right."""
        assume(not re.search(rb"^[!-9;-~]+[ \t]+:", header, re.MULTILINE))  # dkimpy does not read such fields
        message = normal(b"From: joe@example.org\r\n" + header + b"\r\n\r\n" + body)
        try:
            signed = sign(message, [signer(key=ED, selector="s2", relaxed=relaxed)], NOW)
        except ContentError:
            return
        self.assertEqual(ZONE.dkim(signed)[0], True)
        self.assertEqual(normal(signed), signed)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300))
    def test_bytes(self, message: bytes) -> None:
        """Any bytes are signed, or a ContentError."""
        for some in (message, b"From: a@b.c\n" + message):
            try:
                signed = sign(normal(some), [signer(key=ED, selector="s2", arc=False)], NOW)
            except ContentError as error:
                self.assertIn("dkim", error.what)
            else:
                self.assertEqual(normal(signed), signed)
