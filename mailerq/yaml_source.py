"""YAML as nodes that know where they stand: file line and column of each key and value, nothing lost, nothing guessed.

Values are not converted: ``010`` stays the text ``010`` and says (``kind``) that YAML takes it for a number, so that
whoever reads it can refuse what YAML 1.1 would turn into something else. ``${NAME}`` is replaced after parsing: what
stands in the environment can never change the structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import yaml

_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$(?:\$(?=\{)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})")
_OPEN, _CLOSE = "\u2018", "\u2019"


def quoted(text: str) -> str:
    """``text`` in quotation marks, as error texts show names."""
    return f"{_OPEN}{text}{_CLOSE}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean x?)`` if one of ``known`` is like ``word``, else nothing."""
    import difflib

    close = difflib.get_close_matches(word.lower().replace("_", "-"), list(known), 1, 0.6)
    return f" (did you mean {quoted(close[0])}?)" if close else ""


@attrs.frozen
class Mark:
    """A place in the text, both counted from one."""

    line: int
    column: int


@attrs.frozen
class Problem:
    """One error: where, at which key (dotted, empty for the whole text), and what is wrong."""

    mark: Mark
    path: str
    what: str

    def under(self, key: str) -> Problem:
        """The same, seen from one level further up."""
        return attrs.evolve(self, path=f"{key}.{self.path}" if self.path else key)


class Wrong(Exception):
    """Something cannot be used; ``problems`` holds all that was found, in the order of the text; it is empty where
    all has been said before."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.path}: {problem.what}" for problem in problems))
        self.problems = problems


@attrs.frozen
class Scalar:
    """A single value. ``kind`` is what YAML takes it for: ``str``, ``int``, ``float``, ``bool``, ``null``,
    ``timestamp``; what was written in quotes or came from the environment is ``str``."""

    mark: Mark
    text: str
    kind: str


@attrs.frozen
class Items:
    """A list."""

    mark: Mark
    nodes: tuple[Node, ...]


@attrs.frozen
class Entry:
    """A key's place and its value."""

    mark: Mark
    node: Node


@attrs.frozen
class Table:
    """A mapping, in the order of the text."""

    mark: Mark
    entries: Mapping[str, Entry]


Node = Scalar | Items | Table


def is_null(node: Node) -> bool:
    """Whether it is written as ``null``, ``~`` or nothing."""
    return isinstance(node, Scalar) and node.kind == "null"


def read(text: str, environ: Mapping[str, str]) -> tuple[Node | None, list[Problem]]:
    """The nodes of a YAML text and what is wrong with single ones; None for an empty text or one that is no YAML."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return None, [Problem(_mark(where) if where else Mark(1, 1), "", f"no valid YAML: {what}")]
    except yaml.YAMLError as error:
        before = text[: getattr(error, "position", 0)]
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        return None, [Problem(mark, "", f"no valid YAML: {getattr(error, 'reason', error)}")]
    except RecursionError:
        return None, [Problem(Mark(1, 1), "", "no valid YAML: nested too deeply")]
    if root is None:
        return None, []
    reading = _Reading(environ)
    node = reading.node(root, "")
    return node, reading.problems


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _Reading:
    """From PyYAML's nodes to ours: tags, duplicate keys, variables. Aliases are shared, never copied."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []
        self._done: dict[int, Node | None] = {}

    def node(self, raw: yaml.Node, path: str) -> Node:
        if id(raw) in self._done:
            known = self._done[id(raw)]
            if known is not None:
                return known
            return self._refuse(_mark(raw.start_mark), path, "refers to itself")
        self._done[id(raw)] = None
        self._done[id(raw)] = made = self._made(raw, path)
        return made

    def _refuse(self, mark: Mark, path: str, what: str) -> Scalar:
        self.problems.append(Problem(mark, path, what))
        return Scalar(mark, "", "wrong")

    def _made(self, raw: Any, path: str) -> Node:
        mark = _mark(raw.start_mark)
        if not raw.tag.startswith(_TAG):
            return self._refuse(mark, path, f"tags such as {quoted(raw.tag)} have no meaning here")
        if isinstance(raw, yaml.ScalarNode):
            return self._scalar(raw, mark, path)
        if isinstance(raw, yaml.SequenceNode):
            return Items(mark, tuple(self.node(item, _join(path, str(n))) for n, item in enumerate(raw.value)))
        return self._table(raw, mark, path)

    def _table(self, raw: yaml.MappingNode, mark: Mark, path: str) -> Table:
        entries: dict[str, Entry] = {}
        for key, value in raw.value:
            where = _mark(key.start_mark)
            if not isinstance(key, yaml.ScalarNode) or key.tag == _TAG + "merge":
                self._refuse(where, path, "a key must be a plain word")
                continue
            if key.value in entries:
                first = entries[key.value].mark.line
                self._refuse(where, _join(path, key.value), f"is there twice (first in line {first})")
                continue
            entries[key.value] = Entry(where, self.node(value, _join(path, key.value)))
        return Table(mark, entries)

    def _scalar(self, raw: yaml.ScalarNode, mark: Mark, path: str) -> Scalar:
        text: str = raw.value
        if "${" not in text:
            return Scalar(mark, text, raw.tag.removeprefix(_TAG))
        missing = [
            found[1]
            for found in _VARIABLE.finditer(text)
            if found[1] and found[2] is None and found[1] not in self.environ
        ]
        if missing:
            return self._refuse(
                mark, path, f"the environment has no {missing[0]} (a default is written ${{NAME:-default}})"
            )
        if "${" in _VARIABLE.sub("", text):
            return self._refuse(mark, path, "${NAME} or ${NAME:-default} is not complete (a real ${ is written $${)")
        text = _VARIABLE.sub(self._value, text)
        null = not raw.style and text in ("", "~", "null")
        return Scalar(mark, text, "null" if null else "str")

    def _value(self, found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if not name:
            return "$"
        value = self.environ.get(name, "")
        # As in the shell, :- also stands in for a variable that is there but empty.
        return value if value or default is None else default


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
