"""Traffic: which job comes when, made up as it is needed.

Pure. A job that has come is but a number until the engine is about to take it; then ``body`` writes it down.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import accumulate
from typing import NamedTuple, Protocol

import msgspec

from mailerq.job import Job
from mailerq.simulate.dice import mixed
from mailerq.simulate.mix import Mix
from mailerq.simulate.places import Places
from mailerq.simulate.stream import Stream

NUMBER = "simulated-number"
SIZE = "simulated-bytes"
"""Properties of simulated jobs: which it is, and how large its message would be (there is none)."""

_HALF = 1 << 32  # the upper half of 64 bits chooses the provider, the lower one the moment
_LOW = _HALF - 1
_json = msgspec.json.Encoder().encode


def number_of(job: Job) -> int:
    """The number that a simulated job carries; -1 where it carries none."""
    return int(bytes(job.pieces.get(NUMBER, b"-1")))


class Arrival(NamedTuple):
    """A job is published ``time`` seconds after the start. ``source`` and ``which`` say which one it is."""

    time: float
    source: int
    which: int
    provider: int


class ITraffic(Protocol):
    """Where jobs come from."""

    total: int

    def arrivals(self) -> Iterator[Arrival]:
        """All jobs in the order of their times; the same each time it is asked for."""

    def body(self, arrival: Arrival, number: int) -> bytes:
        """The job as JSON; it carries ``number``."""


class MixTraffic:
    """The streams of a mix. The ``seed`` decides who gets what when."""

    def __init__(self, mix: Mix, places: Places, seed: int) -> None:
        self._places = places
        self._streams = [
            StreamTraffic(number, stream, mix, places, seed) for number, stream in enumerate(mix.streams.values())
        ]
        self.total = sum(one.stream.jobs for one in self._streams)

    def arrivals(self) -> Iterator[Arrival]:
        """All jobs in the order of their times."""
        if len(self._streams) == 1:
            return self._streams[0].arrivals()
        return iter(merge(*(one.arrivals() for one in self._streams)))

    def body(self, arrival: Arrival, number: int) -> bytes:
        """The job as JSON."""
        return self._streams[arrival.source].body(arrival, number)


class StreamTraffic:
    """One of them."""

    def __init__(self, number: int, stream: Stream, mix: Mix, places: Places, seed: int) -> None:
        self.stream = stream
        self._number = number
        self._places = places
        self._seed = (seed << 80) ^ (number << 48)
        names = [provider.name for provider in places.providers]
        shares = {name: share for name, share in mix.shares(stream).items() if share > 0}
        self._providers = [names.index(name) for name in shares]
        whole = sum(shares.values())
        self._bounds = [share / whole for share in accumulate(shares.values())]
        self._tail = self._properties()

    def _properties(self) -> bytes:
        stream = self.stream
        fields = {
            "envelope": stream.envelope,
            "mime": "x",
            "priority": stream.priority,
            "pool": stream.pool,
            "ips": list(stream.ips) or None,
            SIZE: stream.bytes,
        }
        return bytes(_json({name: value for name, value in fields.items() if value is not None})[1:])

    def arrivals(self) -> Iterator[Arrival]:
        """Its jobs in order."""
        stream, number, bounds, providers = self.stream, self._number, self._bounds, self._providers
        step = stream.over / stream.jobs if stream.jobs else 0.0
        seed, last = self._seed, len(providers) - 1
        for index in range(stream.jobs):
            bits = mixed(seed + index)
            time = stream.after + (index + (bits & _LOW) / _HALF) * step if step else stream.after
            yield Arrival(time, number, index, providers[min(bisect_right(bounds, (bits >> 32) / _HALF), last)])

    def body(self, arrival: Arrival, number: int) -> bytes:
        """The job as JSON."""
        bits = mixed(self._seed + arrival.which)
        domain = self._places.domain(arrival.provider, mixed(bits))
        tags = self.stream.tags
        tag = b'"tags":[%b],' % _json(tags[bits % len(tags)]) if tags else b""
        recipient = _json(f"u{number}@{domain}")
        return b'{"%b":%d,"recipient":%b,%b%b' % (NUMBER.encode(), number, recipient, tag, self._tail)
