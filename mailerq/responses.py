"""Responses: what a host's answer leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from mailerq.attempt import Outcome, Type


class Reaction(Struct, frozen=True):
    """What an outcome leads to."""

    rule: str = ""
    line: int = 0
    bounce_class: str = ""
    fail: bool | None = None
    retry_in: float | None = None
    hint: float | None = None
    pause: float | None = None
    pause_scope: str = "site"
    slow: Mapping[str, float] | None = None
    slow_for: float = 0.0
    fewer: bool = False
    sticky: bool = False
    set: Mapping[str, bytes] = {}


class Responses:
    """The rules."""

    def __init__(self, rules: Sequence[Any]) -> None:
        self._rules = tuple(rules)

    def reaction(self, outcome: Outcome, domain: str, mx: str | None, source: str | None) -> Reaction:
        """What an outcome leads to."""
        if outcome.type is Type.SUCCESS:
            return Reaction()
        return Reaction(fewer=outcome.type is Type.NOACCESS and outcome.code == 421)
