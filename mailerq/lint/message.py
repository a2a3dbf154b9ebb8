"""A message taken apart for the rules to look at."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from email.utils import getaddresses
from functools import cached_property

from mailerq.content.header_block import Field, split
from mailerq.lint.parts import Part, parts_of

LOOKED_AT = 20_000  # characters of a field with addresses
_LINE_END = re.compile(rb"\r\n|\n|\r")
_SECOND_LEVEL = frozenset(("ac", "co", "com", "edu", "gov", "go", "gob", "mil", "ne", "net", "or", "org", "gv", "nom"))


class Message:
    """``raw``: all of it. ``envelope``: MAIL FROM, None where it is not known. ``now``: epoch seconds. ``bulk``: it is
    known to be mail to many."""

    def __init__(self, raw: bytes, *, now: float, envelope: str | None = None, bulk: bool = False) -> None:
        self.raw = raw
        self.now = now
        self.envelope = envelope
        self.bulk = bulk
        self.block = split(raw)
        self.parts: list[Part]
        self.parts, self.is_cut = parts_of(raw)

    @cached_property
    def header(self) -> bytes:
        """The header as it stands."""
        return self.raw[: self.block.start]

    @cached_property
    def _ends(self) -> list[int]:
        return [found.end() for found in _LINE_END.finditer(self.raw)]

    def line_at(self, offset: int) -> int:
        """The line that a place is in, counted from 1."""
        return bisect_right(self._ends, offset) + 1

    @cached_property
    def _field_lines(self) -> dict[int, int]:
        """By the identity of a field: where it begins."""
        at, found = 0, {}
        for field in self.block.fields:
            found[id(field)] = at
            at += len(field.raw)
        return found

    def line_of(self, field: Field | None) -> int:
        """The line in which a field begins; 0 for none."""
        return 0 if field is None else self.line_at(self._field_lines[id(field)])

    def fields(self, name: str) -> Iterator[tuple[int, str]]:
        """Line and value of each field of that name."""
        for field in self.block.all(name):
            yield self.line_of(field), field.value.decode("utf-8", "replace")

    def value(self, name: str) -> str:
        """The value of the first field of that name, or ''."""
        return self.block.value(name) or ""

    def addresses(self, name: str) -> list[tuple[str, str]]:
        """Names and addresses in the fields of that name."""
        values = [value[:LOOKED_AT] for _, value in self.fields(name)][:10]
        try:
            return [(display, address) for display, address in getaddresses(values) if display or address]
        except (ValueError, IndexError, RecursionError):  # what the parser of the standard library trips over
            return []

    @cached_property
    def from_domain(self) -> str:
        """The domain of the first address in From, lower case, or ''."""
        addresses = self.addresses("From")
        return domain_of(addresses[0][1]) if addresses else ""

    @property
    def html(self) -> list[Part]:
        """The parts that are HTML to be read."""
        return [part for part in self.parts if part.type == "text/html" and part.is_text]

    @property
    def plain(self) -> list[Part]:
        """The parts that are plain text to be read."""
        return [part for part in self.parts if part.type == "text/plain" and part.is_text]

    def line_in(self, part: Part) -> int:
        """The line in which a part begins."""
        return self.line_at(part.offset)


def domain_of(address: str) -> str:
    """Lower case; '' where there is none."""
    return address.rpartition("@")[2].lower().strip("> .") if "@" in address else ""


def organisation(domain: str) -> str:
    """The domain that somebody has registered, as far as can be said without the list of public suffixes: the last two
    labels, or three under names such as ``co.uk``."""
    labels = domain.lower().strip(".").split(".")
    count = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else 2
    return ".".join(labels[-count:])


def aligned(one: str, other: str) -> bool:
    """Whether two domains are those of one organisation: relaxed alignment (RFC 7489 section 3.1)."""
    return bool(one and other) and organisation(one) == organisation(other)
