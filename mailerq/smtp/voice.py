"""Telling an owner what happens, but never from within one of its own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

_log = Logger()


class Voice:
    """``tell`` calls at once, unless ``inside`` says that the owner is calling us: then in the next turn, in order.

    ``inside`` is raised and lowered by those whom the owner calls.
    """

    __slots__ = ("_clock", "_untold", "inside")

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._untold: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.inside = 0

    def tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Once something waits to be told, all that comes later waits behind it."""
        if not self.inside and not self._untold:
            what(*arguments)
            return
        if not self._untold:
            self._clock.callLater(0, self._tell_all)
        self._untold.append((what, arguments))

    def _tell_all(self) -> None:
        while self._untold:
            what, arguments = self._untold[0]
            try:
                what(*arguments)
            except Exception:  # what it is told next must not be lost with it
                _log.failure("telling {what} failed", what=what)
            del self._untold[0]
