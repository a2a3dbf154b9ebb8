"""A clock that is run from event to event: ``IReactorTime`` with a heap, for millions of calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from msgspec import Struct
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

FEW = 1000  # cancelled calls that may lie in the heap, whatever its size


@implementer(IDelayedCall)
class Call(Struct, eq=False):
    """One call that is due."""

    clock: Any
    time: float
    call: Callable[..., Any] | None
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    called: bool = False

    def getTime(self) -> float:
        """When it is due."""
        return self.time

    def active(self) -> bool:
        """Whether it is still to be called."""
        return self.call is not None

    def cancel(self) -> None:
        """It is not to be called."""
        if self.call is None:
            raise AlreadyCalled if self.called else AlreadyCancelled
        self.call = None
        self.arguments = ()
        self.clock.was_cancelled()

    def reset(self, secondsFromNow: float) -> None:
        """Due so many seconds from now."""
        self._move(self.clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Due so much later than it was."""
        self._move(self.time + secondsLater)

    def _move(self, time: float) -> None:
        call, arguments = self.call, self.arguments
        if call is None:
            raise AlreadyCalled if self.called else AlreadyCancelled
        self.time = time
        self.clock.move(self, call, arguments)


@implementer(IReactorTime)
class SimulatedClock:
    """Time stands still until ``step`` makes the next call. Calls of the same time are made in the order in which they
    were asked for; what is asked for at once comes before what was asked for then long ago."""

    def __init__(self, start: float) -> None:
        self._now = start
        self._soon: deque[Call] = deque()
        self._heap: list[tuple[float, int, Call]] = []
        self._count = 0
        self._cancelled = 0
        self._stopped = False

    def seconds(self) -> float:
        """What time it is."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Call:
        """Call it ``delay`` seconds from now."""
        time = self._now + delay
        call = Call(self, time, callable, args, kw)
        if delay > 0:
            self._count += 1
            heappush(self._heap, (time, self._count, call))
        else:
            self._soon.append(call)
        return call

    def move(self, call: Call, what: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """``call`` is due at another time: its old place is left to a dead one."""
        dead = Call(self, call.time, what, (), {})
        dead.call = None
        soon = [dead if one is call else one for one in self._soon]
        self._soon.clear()
        self._soon.extend(soon)
        self._heap = [(time, at, dead if one is call else one) for time, at, one in self._heap]
        self._cancelled += 1
        self._count += 1
        heappush(self._heap, (max(call.time, self._now), self._count, call))

    def getDelayedCalls(self) -> Sequence[Call]:
        """All that is to be called."""
        return [call for call in self._soon if call.active()] + [one[2] for one in self._heap if one[2].active()]

    def was_cancelled(self) -> None:
        """One more call is dead; when they are many, they are thrown out."""
        self._cancelled += 1
        if self._cancelled > FEW and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_time(self) -> float | None:
        """When the next call is due; None: nothing is."""
        soon, heap = self._soon, self._heap
        while soon and soon[0].call is None:
            soon.popleft()
        if soon:
            return self._now
        while heap and heap[0][2].call is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def step(self) -> bool:
        """Make the next call, at its time. False: there is none."""
        if self.next_time() is None:
            return False
        if self._soon:
            call = self._soon.popleft()
        else:
            time, _, call = heappop(self._heap)
            self._now = max(self._now, time)
        what, call.call = call.call, None
        call.called = True
        assert what is not None
        what(*call.arguments, **call.named)
        return True

    def run(self, until: float = float("inf")) -> None:
        """Make all calls that are due until then, and let it be that late; or until ``stop`` is called."""
        soon, self._stopped = self._soon, False
        while not self._stopped:
            if soon:
                call = soon.popleft()
            else:
                heap = self._heap  # another one after a clearing out
                if not heap or heap[0][0] > until:
                    break
                time, _, call = heappop(heap)
                self._now = max(self._now, time)
            what = call.call
            if what is not None:
                call.call = None
                call.called = True
                what(*call.arguments, **call.named)
        if not self._stopped and until < float("inf"):
            self._now = max(self._now, until)

    def stop(self) -> None:
        """Let ``run`` return after this call."""
        self._stopped = True

    def clear(self) -> None:
        """Forget all calls."""
        self._soon.clear()
        self._heap.clear()
        self._cancelled = 0
