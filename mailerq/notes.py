"""Notes: small state that changes rarely, kept in a file."""

from __future__ import annotations

from typing import Any


class Notes:
    """Named sections."""

    def __init__(self, path: str, clock: Any) -> None:
        self._sections: dict[str, Any] = {}

    def get(self, section: str) -> Any:
        """What was noted."""
        return self._sections.get(section)

    def put(self, section: str, value: Any, at_once: bool = False) -> None:
        """Note it."""
        self._sections[section] = value

    def close(self) -> None:
        """Write."""
