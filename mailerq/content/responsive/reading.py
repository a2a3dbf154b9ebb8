"""JSON values read as shapes: whatever is wrong is noted with its place, and reading goes on. Pure.

A shape is a msgspec Struct whose fields are annotated with a ``Reader``. Members that a shape does not have are not
looked at; ``null`` is as good as missing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

MOST_FAULTS = 50
"""More are counted, but not listed."""
_UNSAID = "expected {wanted}, got {got}"
S = TypeVar("S", bound=msgspec.Struct)


class Reading:
    """One reading of one description: ``faults`` in the order in which they were found, each beginning with its place;
    ``blocks``, ``depth`` and ``columns`` (how many of them what is read is in) for those who bound them."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.more = 0
        self.blocks = 0
        self.depth = 0
        self.columns = 0

    def fault(self, place: str, what: str) -> None:
        """Note that what stands at ``place`` cannot be used."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(f"{place}: {what}" if place else what)
        else:
            self.more += 1

    def expected(self, place: str, wanted: str, got: Any) -> None:
        """Note that another kind of value was wanted."""
        self.fault(place, _UNSAID.format(wanted=wanted, got=shown(got)))

    def reasons(self) -> tuple[str, ...]:
        """All that was found."""
        return (*self.faults, *([f"and {self.more} more"] if self.more else ()))


class Reader:
    """How a field is read: ``read(value, place, reading)`` gives its value; what it cannot use it notes, and gives
    None."""

    def __init__(self, read: Callable[[Any, str, Reading], Any]) -> None:
        self.read = read


def shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, str):
        return f"'{value[:40]}…'" if len(value) > 40 else f"'{value}'"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return str(value)[:40]


@cache
def _fields(shape: type[msgspec.Struct]) -> tuple[tuple[str, str, Callable[[Any, str, Reading], Any]], ...]:
    """Name in the Struct, name in JSON and reader of each field that is read."""
    hints = get_type_hints(shape, include_extras=True)
    found = []
    for name, written in zip(shape.__struct_fields__, shape.__struct_encode_fields__, strict=True):
        hint = hints[name]
        if get_origin(hint) is Annotated:
            found += [(name, written, extra.read) for extra in get_args(hint)[1:] if isinstance(extra, Reader)]
    return tuple(found)


def read(shape: type[S], value: Any, place: str, reading: Reading) -> S:
    """``value`` as ``shape``. What is missing or wrong has its default."""
    made: dict[str, Any] = {}
    if isinstance(value, dict):
        prefix = f"{place}." if place else ""
        for name, written, reader in _fields(shape):
            member = value.get(written)
            if member is not None and (got := reader(member, prefix + written, reading)) is not None:
                made[name] = got
    else:
        reading.expected(place, "an object", value)
    return shape(**made)


def object_of(shape: type[S]) -> Reader:
    """A field that is a shape itself."""
    return Reader(lambda value, place, reading: read(shape, value, place, reading))


def list_of(shape: type[S]) -> Reader:
    """A field that is an array of shapes."""

    def each(value: Any, place: str, reading: Reading) -> tuple[S, ...] | None:
        if not isinstance(value, list):
            reading.expected(place, "an array", value)
            return None
        return tuple(read(shape, item, f"{place}[{number}]", reading) for number, item in enumerate(value))

    return Reader(each)
