"""Who a message is from: the domains in its From field (RFC 5322 section 3.6.2), found quickly. Pure."""

from __future__ import annotations

import re
from email.utils import getaddresses

from mailerq.smtp.address import a_label

LONGEST = 10_000  # bytes of a From field that are looked at
_END = rb"(?:\r\n|\n|\r|\Z)"
_REST = rb"[^\r\n]*" + _END + rb"(?:[ \t][^\r\n]*" + _END + rb")*+"
_FROM = re.compile(
    rb"(?:From [^\r\n]*" + _END + rb")?"
    rb"(?:(?![Ff][Rr][Oo][Mm][ \t]*:)[!-9;-~]+[ \t]*:" + _REST + rb")*+[Ff][Rr][Oo][Mm][ \t]*:(" + _REST + rb")"
)
_USUAL = re.compile(
    rb'[ \t]*+(?:(?:[^"(),:;<>@\\\r\n]*+|"[^"\\\r\n]*+"[ \t]*+)<[^\s"(),:;<>@\\]++@([A-Za-z0-9.-]++)>'
    rb"|[^\s\"(),:;<>@\\]++@([A-Za-z0-9.-]++))[ \t]*+[\r\n]*+"
)


def from_domains(message: bytes) -> tuple[str, ...]:
    """The domains of the first From field's addresses, as they stand in DNS (lower case, A-labels), each once. Nothing
    where there is no such field, or no address in it. The header is read as ``header_block.split`` reads it."""
    found = _FROM.match(message)
    if found is None:
        return ()
    usual = _USUAL.fullmatch(message, found.start(1), found.end(1))
    if usual:
        return ((usual[1] or usual[2]).decode("ascii").lower().rstrip("."),)
    return _thoroughly(found[1][:LONGEST])


def _thoroughly(value: bytes) -> tuple[str, ...]:
    text = re.sub(r"[\r\n]+", "", value.decode("utf-8", "replace"))
    try:
        addresses = [address for _, address in getaddresses([text]) if "@" in address]
    except (ValueError, IndexError, RecursionError):  # what the parser of the standard library trips over
        return ()
    domains: dict[str, None] = {}
    for address in addresses:
        domain = address.rpartition("@")[2].lower().rstrip(".")
        try:
            domains[domain if domain.isascii() else a_label(domain)] = None
        except ValueError:
            continue
    domains.pop("", None)
    return tuple(domains)
