"""Keys in all forms that people have, and what is no key."""

from __future__ import annotations

import base64
import contextlib
import random
import re

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.dkim_key import LONGEST, REMEMBERED, SigningKey, new_key, read_key
from tests import verifiers

PEM, KEY = verifiers.rsa()
INNER = re.sub(r"-----.*?-----|\s", "", PEM)


def pem_of(key: object, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes | None = None) -> str:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, protection).decode()  # type: ignore[attr-defined,no-any-return]


class Read(SynchronousTestCase):
    """The same key, however it is written."""

    def test_forms(self) -> None:
        """PKCS#8 and PKCS#1, with CRLF, in one line, with blanks, indented, with \\n as two signs, without armour."""
        pkcs1 = pem_of(load_pem_private_key(PEM.encode(), None), PrivateFormat.TraditionalOpenSSL)
        self.assertIn("BEGIN RSA PRIVATE KEY", pkcs1)
        for text in (
            PEM,
            pkcs1,
            PEM.replace("\n", "\r\n"),
            "\n  " + PEM.replace("\n", "\n   "),
            PEM.replace("\n", "\\n"),
            PEM.replace("\n", " "),
            INNER,
            re.sub("(.{64})", r"\1\n", INNER),
            re.sub(r"-----.*?-----|\s", "", pkcs1),
            "a comment\n" + PEM + "more",
        ):
            self.assertEqual(read_key(text).public, KEY.public, text[:60])

    def test_ed25519(self) -> None:
        """Ed25519: PKCS#8, and the 32 bytes of RFC 8463 appendix A, whose public half is known."""
        pem, key = verifiers.ed25519()
        self.assertEqual(read_key(pem), key)
        self.assertEqual(key.algorithm, "ed25519-sha256")
        known = read_key("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        self.assertEqual(known.record, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")

    def test_remembered(self) -> None:
        """A key is parsed once, and only so many are kept."""
        self.assertIs(read_key(PEM), read_key(PEM))
        self.assertEqual(read_key.cache_info().maxsize, REMEMBERED)

    def test_never_shown(self) -> None:
        """The repr shows kind and size."""
        self.assertEqual(repr(KEY), "<SigningKey rsa, 2048 bits>")

    def test_new(self) -> None:
        """What is made can be read, and its record begins as RFC 6376 says."""
        pem, key = new_key("rsa", 1024)
        self.assertEqual((read_key(pem), key.bits, key.kind), (key, 1024, "rsa"))
        self.assertTrue(key.record.startswith("v=DKIM1; k=rsa; p=MIGf"))


class Refused(SynchronousTestCase):
    """What is none: said in words, nothing of it shown."""

    def why(self, text: str) -> str:
        error = self.assertRaises(ValueError, read_key, text)
        self.assertNotIn(text[30:60] or "-", str(error))
        return str(error)

    def test_what(self) -> None:
        """Each with its reason."""
        key = load_pem_private_key(PEM.encode(), None)
        public = base64.b64encode(KEY.public).decode()
        wanted = [
            (pem_of(key, password=b"secret"), "passphrase"),
            (pem_of(key, PrivateFormat.TraditionalOpenSSL, b"secret"), "passphrase"),
            (pem_of(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
            (f"-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n", "a public key"),
            (public, "no private key"),
            (PEM.replace("END PRIVATE", "END RSA PRIVATE"), "do not fit together"),
            ("-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----", "no base64"),
            ("hunter2hunter2hunter2hunter2hunter2", "no private key"),
            ("", "no private key"),
            ("\ud83d", "no base64"),
            ("A" * (LONGEST + 1), "longer than"),
            (INNER[:800], "no private key"),
        ]
        for text, why in wanted:
            self.assertIn(why, self.why(text), text[:40])

    def test_sizes(self) -> None:
        """RSA of less than 1024 bits or more than 4096 is not taken."""
        small = "MC0CAQACBQC7VwRzAgMBAAECBQCbsZ2BAgMA8bMCAwDGcQIDAJ8lAgMA"
        self.assertIn("no private key", self.why(small))
        large = rsa.RSAPrivateNumbers(3, 5, 7, 7, 7, 7, rsa.RSAPublicNumbers(65537, (1 << 5000) + 1))
        self.assertEqual(large.public_numbers.n.bit_length(), 5001)

    def test_damaged(self) -> None:
        """A key with one number changed is a damaged one, or none; it never signs, and never takes long."""
        der, dice = bytearray(base64.b64decode(INNER)), random.Random(5)
        for _ in range(60):
            at, bit = dice.randrange(30, len(der)), 1 << dice.randrange(8)
            der[at] ^= bit
            text = base64.b64encode(der).decode()
            try:
                key: SigningKey | None = read_key(text)
            except ValueError as error:
                key = None
                self.assertRegex(str(error), "damaged|no private key|has [0-9]+ bits")
            der[at] ^= bit
            if key is not None:  # the number that is not used to sign: d, beside its two halves
                self.assertEqual(key.public, KEY.public)

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda some: base64.b64encode(some).decode())))
    def test_anything(self, text: str) -> None:
        """Any text is a key or a ValueError."""
        with contextlib.suppress(ValueError):
            read_key(text)
