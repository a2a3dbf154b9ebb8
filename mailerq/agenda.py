"""What is due when: many times, one ``callLater``."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()


class Entry:
    """Something due at ``time``."""

    __slots__ = ("arguments", "call", "time")

    def __init__(self, time: float, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.time = time
        self.call: Callable[..., None] | None = call
        self.arguments = arguments

    def cancel(self) -> None:
        """It is not due any more. Leaves the heap when its time comes."""
        self.call = None
        self.arguments = ()


class Agenda:
    """A heap of entries. What is due is called with the clock never behind the entry's time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = count()
        self._timer: IDelayedCall | None = None
        self._armed_for = 0.0
        self._due: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._heap) + len(self._due)

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> Entry:
        """``call(*arguments)`` at ``time`` (seconds of the clock), or in the next turn where that has passed."""
        entry = Entry(time, call, arguments)
        heapq.heappush(self._heap, (time, next(self._order), entry))
        self._arm()
        return entry

    def clear(self) -> None:
        """Forget everything."""
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if not self._heap:
            return
        first = self._heap[0][0]
        if self._timer is not None:
            if self._armed_for <= first:
                return
            self._timer.cancel()
        self._armed_for = first
        self._timer = self._clock.callLater(max(0.0, first - self._clock.seconds()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        # a timer may fire a hair early; what it was set for is due all the same
        now = max(self._clock.seconds(), self._armed_for)
        while self._heap and self._heap[0][0] <= now:
            self._due.append(heapq.heappop(self._heap)[2])
        self._arm()
        while self._due:
            entry = self._due.popleft()
            if entry.call is not None:
                try:
                    entry.call(*entry.arguments)
                except Exception:
                    _log.failure("what was due has failed")
