"""The queues of a simulation: the outbox is filled from the traffic as it is emptied, and what is published to the
results is counted, not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mailerq.interfaces import Publication
from mailerq.queues.memory import MemoryQueues
from mailerq.simulate.traffic import NUMBER, Arrival

AHEAD = 200
"""Jobs that are written down before they are taken."""

Source = Callable[[], tuple[Arrival, float, int] | None]
"""The next job that has arrived: which, when, its number; None: there is none."""


class _Entry(msgspec.Struct):
    type: str = ""


class _Job(msgspec.Struct):
    number: int = msgspec.field(name=NUMBER, default=-1)
    results: list[_Entry] = []


_read = msgspec.json.Decoder(_Job).decode


class Outbox(MemoryQueues):
    """``next_job`` gives what has arrived, ``write`` its body; ``ended`` is told the number of a job that has its final
    result, and the type of that."""

    def __init__(self, outbox: str, max_priority: int | None) -> None:
        super().__init__(max_priority)
        self.name = outbox
        self.next_job: Source = lambda: None
        self.write: Callable[[Arrival, int], bytes] = lambda arrival, number: b""
        self.ended: Callable[[int, str], None] = lambda number, kind: None
        self.declare(outbox)

    def put(self, publication: Publication, now: float) -> None:
        """A result is the end of a job; all else is a job for the outbox."""
        if publication.queue == self.name:
            super().put(publication, now)
        else:
            job = _read(publication.body)
            self.ended(job.number, job.results[-1].type if job.results else "invalid")

    def take(self, name: str, count: int) -> Iterator[Any]:
        """Up to ``count``, which are in hand then."""
        ready = self._queues[self.name].ready
        while len(ready) < AHEAD and (found := self.next_job()) is not None:
            arrival, since, number = found
            super().put(Publication(self.name, self.write(arrival, number)), since)
        return super().take(name, count)

    def numbers(self) -> dict[int, int]:
        """How often each job lies in the outbox or is in hand."""
        queue = self._queues[self.name]
        messages = [entry[3] for entry in queue.ready] + [entry[2] for entry in queue.waiting]
        found: dict[int, int] = {}
        for message in [*messages, *queue.in_hand.values()]:
            number = _read(message.publication.body).number
            found[number] = found.get(number, 0) + 1
        return found

    def held(self) -> int:
        """How many jobs lie in the outbox or are in hand."""
        queue = self._queues[self.name]
        return len(queue.ready) + len(queue.waiting) + len(queue.in_hand)
