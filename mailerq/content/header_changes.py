"""What a job's ``headers`` ask for, and what of it cannot be used. Pure; imported with every job's properties."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from mailerq.content.ascii_value import ascii_value

Values = str | list[str]
LONGEST_NAME = 100
"""Characters of a field's name."""
LONGEST_WORD = 880
"""Bytes of a value without white space: a line of a message has 998 at most (RFC 5322 section 2.1.1), and is broken at
white space only."""
MOST = 1000
"""Names and values all together."""
LARGEST = 256 * 1024
"""Characters of all values together."""
_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HALF = re.compile("[\ud800-\udfff]")
_CHANGES = ("prepend", "append", "add", "replace", "update")


class HeaderChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """``remove``: names, a string or a list of them. The others: values by name, each a string or a list of them;
    ``add`` is another word for ``append``. What they have is looked at by ``problem`` alone, which can name it."""

    remove: Any = []
    prepend: dict[str, Any] = {}
    append: dict[str, Any] = {}
    add: dict[str, Any] = {}
    replace: dict[str, Any] = {}
    update: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.remove or any(getattr(self, change) for change in _CHANGES))

    def problem(self) -> str | None:
        """What cannot be used, naming it as ``headers.append.X``; None if all can."""
        if wrong := self._wrong_shape():
            return f"{wrong}: expected a string or an array of strings"
        if self._count() > MOST:
            return f"headers: has more than {MOST} names and values"
        if sum(len(value) for change in _CHANGES for _, value in self.pairs(change)) > LARGEST:
            return f"headers: has values of more than {LARGEST} characters"
        for name in listed(self.remove):
            if not _is_name(name):
                return f"headers.remove: {_cut(name)!r} is no name of a header field"
        for change in _CHANGES:
            for name, value in self.pairs(change):
                if not _is_name(name):
                    return f"headers.{change}: {_cut(name)!r} is no name of a header field"
                if why := _fault(name, value):
                    return f"headers.{change}.{name}: {why}"
        return None

    def _wrong_shape(self) -> str:
        if not _is_values(self.remove):
            return "headers.remove"
        for change in _CHANGES:
            for name, values in getattr(self, change).items():
                if not _is_values(values):
                    return f"headers.{change}.{_cut(name)}"
        return ""

    def _count(self) -> int:
        count = len(listed(self.remove))
        for change in _CHANGES:
            count += sum(1 + len(listed(values)) for values in getattr(self, change).values())
        return count

    def pairs(self, change: str) -> Iterator[tuple[str, str]]:
        """Each name with each of its values, in order."""
        for name, values in getattr(self, change).items():
            for value in listed(values):
                yield name, value


def _is_values(values: Any) -> bool:
    return isinstance(values, str) or (isinstance(values, list) and all(isinstance(one, str) for one in values))


def listed(values: Values) -> list[str]:
    """One value is a list of one."""
    return [values] if isinstance(values, str) else values


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None


def _fault(name: str, value: str) -> str:
    if _CONTROL.search(value):
        return "has a line break or another control character"
    if _HALF.search(value):
        return "has half of a surrogate pair, which is no character"
    if len(value) > LONGEST_WORD // 4 and _longest_word(ascii_value(name, value)) > LONGEST_WORD:
        return f"has more than {LONGEST_WORD} characters without a space: no line may be that long"
    return ""


def _longest_word(value: str) -> int:
    return max((len(word.encode()) for word in re.split(r"[ \t]+", value)), default=0)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"
