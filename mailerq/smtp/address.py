"""An address as it is written between the angle brackets (RFC 5321 section 4.1.2, RFC 6531). Pure."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

# What may stand there without a quoted local part, and with one. Never a control character: an address must not be
# able to be a second command.
_PLAIN = re.compile(r'[^\x00-\x20\x7f-\x9f<>"\\]*')
_QUOTED = re.compile(r'"(?:[^\x00-\x1f\x7f-\x9f"\\]|\\[\x20-\x7e])*"@[^\x00-\x20\x7f-\x9f<>"\\]+')


def ascii_address(text: str) -> bytes | None:
    """The usual address, as it is; None for one that ``wire_address`` must look at."""
    return text.encode() if text.isascii() and _PLAIN.fullmatch(text) else None


ascii_sender = lru_cache(maxsize=1024)(ascii_address)
"""The same for senders: few send many."""


def wire_address(text: str) -> bytes:
    """UTF-8 where the local part needs it (then SMTPUTF8 does), else ASCII, the domain as A-labels. Raises ValueError
    where it is no address."""
    if not (_PLAIN.fullmatch(text) or _QUOTED.fullmatch(text)):
        raise ValueError("it has characters that no address has")
    local, at, domain = text.rpartition("@")
    if local.isascii() and not domain.isascii():
        return local.encode() + at.encode() + a_label(domain).encode()
    return text.encode()  # a UnicodeEncodeError (a lone surrogate) is a ValueError


@lru_cache(maxsize=4096)
def a_label(domain: str) -> str:
    """A domain as it stands in the DNS (IDNA 2008, RFC 5891, with the mapping of UTS 46). Raises ValueError."""
    return idna.encode(domain, uts46=True).decode("ascii").lower()
