"""What a template says, as a tree. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Literal(Struct, frozen=True):
    """A text, a number, true or false."""

    value: str | int | float | bool
    line: int


class Variable(Struct, frozen=True):
    """``$name``."""

    name: str
    line: int


class Member(Struct, frozen=True):
    """``of.key`` or ``of[key]``."""

    of: Expression
    key: Expression
    line: int


class Operation(Struct, frozen=True):
    """``left sign right``; ``and`` and ``or`` are signs, too."""

    sign: str
    left: Expression
    right: Expression
    line: int


class Not(Struct, frozen=True):
    """``not of``."""

    of: Expression
    line: int


class Modified(Struct, frozen=True):
    """``of|name:argument``."""

    of: Expression
    name: str
    arguments: tuple[Expression, ...]
    line: int


Expression = Literal | Variable | Member | Operation | Not | Modified


class Text(Struct, frozen=True):
    """What stands in the template as it is."""

    text: str
    line: int


class Show(Struct, frozen=True):
    """``{$…}``."""

    what: Expression
    line: int


class If(Struct, frozen=True):
    """``{if}``: the first branch whose condition is true, or else ``otherwise``."""

    branches: list[tuple[Expression, list[Any]]]
    otherwise: list[Any]
    line: int


class Each(Struct, frozen=True):
    """``{foreach}``. ``key`` is empty where it is not asked for."""

    of: Expression
    key: str
    value: str
    body: list[Any]
    otherwise: list[Any]
    line: int


class Assign(Struct, frozen=True):
    """``{assign what to $name}``."""

    what: Expression
    name: str
    line: int


Statement = Text | Show | If | Each | Assign


class Tree(Struct, frozen=True):
    """A whole template. ``size``: how many tags and operations."""

    statements: list[Statement]
    size: int
