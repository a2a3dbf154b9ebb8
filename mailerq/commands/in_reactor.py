"""A reactor, run for as long as a command takes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What ``work``, which is given the reactor, comes to. Raises what it raises; KeyboardInterrupt where somebody else
    stops the reactor."""
    from twisted.internet import reactor as real_reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    reactor: Any = real_reactor
    ends: list[Any] = []

    def end(result: Any) -> None:
        ends.append(result)
        with suppress(ReactorNotRunning):
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work(reactor)).addBoth(end))
    reactor.run()
    if not ends:
        raise KeyboardInterrupt
    if isinstance(ends[0], Failure):
        ends[0].raiseException()
    result: T = ends[0]
    return result
