"""A summary: what came of a simulation, as values.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from mailerq.simulate.minutes import Minutes
from mailerq.simulate.recorder import Recorder


@attrs.frozen
class Seen:
    """What one provider saw: messages a minute in ``busy`` minutes (those in which there were any), the ``peak`` and
    the ``mean``; ``most``: seconds within which 99 % had their result; ``limits``: what the first in the queue waited
    for, by share of the minutes in which one waited."""

    name: str
    jobs: int
    left: int
    mean: float
    peak: int
    busy: int
    connections: int
    connects: int
    deferred: int
    refused: int
    turned_away: int
    most_waiting: int
    most: float
    drained: float | None
    limits: tuple[tuple[str, int, float], ...]
    minutes: Minutes


@attrs.frozen
class Summary:
    """``name`` is the policy's. ``drained``: when the last job ended, None where some have not; ``half``, ``most``
    (99 %) and ``longest``: seconds from publication to result. ``cost``: µs of processor time a job.
    ``groups``: the same by tag or local address, if that was wanted (``grouped.py``)."""

    name: str
    ended_at: float
    drained: float | None
    jobs: int
    left: int
    results: Counter[str]
    half: float
    most: float
    longest: float
    wake_ups: float
    messages: int
    parked: int
    cost: float
    providers: tuple[Seen, ...]
    groups: tuple[Seen, ...] = ()


def summed(name: str, recorder: Recorder, now: float, seconds: float) -> Summary:
    """The summary of a simulation at ``now`` (seconds since its start), which took so many ``seconds`` to run."""
    used = [one for one in recorder.minutes if one.arrived]
    results: Counter[str] = Counter()
    for one in used:
        results.update(one.results)
    jobs = sum(one.arrived for one in used)
    left = jobs - sum(one.ended for one in used)
    ends = [one.last_end for one in used if one.last_end is not None]
    waits = recorder.waits()
    return Summary(
        name=name,
        ended_at=now,
        drained=None if left else max(ends, default=0.0),
        jobs=jobs,
        left=left,
        results=results,
        half=waits.percentile(0.5),
        most=waits.percentile(0.99),
        longest=waits.longest,
        wake_ups=recorder.wake_ups / max(1, recorder.messages),
        messages=recorder.messages,
        parked=recorder.parked,
        cost=seconds / max(1, jobs) * 1e6,
        providers=tuple(seen(one) for one in sorted(used, key=lambda one: -one.arrived)),
    )


def seen(one: Minutes) -> Seen:
    """What one provider saw."""
    busy = [count for count in one.accepted if count]
    left = one.arrived - one.ended
    return Seen(
        name=one.name,
        jobs=one.arrived,
        left=left,
        mean=sum(busy) / max(1, len(busy)),
        peak=max(one.accepted, default=0),
        busy=len(busy),
        connections=max(one.connections, default=0),
        connects=sum(one.connects),
        deferred=sum(one.deferred),
        refused=sum(one.refused),
        turned_away=sum(one.turned_away),
        most_waiting=max(one.waiting, default=0),
        most=one.waits.percentile(0.99),
        drained=None if left else one.last_end,
        limits=_limits(one.limits),
        minutes=one,
    )


def _limits(minutes: Sequence[Counter[tuple[str, int]]]) -> tuple[tuple[str, int, float], ...]:
    """What was waited for, and for which share of the time in which something waited."""
    counted: Counter[tuple[str, int]] = Counter()
    waited = 0
    for minute in minutes:
        whole = sum(minute.values())
        waited += bool(whole)
        for limit, count in minute.items():
            counted[limit] += count / whole  # type: ignore[assignment]
    found = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple((name, line, share / waited) for (name, line), share in found)
