"""How much a template may cost, and how one fails. Pure.

Time is counted in steps, not measured: the same template with the same values always ends in the same way, on any
machine. A step is about a microsecond.
"""

from __future__ import annotations

MOST_STEPS = 1_000_000
MOST_TEXT = 16_000_000  # characters
MOST_NODES = 10_000  # tags and operations: translating one takes about a tenth of a millisecond
CHARACTERS_A_STEP = 200


class TemplateError(Exception):
    """A template cannot be read, or cannot be used. ``why`` is read by people; ``line`` counts from 1, 0: not known."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}" if self.line else self.why


class Budget:
    """What is left for all the templates of one message. Not shared by threads."""

    def __init__(self, steps: int = MOST_STEPS, text: int = MOST_TEXT, nodes: int = 2 * MOST_NODES) -> None:
        self._steps = steps
        self._text = text
        self._nodes = nodes
        self._patterns: set[str] = set()

    def take(self, steps: int = 1) -> None:
        """So many steps are about to be made. Raises TemplateError where there are not as many left."""
        self._steps -= steps
        if self._steps < 0:
            raise TemplateError("takes too long")

    def make(self, size: int) -> None:
        """So many characters are about to be made. Raises TemplateError."""
        self._text -= size
        if self._text < 0:
            raise TemplateError(f"makes more than {MOST_TEXT // 1_000_000} MB of text")
        self.take(1 + size // CHARACTERS_A_STEP)

    def is_new(self, pattern: str) -> bool:
        """Whether a regular expression was not asked for before: then it has to be read first."""
        known = pattern in self._patterns
        self._patterns.add(pattern)
        return not known

    def use(self, nodes: int) -> None:
        """A template of so many tags and operations is about to be used. Raises TemplateError."""
        self._nodes -= nodes
        if self._nodes < 0:
            raise TemplateError(f"there are more than {2 * MOST_NODES} tags and operations in the message")
