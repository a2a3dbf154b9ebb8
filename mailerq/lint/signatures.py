"""The DKIM signatures of a message, as far as they can be read without their keys (RFC 6376 section 3.5)."""

from __future__ import annotations

import re

from msgspec import Struct

from mailerq.lint.message import Message

_SPACE = re.compile(r"\s+")


class Signature(Struct, frozen=True):
    """One. ``tags``: as they are, without white space; ``line``: where it begins."""

    line: int
    tags: dict[str, str]

    @property
    def domain(self) -> str:
        """Who signs."""
        return self.tags.get("d", "").lower().rstrip(".")

    @property
    def fields(self) -> list[str]:
        """The names of the fields that it covers, lower case."""
        return self.tags.get("h", "").lower().split(":")


def signatures(message: Message) -> list[Signature]:
    """All of them, from the top."""
    return [Signature(line, tags_of(value)) for line, value in message.fields("DKIM-Signature")]


def tags_of(text: str) -> dict[str, str]:
    """``name=value`` with semicolons between (section 3.2); the first of a name counts."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip(), _SPACE.sub("", value))
    return found
