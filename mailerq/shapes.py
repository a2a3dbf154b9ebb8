"""The shapes that values of the configuration can have: from a YAML node to a Python value, or all that is wrong.

A *read* function takes a node and gives the value, or raises ``Wrong``. ``section`` makes one from an attrs class whose
attributes were declared with ``key``: that class is the only place where a key, its default and its shape are written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import attrs

from mailerq.units import parse_rate, parse_size, parse_time, parse_times, parse_whole
from mailerq.yaml_source import Entry, Items, Node, Problem, Scalar, Table, Wrong, is_null, quoted, suggestion

T = TypeVar("T")
Read = Callable[[Node], Any]
_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}
_MOST = 2**31


def key(default: Any, read: Read, null: bool = False) -> Any:
    """An attribute that is a key of the configuration; ``null``: may be switched off by writing ``null``."""
    return attrs.field(default=default, metadata={"read": read, "null": null})


def wrong(node: Node, what: str) -> Wrong:
    """One problem with one node."""
    return Wrong([Problem(node.mark, "", what)])


def dashed(name: str) -> str:
    """An attribute's name as the key that users write; ``from_`` is ``from``, which Python keeps for itself."""
    return name.rstrip("_").replace("_", "-")


def keys_of(cls: type[Any]) -> dict[str, Any]:
    """The attributes of a settings class that are keys, by the name that users write."""
    return {dashed(field.name): field for field in attrs.fields(cls) if "read" in field.metadata}


def values_of(cls: type[Any], node: Node) -> tuple[dict[str, Any], list[Problem]]:
    """What ``node`` says of the keys of ``cls``, and all that is wrong; a wrong or missing one has no value."""
    if is_null(node) or _refused(node):
        return {}, []
    if not isinstance(node, Table):
        return {}, [Problem(node.mark, "", f"must be a mapping with keys such as {quoted(next(iter(keys_of(cls))))}")]
    fields = keys_of(cls)
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, entry in node.entries.items():
        if name not in fields:
            problems.append(Problem(entry.mark, name, f"unknown key{suggestion(name, fields)}"))
            continue
        try:
            values[fields[name].name] = _value(fields[name], entry.node)
        except Wrong as error:
            problems += [problem.under(name) for problem in error.problems]
    return values, problems


def each_entry(node: Table, keys: Collection[str], read: Callable[[str, Entry], None], no_null: str) -> list[Problem]:
    """Hands each entry of a mapping to ``read``. Returns all that is wrong: unknown keys, ``null`` (``no_null`` says
    why), and what ``read`` raises (``Wrong``)."""
    problems: list[Problem] = []
    for name, entry in node.entries.items():
        try:
            if name not in keys:
                problems.append(Problem(entry.mark, name, f"unknown key{suggestion(name, keys)}"))
            elif is_null(entry.node):
                raise wrong(entry.node, no_null)
            else:
                read(name, entry)
        except Wrong as error:
            problems += [problem.under(name) for problem in error.problems]
    return problems


def _value(field: Any, node: Node) -> Any:
    if is_null(node) and field.metadata["null"]:
        return None
    if is_null(node) and not getattr(field.metadata["read"], "takes_null", False):
        raise wrong(node, "cannot be null (leave the line out to get the default)")
    return field.metadata["read"](node)


def _refused(node: Node) -> bool:
    """Whether the node's own text was wrong, which has been said."""
    return isinstance(node, Scalar) and node.kind == "wrong"


def takes_null(read: Read) -> Read:
    """Marks a read function that is to see ``null`` itself."""
    read.takes_null = True  # type: ignore[attr-defined]
    return read


def section(cls: type[T]) -> Callable[[Node], T]:
    """Reads a mapping whose keys are those of ``cls``; ``null`` or nothing is all defaults."""

    def read(node: Node) -> T:
        values, problems = values_of(cls, node)
        missing = [] if problems else [name for name, field in keys_of(cls).items() if _needed(field, values)]
        problems += [Problem(node.mark, name, "is missing") for name in missing]
        if problems:
            raise Wrong(problems)
        return cls(**values)

    read.section = cls  # type: ignore[attr-defined]
    return takes_null(read)


def _needed(field: Any, values: Mapping[str, Any]) -> bool:
    return field.default is attrs.NOTHING and field.name not in values


def scalar(node: Node) -> Scalar:
    """``node``, if it is a single value."""
    if not isinstance(node, Scalar):
        raise wrong(node, "must be a single value")
    if _refused(node):
        raise Wrong([])
    return node


def plain(parse: Callable[[str], T]) -> Callable[[Node], T]:
    """Reads a single value with a function of ``units``, whatever YAML takes it for."""

    def read(node: Node) -> T:
        single = scalar(node)
        try:
            return parse(single.text)
        except ValueError as error:
            trap = _trap(single)
            raise wrong(node, f"{trap}: " * bool(trap) + str(error))

    return read


def _trap(node: Scalar) -> str:
    """How YAML 1.1 misreads a value, if it does so in a way that surprises."""
    if node.kind == "bool" and node.text.lower() not in ("true", "false"):
        return f"YAML takes {node.text} for {'true' if node.text.lower() in ('yes', 'on', 'y') else 'false'}"
    if node.kind in ("int", "float") and ":" in node.text:
        return f"YAML takes {node.text} for a number to the base 60"
    return ""


def text(node: Node) -> str:
    """A text that is not empty. What YAML takes for something else must be written in quotes."""
    single = scalar(node)
    if single.kind in _KINDS:
        trap = _trap(single) or f"YAML takes {single.text} for {_KINDS[single.kind]}"
        raise wrong(node, f'{trap}: if it is meant as text, write "{single.text}"')
    if single.kind == "null" or not single.text.strip():
        raise wrong(node, "must not be empty")
    if not single.text.isprintable():
        raise wrong(node, "must be one line without control characters")
    return single.text.strip()


def secret(node: Node) -> str:
    """A text that no error shows."""
    single = scalar(node)
    if single.kind in _KINDS:
        raise wrong(node, f"YAML takes this for {_KINDS[single.kind]}: write it in quotes")
    if single.kind == "null" or not single.text:
        raise wrong(node, "must not be empty")
    if "\n" in single.text or "\r" in single.text or "\0" in single.text:
        raise wrong(node, "must be one line")
    return single.text


def word(*words: str) -> Callable[[Node], str]:
    """Reads one of some fixed words."""

    def read(node: Node) -> str:
        single = scalar(node)
        if single.text in words:
            return single.text
        trap = _trap(single)
        raise wrong(
            node,
            f"{trap}: " * bool(trap)
            + f"{quoted(single.text)} is none of {', '.join(words)}{suggestion(single.text, words)}",
        )

    return read


def switch(node: Node) -> bool:
    """``true`` or ``false``; the many other words that YAML 1.1 has for these are refused."""
    single = scalar(node)
    if single.text.lower() in ("true", "false"):
        return single.text.lower() == "true"
    raise wrong(node, f"must be true or false, not {quoted(single.text)}")


def whole(low: int, high: int = _MOST) -> Callable[[Node], int]:
    """Reads a whole number from ``low`` to ``high``."""

    def read(node: Node) -> int:
        number = plain(parse_whole)(node)
        if not low <= number <= high:
            raise wrong(node, f"must be at least {low}" if high == _MOST else f"must be from {low} to {high}")
        return number

    return read


def time(zero: bool = False) -> Callable[[Node], float]:
    """Reads a time in seconds, above zero unless ``zero``."""

    def read(node: Node) -> float:
        seconds = plain(parse_time)(node)
        if seconds <= 0 and not zero:
            raise wrong(node, "must be more than nothing")
        return seconds

    return read


def times(node: Node) -> tuple[float, ...]:
    """A schedule: ``10m, 10m, 1h``, or the same as a YAML list; never empty, each above zero."""
    parts = node.nodes if isinstance(node, Items) else (node,)
    found = tuple(seconds for part in parts for seconds in plain(parse_times)(part))
    if not found or min(found) <= 0:
        raise wrong(node, "needs at least one time, and each above zero")
    return found


def rate(size: bool = False) -> Callable[[Node], float]:
    """Reads how many (with ``size``: bytes) per minute, above zero."""

    def read(node: Node) -> float:
        number = plain(lambda given: parse_rate(given, size))(node)
        if number <= 0:
            raise wrong(node, "must be above zero")
        return number

    return read


def size(node: Node) -> int:
    """A number of bytes, above zero."""
    number = plain(parse_size)(node)
    if number <= 0:
        raise wrong(node, "must be above zero")
    return number


def ip(node: Node) -> str:
    """An IPv4 or IPv6 address, in its usual spelling."""
    given = text(node)
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        raise wrong(node, f"{quoted(given)} is no IP address")


@takes_null
def weighted(node: Node) -> tuple[str, ...]:
    """Addresses, each as often as it takes turns: ``192.0.2.8*3`` is three times there."""

    def read_some(one: Node) -> tuple[str, ...]:
        given = text(one)
        address, star, count = (part.strip() for part in given.partition("*"))
        if star and not (count.isdecimal() and len(count) <= 4 and 1 <= int(count) <= 1000):
            raise wrong(one, f"{quoted(given)}: a weight is written {address}*3, with a number from 1 to 1000")
        try:
            return (str(ipaddress.ip_address(address)),) * int(count or 1)
        except ValueError:
            raise wrong(one, f"{quoted(given)} is no IP address")

    return tuple(address for some in items(read_some, single=True)(node) for address in some)


def endpoint(node: Node) -> tuple[str, int | None]:
    """An address and a port if there is one: ``192.0.2.1``, ``192.0.2.1:53``, ``2001:db8::1``, ``[2001:db8::1]:53``."""
    given = text(node)
    host, colon, port = given, "", ""
    if given.startswith("["):
        host, _, rest = given[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif given.count(":") == 1:
        host, colon, port = given.partition(":")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise wrong(node, f"{quoted(given)} is no IP address (with a port: 192.0.2.1:53 or [2001:db8::1]:53)")
    if not colon:
        return address, None
    if colon != ":" or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise wrong(node, f"{quoted(given)}: the port must be a number from 1 to 65535")
    return address, int(port)


def items(read: Callable[[Node], T], single: bool = False) -> Callable[[Node], tuple[T, ...]]:
    """Reads a list, every item with ``read``; ``single``: one value without brackets is a list of one."""

    def read_all(node: Node) -> tuple[T, ...]:
        if is_null(node):
            return ()
        if not isinstance(node, Items):
            if single:
                return (read(node),)
            raise Wrong([]) if _refused(node) else wrong(node, "must be a list: [one, two]")
        found, problems, right = [], [], True
        for number, item in enumerate(node.nodes):
            try:
                found.append(read(item))
            except Wrong as error:
                right = False
                problems += [problem.under(str(number)) for problem in error.problems]
        if not right:
            raise Wrong(problems)
        return tuple(found)

    return takes_null(read_all)


def table(read: Callable[[Node], T]) -> Callable[[Node], dict[str, T]]:
    """Reads a mapping with free keys, every value with ``read``."""

    def read_all(node: Node) -> dict[str, T]:
        if is_null(node):
            return {}
        if not isinstance(node, Table):
            raise Wrong([]) if _refused(node) else wrong(node, "must be a mapping: {name: value}")
        found, problems, right = {}, [], True
        for name, entry in node.entries.items():
            try:
                found[name] = read(entry.node)
            except Wrong as error:
                right = False
                problems += [problem.under(name) for problem in error.problems]
        if not right:
            raise Wrong(problems)
        return found

    return takes_null(read_all)


def entry_of(node: Node | None, path: str) -> Entry | None:
    """Where a dotted ``path`` stands in the text, or None where the text does not have it."""
    entry = None
    for name in path.split("."):
        if isinstance(node, Table) and name in node.entries:
            entry = node.entries[name]
            node = entry.node
        elif isinstance(node, Items) and name.isdecimal() and int(name) < len(node.nodes):
            node = node.nodes[int(name)]
            entry = Entry(node.mark, node)
        else:
            return None
    return entry
