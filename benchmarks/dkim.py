"""What a signature costs, and the look at messages that get none.

python benchmarks/dkim.py                # µs of processor time, the best of many rounds
python benchmarks/dkim.py --dkimpy       # dkimpy beside it: as it is, and with its RSA replaced
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from mailerq.content.author import from_domains  # noqa: E402
from mailerq.content.dkim_key import new_key, read_key  # noqa: E402
from mailerq.content.dkim_signing import Signer  # noqa: E402
from mailerq.content.dkim_step import as_it_is_sent, sign  # noqa: E402

NOW = 1764000000.0
HEADER = b"""\
From: "The News" <news@example.org>
To: Somebody Else <somebody@example.com>
Subject: What is new in May, and what is not
Date: Tue, 24 Nov 2026 20:41:02 +0000
Message-ID: <20261124204102.12345@example.org>
Reply-To: answers@example.org
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable
List-Id: News <news.example.org>
List-Unsubscribe: <https://example.org/unsubscribe?who=somebody%40example.com>,
 <mailto:unsubscribe@example.org>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
X-Mailer: benchmark

""".replace(b"\n", b"\r\n")
LINE = b"The quick brown fox  jumps over the lazy dog, and so on until the line ends.\r\n"


def message(size: int) -> bytes:
    """One of about ``size`` bytes."""
    return HEADER + LINE * ((size - len(HEADER)) // len(LINE))


def best(call: Callable[[], Any], rounds: int = 40, calls: int = 25) -> float:
    """µs of processor time for a call in the best of the rounds: what it takes where nobody disturbs."""
    call()
    found = []
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        found.append((time.process_time_ns() - began) / calls / 1000)
    return min(found)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dkimpy", action="store_true", help="measure dkimpy as well")
    arguments = parser.parse_args()
    small, large = message(2000), message(50_000)
    pem, rsa = new_key("rsa", 2048)
    _, ed = new_key("ed25519", 0)
    rows: list[tuple[str, Callable[[], Any]]] = [
        ("RSA-2048 alone: the signature of a digest", lambda: rsa.sign(bytes(32)))
    ]
    for name, key in (("RSA-2048", rsa), ("Ed25519", ed)):
        for size, text in (("2 kB", small), ("50 kB", large)):
            for ways, relaxed in (("relaxed/simple", (True, False)), ("relaxed/relaxed", (True, True))):
                rows.append(
                    (f"{name}, {size}, {ways}", _signing(text, Signer("example.org", "s", key, relaxed=relaxed)))
                )
    rows += [
        ("RSA-2048, 2 kB, DKIM and ARC", _signing(small, Signer("example.org", "s", rsa, arc=True))),
        ("a key that is known: found again", lambda: read_key(pem)),
        ("a key that is not: read and tried", lambda: read_key.__wrapped__(pem)),
        ("who it is from, 2 kB: the look at what is not signed", lambda: from_domains(small)),
        ("who it is from, 50 kB", lambda: from_domains(large)),
    ]
    if arguments.dkimpy:
        rows += _dkimpy(pem, small, large)
    for what, call in rows:
        print(f"{what:62} {best(call):8.1f} µs", flush=True)
    return 0


def _signing(text: bytes, signer: Signer) -> Callable[[], bytes]:
    return lambda: sign(as_it_is_sent(text, True), [signer], NOW)


def _dkimpy(pem: str, small: bytes, large: bytes) -> list[tuple[str, Callable[[], Any]]]:
    import dkim
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    load = lru_cache(lambda text: load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True))
    pkcs1 = load(pem.encode()).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    own = dkim.parse_pem_private_key, dkim.RSASSA_PKCS1_v1_5_sign

    def stock(text: bytes, canonical: tuple[bytes, bytes], patched: bool) -> bytes:
        if patched:
            dkim.parse_pem_private_key = load
            dkim.RSASSA_PKCS1_v1_5_sign = lambda digest, key: key.sign(digest.digest(), PKCS1v15(), Prehashed(SHA256()))
        else:
            dkim.parse_pem_private_key, dkim.RSASSA_PKCS1_v1_5_sign = own
        signature: bytes = dkim.sign(text, b"s", b"example.org", pkcs1, canonicalize=canonical)
        return signature + text

    rows: list[tuple[str, Callable[[], Any]]] = []
    for size, text in (("2 kB", small), ("50 kB", large)):
        for ways in ("relaxed/simple", "relaxed/relaxed"):
            names = ways.encode().split(b"/")
            for patched in (True, False):
                title = f"dkimpy{', its RSA replaced' * patched}: RSA-2048, {size}, {ways}"
                rows.append((title, lambda text=text, names=tuple(names), patched=patched: stock(text, names, patched)))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
