"""How much is done at the same time: so many all together, so many of one host; the hosts that wait take turns."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Slots:
    """``most`` and ``each`` may be changed at any time."""

    def __init__(self, most: int, each: int) -> None:
        self.most = most
        self.each = each
        self.used = 0
        self._used_by: dict[str, int] = {}
        self._waiting: dict[str, deque[Deferred[None]]] = {}

    def take(self, host: str) -> Deferred[None]:
        """Fires when ``host`` may have one; whoever got one calls ``free``. May be cancelled."""
        waiting: Deferred[None] = Deferred(lambda this: self._leave(host, this))
        self._waiting.setdefault(host, deque()).append(waiting)
        self._go()
        return waiting

    def free(self, host: str) -> None:
        """Give one back."""
        self.used -= 1
        self._used_by[host] -= 1
        if not self._used_by[host]:
            del self._used_by[host]
        self._go()

    def _leave(self, host: str, waiting: Deferred[None]) -> None:
        queue = self._waiting.get(host)
        if queue is not None and waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._waiting[host]

    def _go(self) -> None:
        while self.used < self.most:
            host = next((host for host in self._waiting if self._used_by.get(host, 0) < self.each), None)
            if host is None:
                return
            queue = self._waiting.pop(host)
            first = queue.popleft()
            if queue:
                self._waiting[host] = queue  # behind the others
            self.used += 1
            self._used_by[host] = self._used_by.get(host, 0) + 1
            first.callback(None)
