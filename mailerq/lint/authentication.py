"""Rules for who vouches for the sender: DKIM, SPF and DMARC, as far as the message itself shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from mailerq.content.dkim_signing import body_digest
from mailerq.content.header_block import split
from mailerq.lint.message import Message, aligned, domain_of
from mailerq.lint.rule import BULK, Rule, Spot, error, hint, warning
from mailerq.lint.signatures import signatures
from mailerq.smtp.wire import normal

NEEDED = ("v", "a", "b", "bh", "d", "h", "s")
DMARC = "RFC 7489 section 3.1"


def dkim_missing(message: Message) -> Iterator[Spot]:
    """Nobody signs."""
    if "DKIM-Signature" not in message.block:
        yield 0, "there is no DKIM-Signature"


def dkim_unaligned(message: Message) -> Iterator[Spot]:
    """Another signs."""
    found = signatures(message)
    if found and message.from_domain and not any(aligned(one.domain, message.from_domain) for one in found):
        domains = ", ".join(sorted({one.domain for one in found}))
        yield found[0].line, f"From is at {message.from_domain}, and the signature is that of {domains[:80]}"


def dkim_incomplete(message: Message) -> Iterator[Spot]:
    """A signature that is none."""
    for one in signatures(message):
        missing = [tag for tag in NEEDED if not one.tags.get(tag)]
        if missing:
            yield one.line, f"the signature has no {', '.join(missing)}"


def dkim_from(message: Message) -> Iterator[Spot]:
    """A signature that does not cover From."""
    for one in signatures(message):
        if "h" in one.tags and "from" not in one.fields:
            yield one.line, "the signature does not cover From"


def dkim_weak(message: Message) -> Iterator[Spot]:
    """A signature with SHA-1."""
    for one in signatures(message):
        if one.tags.get("a", "").endswith("sha1"):
            yield one.line, "the signature is made with SHA-1"


def dkim_body(message: Message) -> Iterator[Spot]:
    """A signature over another body."""
    body: bytes | None = None
    for one in signatures(message)[:10]:
        if one.tags.get("a", "").endswith("sha256") and "bh" in one.tags and "l" not in one.tags:
            body = normal(message.raw) if body is None else body
            relaxed = one.tags.get("c", "simple/simple").partition("/")[2] == "relaxed"
            digest = base64.b64encode(body_digest(body, split(body).start, relaxed)).decode()
            if digest != one.tags["bh"]:
                yield one.line, "the body is not the one that was signed (bh=)"


def dkim_length(message: Message) -> Iterator[Spot]:
    """A signature over a part of the body."""
    for one in signatures(message):
        if "l" in one.tags:
            yield one.line, "the signature covers only a part of the body (l=)"


def dkim_expired(message: Message) -> Iterator[Spot]:
    """A signature of the past."""
    for one in signatures(message):
        expires = one.tags.get("x", "")
        if expires.isascii() and expires.isdecimal() and int(expires[:12]) < message.now:
            yield one.line, "the signature has expired (x=)"


def dkim_fields(message: Message) -> Iterator[Spot]:
    """Fields that anybody can change."""
    for one in signatures(message):
        wanted = [name for name in ("Subject", "Date", "To", "Message-ID", "Reply-To") if name in message.block]
        missing = [name for name in wanted if name.lower() not in one.fields]
        if one.fields != [""] and missing:
            yield one.line, f"the signature does not cover {', '.join(missing)}"


def envelope_unaligned(message: Message) -> Iterator[Spot]:
    """Bounces go to somebody else."""
    domain = domain_of(message.envelope or "")
    if domain and message.from_domain and not aligned(domain, message.from_domain):
        yield 0, f"From is at {message.from_domain}, and MAIL FROM at {domain}"


def dmarc_fails(message: Message) -> Iterator[Spot]:
    """Nothing vouches for From."""
    domain = domain_of(message.envelope or "")
    signed = signatures(message)
    if not message.from_domain or not domain or not signed or aligned(domain, message.from_domain):
        return
    if not any(aligned(one.domain, message.from_domain) for one in signed):
        yield 0, f"neither the signature nor MAIL FROM is that of {message.from_domain}: DMARC cannot pass"


RULES: tuple[Rule, ...] = (
    warning(
        "dkim-missing",
        BULK,
        "sign it (mailerq: `dkim`; a message that the engine signs has none before)",
        dkim_missing,
        bulk=True,
    ),
    warning("dkim-unaligned", f"{BULK}; {DMARC}", "sign with the domain in From", dkim_unaligned, bulk=True),
    error("dkim-incomplete", "RFC 6376 section 3.5", "sign it again", dkim_incomplete),
    error("dkim-from", "RFC 6376 section 5.4: From must be covered", "sign it with h=from:...", dkim_from),
    error("dkim-weak", "RFC 8301 section 3.1: it does not count", "sign with rsa-sha256", dkim_weak),
    error("dkim-body", "RFC 6376 section 3.7: the signature does not count", "sign it again, last", dkim_body),
    warning("dkim-length", "RFC 6376 section 8.2: anybody can add to the message", "sign without l=", dkim_length),
    error("dkim-expired", "RFC 6376 section 3.5", "sign it again", dkim_expired),
    hint("dkim-fields", "RFC 6376 section 5.4.1: anybody can change them", "sign them, too", dkim_fields),
    hint(
        "envelope-unaligned",
        f"{DMARC}: SPF does not count for From then, DKIM alone does",
        "send bounces to a domain below that of From",
        envelope_unaligned,
    ),
    error("dmarc-fails", f"{DMARC}; {BULK}", "sign with the domain in From", dmarc_fails),
)
