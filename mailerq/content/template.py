"""Templates in the language of the original: read, translated, kept, filled in.

``docs/content.md`` has the language. Safe for threads: what is shared is a table behind a lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

from msgspec import Struct

from mailerq.content.template_budget import Budget, TemplateError
from mailerq.content.template_jinja import State, compiled, rendered
from mailerq.content.template_syntax import read
from mailerq.content.template_tokens import has_tags, without_entities

__all__ = ["Budget", "TemplateError", "Templates", "has_tags", "without_entities"]

MOST_KEPT = 500
MOST_WEIGHT = 32_000_000  # about bytes
_OF_EACH = 5  # what a template costs, however small, in nodes
_OF_A_NODE = 250  # about bytes of a tag or operation, compiled


class _Kept(Struct):
    template: Any
    size: int


class Templates:
    """Compiled templates by their text: the last ``most`` of them, of at most about ``most_weight`` bytes in all."""

    def __init__(self, most: int = MOST_KEPT, most_weight: int = MOST_WEIGHT) -> None:
        self._most = most
        self._most_weight = most_weight
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def render(
        self, text: str, variables: dict[str, Any], budget: Budget, show: Callable[[str], str] = lambda text: text
    ) -> str:
        """``text`` filled in. ``variables`` is changed by what the template assigns; ``show`` writes a value as it may
        stand where it goes. Raises TemplateError."""
        if not has_tags(text):
            return text
        with self._lock:
            kept = self._kept.get(text)
            if kept is not None:
                self._kept.move_to_end(text)
        if kept is None:
            kept = self._made(text, budget)
        else:
            budget.use(kept.size)
        return rendered(kept.template, State(variables, budget, show))

    def _made(self, text: str, budget: Budget) -> _Kept:
        tree = read(text)
        size = tree.size + _OF_EACH
        budget.use(size)
        kept = _Kept(compiled(tree), size)
        with self._lock:
            before = self._kept.pop(text, None)
            self._weight += _weight(text, kept) - (_weight(text, before) if before else 0)
            self._kept[text] = kept
            while self._kept and (len(self._kept) > self._most or self._weight > self._most_weight):
                self._weight -= _weight(*self._kept.popitem(last=False))
        return kept


def _weight(text: str, kept: _Kept) -> int:
    return len(text) + kept.size * _OF_A_NODE
