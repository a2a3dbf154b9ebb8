"""Downloads that are remembered: for as long as their server says (RFC 9111 section 5.2), within bounds. Pure."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

SHORTEST = 60.0
"""Seconds for which a download is remembered though its server says less: what one mail needs a thousand others do."""
OVERHEAD = 1000
"""Bytes that anything costs beside its own."""
_MAX_AGE = re.compile(r'(s-maxage|max-age)\s*=\s*"?(\d{1,18})"?')


class Remembered(Generic[T]):
    """Values by name, at most ``most`` bytes of them: what was not used for the longest time goes first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self._values: OrderedDict[str, tuple[float, int, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, now: float) -> T | None:
        """What is known, unless its time is over."""
        found = self._values.get(name)
        if found is None:
            return None
        if found[0] <= now:
            self._forget(name)
            return None
        self._values.move_to_end(name)
        return found[2]

    def put(self, name: str, value: T, size: int, until: float) -> None:
        """Remember a value of so many bytes."""
        self._forget(name)
        size += len(name) + OVERHEAD
        if size > self.most:
            return
        self._values[name] = until, size, value
        self.size += size
        while self.size > self.most:
            self._forget(next(iter(self._values)))

    def clear(self, most: int) -> None:
        """Forget all."""
        self._values.clear()
        self.most, self.size = most, 0

    def _forget(self, name: str) -> None:
        found = self._values.pop(name, None)
        if found is not None:
            self.size -= found[1]


def lifetime(cache_control: Sequence[str], longest: float) -> float:
    """Seconds for which a response with these ``Cache-Control`` headers is remembered: none with ``no-store``, else
    what ``max-age`` says (``s-maxage`` before it), but at least ``SHORTEST`` and at most ``longest``."""
    said = ",".join(cache_control).lower()[:10_000]
    words = {word.partition("=")[0].strip() for word in said.split(",")}
    if "no-store" in words:
        return 0.0
    ages: dict[str, str] = dict(reversed(_MAX_AGE.findall(said)))
    if "no-cache" in words:
        age = 0.0
    elif ages:
        age = float(ages.get("s-maxage", ages.get("max-age", "0")))
    else:
        age = longest
    return min(max(age, SHORTEST), longest)
