"""A private key that signs mail: read once from what people have, RSA (RFC 6376) or Ed25519 (RFC 8463).

``cryptography`` does the arithmetic, and is imported when the first key is read. No text of a key is ever in an error,
a repr or a log.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

LEAST_BITS, MOST_BITS = 1024, 4096
"""Sizes of RSA keys: signers must not use smaller ones, verifiers need not take larger ones (RFC 8301 section 3.2)."""
LONGEST = 16384  # characters of a key's text: an RSA key of 4096 bits has 3,300
REMEMBERED = 1000  # keys that are kept parsed
_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BLANK = re.compile(r"\s+")
_PROBE = bytes(range(32))
_SEED = 32  # bytes of an Ed25519 key without any wrapping


class SigningKey:
    """One key. ``algorithm`` is what stands in ``a=``, ``kind`` what stands in ``k=`` of the DNS record, ``public`` the
    bytes of ``p=`` there."""

    __slots__ = ("_sign", "algorithm", "bits", "kind", "public")

    def __init__(self, key: Any, kind: str, bits: int) -> None:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self.kind = kind
        self.bits = bits
        self.algorithm = f"{kind}-sha256"
        public = key.public_key()
        if kind == "rsa":
            self.public = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            padding, prehashed = PKCS1v15(), Prehashed(SHA256())
            self._sign: Callable[[bytes], bytes] = lambda digest: key.sign(digest, padding, prehashed)
        else:
            self.public = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            self._sign = key.sign

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest."""
        return self._sign(digest)

    @property
    def record(self) -> str:
        """The TXT record that publishes its public half (RFC 6376 section 3.6.1)."""
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(self.public).decode()}"

    def __repr__(self) -> str:
        return f"<SigningKey {self.kind}, {self.bits} bits>"  # never the key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and (other.kind, other.public) == (self.kind, self.public)

    def __hash__(self) -> int:
        return hash(self.public)


@lru_cache(maxsize=REMEMBERED)
def read_key(text: str) -> SigningKey:
    """The key in ``text``: PEM (PKCS#1 or PKCS#8), or its base64 without the lines around it; 32 bytes are an Ed25519
    key as RFC 8463 shows them. Raises ValueError, which says what is wrong and nothing of the key."""
    if len(text) > LONGEST:
        raise ValueError(f"is no private key: it is longer than {LONGEST} characters")
    label, der = _unwrapped(text)
    if len(der) == _SEED and not label:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return SigningKey(Ed25519PrivateKey.from_private_bytes(der), "ed25519", 256)
    return _checked(_loaded(der))


def _unwrapped(text: str) -> tuple[str, bytes]:
    """What stands between the BEGIN and END lines, decoded, and what these say it is ('' where there are none)."""
    text = text.replace("\\n", "\n")  # as it stands in variables of the environment
    found = _ARMOUR.search(text)
    if found is None and "-----" in text:
        raise ValueError("is no private key: its BEGIN and END lines do not fit together")
    label, inner = (found[1], found[2]) if found else ("", text)
    if "ENCRYPTED" in label or "ENCRYPTED" in inner:
        raise ValueError("is protected by a passphrase; a key without one is needed")
    if label and not label.endswith("PRIVATE KEY"):
        what = "a public key" if "PUBLIC" in label else "something else"
        raise ValueError(f"is {what}; a private key is needed")
    try:
        return label, base64.b64decode(_BLANK.sub("", inner), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no private key: what is in it is no base64") from None


def _loaded(der: bytes) -> Any:
    """Without the checks of whether p and q are primes, which take a fifth of a second; see ``_checked``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise ValueError("is protected by a passphrase; a key without one is needed") from None
    except (ValueError, UnsupportedAlgorithm, OverflowError):
        raise ValueError("is no private key that can be read (RSA or Ed25519, PKCS#1 or PKCS#8)") from None


def _checked(key: Any) -> SigningKey:
    """A key of a kind and size that mail can be signed with, and that has signed something that its own public half
    says it has signed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(key, "ed25519", 256)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is a private key, but neither RSA nor Ed25519")
    if not LEAST_BITS <= key.key_size <= MOST_BITS:
        raise ValueError(f"has {key.key_size} bits; RSA keys for mail have from {LEAST_BITS} to {MOST_BITS}")
    try:
        made = SigningKey(key, "rsa", key.key_size)
        _verify(key.public_key(), made.sign(_PROBE))
    except Exception:  # whatever OpenSSL says of numbers that are no key
        raise ValueError("is a damaged RSA key: what it signs cannot be verified") from None
    return made


def _verify(public: Any, signature: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    public.verify(signature, _PROBE, PKCS1v15(), Prehashed(SHA256()))


def new_key(kind: str, bits: int) -> tuple[str, SigningKey]:
    """A key nobody has: its PEM (PKCS#8), and the key. ``kind``: ``rsa`` or ``ed25519``; ``bits`` of RSA."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made: Any = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(65537, bits)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    return pem, read_key(pem)
