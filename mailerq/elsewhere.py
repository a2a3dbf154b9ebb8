"""Elsewhere: which machine takes jobs that need a local address which is not on this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from mailerq.interfaces import IBroker
from mailerq.queues.beside import queue_of

REMEMBER = 30.0  # seconds: which queues there are
LOOK = 30.0  # seconds between two looks for the local addresses of this machine
AT_MOST = 100  # addresses that are asked for at once
LATER = 30.0  # seconds after which a job is looked at again whose address should be here, and is not

_log = Logger()


class Elsewhere:
    """Each machine takes, beside the outbox, from a queue for each of its ``own`` addresses. A job for an address that
    another machine has a queue for is put there."""

    def __init__(self, broker: IBroker, outbox: str, seconds: Callable[[], float]) -> None:
        self.own: frozenset[str] = frozenset()
        self._broker = broker
        self._outbox = outbox
        self._seconds = seconds
        self._known: dict[str, tuple[bool, float]] = {}
        self._turn = 0

    def queues(self, addresses: Sequence[str]) -> list[str]:
        """The queues of addresses that are on this machine: from now on ``own``."""
        queues = list(dict.fromkeys(queue_of(self._outbox, address) for address in addresses))
        self.own = frozenset(queues)
        return queues

    def find(self, addresses: Sequence[str], then: Callable[[str | None, bool], None]) -> None:
        """``then(queue, later)``: where a job goes that may be sent from any of ``addresses``, none of which is here;
        None: nowhere, or, if ``later``, not now."""
        wanted = list(dict.fromkeys(queue_of(self._outbox, address) for address in addresses))[:AT_MOST]
        if any(queue in self.own for queue in wanted):  # it comes from there: to put it back would go round and round
            then(None, True)
            return
        now = self._seconds()
        unknown = [queue for queue in wanted if self._known.get(queue, (False, 0.0))[1] <= now]
        if not unknown:
            then(self._first(wanted), False)
            return
        found = self._broker.states(unknown)
        found.addCallbacks(self._learn, self._failed, callbackArgs=(unknown,))
        found.addCallback(lambda good: then(self._first(wanted) if good else None, not good))

    def _learn(self, states: Any, asked: Sequence[str]) -> bool:
        there = {state.name for state in states}
        until = self._seconds() + REMEMBER
        if len(self._known) > 10 * AT_MOST:
            self._known.clear()
        for queue in asked:
            self._known[queue] = queue in there, until
        return True

    def _failed(self, failure: Any) -> bool:
        _log.warn("it cannot be found which machine has an address: {why}", why=failure.value)
        return False

    def _first(self, queues: Sequence[str]) -> str | None:
        """One that there is, each in turn."""
        there = [queue for queue in queues if self._known.get(queue, (False, 0.0))[0]]
        self._turn += 1
        return there[self._turn % len(there)] if there else None
