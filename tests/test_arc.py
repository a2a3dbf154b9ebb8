"""ARC sets that dkimpy and Mail::DKIM find right, and chains that are not gone on with."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.dkim_signing import Signer
from mailerq.content.dkim_step import sign
from mailerq.content.header_block import split
from mailerq.content.step import ContentError
from mailerq.smtp.wire import normal
from tests import verifiers
from tests.test_dkim_signing import MESSAGE, NOW, WAYS, tags
from tests.verifiers import Zone

_, KEY = verifiers.rsa()
ZONE = Zone()
for _domain in ("example.org", "list.example"):
    ZONE.publish("s1", _domain, KEY)
RESULTS = b"Authentication-Results: mx.example; spf=pass smtp.mailfrom=a@b.c; dkim=pass header.d=b.c%b\r\n"


def sealer(domain: str = "example.org", dkim: bool = False, relaxed: tuple[bool, bool] = (True, False)) -> Signer:
    return Signer(domain, "s1", KEY, relaxed=relaxed, dkim=dkim, arc=True)


def seal(message: bytes, signer: Signer | None = None) -> bytes:
    return sign(message, [signer or sealer()], NOW)


class Sealed(SynchronousTestCase):
    """What comes out."""

    def test_first(self) -> None:
        """The first set: seal, signature, results from the top; cv=none; right in every canonicalization."""
        for relaxed in WAYS:
            sealed = seal(MESSAGE, sealer(relaxed=relaxed))
            self.assertEqual(ZONE.arc(sealed), "pass")
        names = re.findall(rb"^(ARC-[A-Za-z-]+): i=1;", sealed, re.MULTILINE)
        self.assertEqual(names, [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
        self.assertEqual(tags(sealed, "ARC-Seal")["cv"], "none")
        self.assertIn(b"ARC-Authentication-Results: i=1; example.org; none\r\n", sealed)

    def test_with_dkim(self) -> None:
        """DKIM as well: both are right, and the set covers the signature."""
        sealed = seal(MESSAGE, sealer(dkim=True))
        self.assertEqual((ZONE.arc(sealed), ZONE.dkim(sealed)), ("pass", [True]))
        names = tags(sealed, "ARC-Message-Signature")["h"].split(":")
        self.assertIn("dkim-signature", names)
        self.assertFalse([name for name in names if name.startswith("arc-")])

    def test_results(self) -> None:
        """What the uppermost server's results say is what is sealed; others' are not."""
        message = RESULTS % b"" + b"Authentication-Results: other.example; dkim=fail\r\n" + RESULTS % b"; dmarc=pass"
        sealed = seal(message + MESSAGE)
        value = tags(sealed, "ARC-Authentication-Results")
        self.assertEqual((value["i"], value["dmarc"]), ("1", "pass"))
        self.assertIn("mx.example;", sealed.decode().partition("Message-ID")[0])
        top = sealed.partition(b"Authentication-Results: mx")[0]
        self.assertNotIn(b"other.example", top)
        self.assertEqual(ZONE.arc(sealed), "pass")

    def test_odd_results(self) -> None:
        """Results with nothing, with a control character, without a server."""
        for field in (b"mx.example; none", b"mx.example; a=\x00b", b"", b"no server", b"mx.example;", b"; ;"):
            sealed = seal(b"Authentication-Results: " + field + b"\r\n" + MESSAGE)
            self.assertRegex(sealed, rb"ARC-Authentication-Results: i=1; [a-z.]+; none\r\n")
            self.assertEqual(ZONE.arc(sealed), "pass", field)

    def test_one_set(self) -> None:
        """Several keys that may seal: the first makes the set."""
        sealed = sign(MESSAGE, [sealer(), sealer("list.example")], NOW)
        self.assertEqual(sealed.count(b"ARC-Seal:"), 1)


class Chain(SynchronousTestCase):
    """A message that has sets."""

    def test_goes_on(self) -> None:
        """Where the results say that the chain is right, the next set says so, and the chain is right."""
        message = seal(MESSAGE)
        for number in (2, 3):
            domain = "list.example" if number == 2 else "example.org"
            message = seal(RESULTS % b"; arc=pass" + message, sealer(domain, dkim=True))
            found = tags(message, "ARC-Seal")
            self.assertEqual((found["i"], found["cv"]), (str(number), "pass"))
            self.assertEqual(ZONE.arc(message), "pass")

    def test_unknown(self) -> None:
        """Where nobody says whether it is right, the message is left as it is; DKIM is not affected."""
        message = seal(MESSAGE)
        self.assertEqual(seal(message), message)
        self.assertEqual(seal(RESULTS % b"; arc=none" + message), RESULTS % b"; arc=none" + message)
        signed = seal(message, sealer(dkim=True))
        self.assertEqual((ZONE.dkim(signed), signed.count(b"ARC-Seal")), ([True], 1))

    def test_failed(self) -> None:
        """Where the results say that it is wrong, or a field is missing, that is sealed, and it is the end."""
        once = seal(MESSAGE)
        without = re.sub(rb"ARC-Seal:.*\r\n(?:\t.*\r\n)*", b"", once)
        for message in (RESULTS % b"; arc=fail" + once, RESULTS % b"; arc=pass" + without):
            failed = seal(message)
            found = tags(failed, "ARC-Seal")
            self.assertEqual((found["i"], found["cv"]), ("2", "fail"))
            self.assertEqual(ZONE.arc(failed), "none" if message.endswith(once) else "fail")
            self.assertEqual(seal(failed), failed)

    def test_full(self) -> None:
        """There is no fifty-first set."""
        message = b"ARC-Seal: i=50; cv=pass; b=x\r\n" + MESSAGE
        self.assertEqual(seal(message), message)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    *(b"ARC-Seal: ", b"ARC-Message-Signature:", b"ARC-Authentication-Results: ", b"i=1;", b" i = 2 ;"),
                    *(b"cv=pass;", b"cv=fail;", b"\r\n", b"\r\n ", b"i=99999", b"Authentication-Results: a; arc=pass"),
                    *(b"\xff", b"\x00", b";", b"\r\n\r\n"),
                ]
            ),
            max_size=20,
        ).map(b"".join)
    )
    def test_anything(self, header: bytes) -> None:
        """Whatever the fields of earlier sets are: a message with the same body, or a ContentError."""
        message = normal(b"From: a@b.c\r\n" + header)
        try:
            sealed = seal(message)
        except ContentError:
            return
        self.assertEqual(split(sealed).body, split(message).body)
        self.assertEqual(normal(sealed), sealed)
