"""The table of replies that comes with the program (``responses.yaml``): read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import attrs

from mailerq.response_rules import ResponseRule, response
from mailerq.yaml_source import Items, read

NAME = "responses.yaml"


@cache
def shipped_rules() -> tuple[ResponseRule, ...]:
    """The rules of the table, in its order. What is wrong with it is a bug, and raises."""
    root, problems = read(files("mailerq").joinpath(NAME).read_text(encoding="utf-8"), {})
    if problems or not isinstance(root, Items):
        raise ValueError(f"{NAME}: {problems or 'is no list'}")
    return tuple(attrs.evolve(response(node), shipped=True) for node in root.nodes)
