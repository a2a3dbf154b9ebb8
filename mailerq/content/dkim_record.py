"""The TXT record that publishes a key: written for DNS, and compared with a key (RFC 6376 section 3.6.1). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from mailerq.content.dkim_key import SigningKey

_LONGEST = 255  # bytes of one string in a TXT record


def zone_line(name: str, record: str) -> str:
    """The record as it stands in a zone file, in strings that are short enough."""
    strings = [record[at : at + _LONGEST] for at in range(0, len(record), _LONGEST)]
    if len(strings) == 1:
        return f'{name}. IN TXT "{record}"'
    lines = "\n".join(f'    "{string}"' for string in strings)
    return f"{name}. IN TXT (\n{lines} )"


def disagreement(records: Sequence[bytes], key: SigningKey) -> str:
    """Why a verifier that finds these TXT records would not take what ``key`` signs; empty: it would."""
    if not records:
        return "there is no record"
    if len(records) > 1:
        return f"there are {len(records)} records, and there must be one"
    tags = _tags(records[0].decode("utf-8", "replace"))
    if tags is None:
        return "the record is none of DKIM: it is not written tag=value; tag=value"
    return _unsuitable(tags, key.kind) or _other(tags["p"], key)


def remarks(records: Sequence[bytes]) -> str:
    """What is to be known of a record that agrees."""
    tags = _tags(records[0].decode("utf-8", "replace")) or {}
    testing = "y" in tags.get("t", "").split(":")
    return "says t=y, that it is a test: verifiers take no notice of the signature" if testing else ""


def _tags(record: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name.strip()):
            return None
        found[name.strip()] = re.sub(r"\s+", "", value)
    return found


def _unsuitable(tags: dict[str, str], kind: str) -> str:
    if tags.get("v", "DKIM1") != "DKIM1":
        return f"the record says v={tags['v'][:40]}, and must say v=DKIM1"
    if "p" not in tags:
        return "the record has no key (p=)"
    if not tags["p"]:
        return "the record says that the key was revoked (p= is empty)"
    if tags.get("k", "rsa") != kind:
        return f"the record is for a key of another kind: {tags.get('k', 'rsa')[:40]}, not {kind}"
    if "h" in tags and "sha256" not in tags["h"].split(":"):
        return f"the record allows only h={tags['h'][:40]}, and sha256 is used"
    if "s" in tags and not {"*", "email"} & set(tags["s"].split(":")):
        return f"the record is not for mail (s={tags['s'][:40]})"
    return ""


def _other(published: str, key: SigningKey) -> str:
    try:
        der = base64.b64decode(published, validate=True)
    except (binascii.Error, ValueError):
        return "the key in the record is no base64"
    if der == key.public:
        return ""
    if key.kind == "rsa":
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

        try:
            public: Any = load_der_public_key(der)  # RFC 6376 means PKCS#1, though all write the other form
            if public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.public:
                return ""
        except (ValueError, UnsupportedAlgorithm):
            return "the key in the record cannot be read"
    return "the record has another key"
