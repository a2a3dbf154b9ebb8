"""What came of a simulation by tag or by local address, where ``summary.py`` says it by provider.

Each single job is remembered, so it is for simulations of up to some hundred thousand jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mailerq.simulate.minutes import Minutes
from mailerq.simulate.report import duration, table
from mailerq.simulate.simulation import Simulation
from mailerq.simulate.summary import Seen, Summary, seen

GROUPS = ("tag", "ip")
NONE = "none"
"""The group of jobs without a tag, or that have not been sent from any address so far."""


class _Tags(msgspec.Struct):
    tags: list[str] = []


_tags_of = msgspec.json.Decoder(_Tags).decode


class Grouped:
    """Is made before ``simulation``, which has to keep its observations, runs; ``by`` is one of ``GROUPS``. A job is of
    the group of its first tag, or of the local address that its last attempt was made from."""

    def __init__(self, simulation: Simulation, by: str) -> None:
        self._simulation = simulation
        self._by = by
        self._ends: dict[int, tuple[float, str]] = {}
        ended = simulation.queues.ended

        def note(number: int, kind: str) -> None:
            self._ends[number] = (simulation.now, kind)
            ended(number, kind)

        simulation.queues.ended = note

    def of(self) -> tuple[Seen, ...]:
        """The groups, by name; what is true of connections only is 0."""
        groups = self._groups()
        found: dict[str, Minutes] = {}
        for number, arrival in enumerate(self._arrivals()):
            name = groups.get(number, NONE)
            one = found.get(name)
            if one is None:
                one = found[name] = self._new()
            one.arrived += 1
            self._count(one.waiting, arrival, 1)
            end = self._ends.get(number)
            if end is not None:
                one.end(end[1], end[0] - arrival, max(end[0], one.last_end or 0.0))
                self._count(one.waiting, end[0], -1)
                if end[1] == "success":
                    self._count(one.accepted, end[0], 1)
        self._count_failed(groups, found)
        for name, one in found.items():
            one.name = name
            for minute in range(1, len(one.waiting)):
                one.waiting[minute] += one.waiting[minute - 1]
        return tuple(seen(found[name]) for name in sorted(found))

    def _new(self) -> Minutes:
        one = Minutes("")
        one.enter(int(self._simulation.now // 60) + 1)
        one.waiting = type(one.waiting)("q", one.waiting)  # below 0 until all is added up
        return one

    def _count(self, minutes: Sequence[int], time: float, more: int) -> None:
        minutes[int(time // 60)] += more  # type: ignore[index]

    def _arrivals(self) -> Iterable[float]:
        now = self._simulation.now
        return (arrival.time for arrival in self._simulation.traffic.arrivals() if arrival.time <= now)

    def _groups(self) -> dict[int, str]:
        if self._by == "ip":
            sent = (one for one in self._simulation.observations if one.kind == "message")
            return {one.number: one.local or NONE for one in sent}
        traffic = self._simulation.traffic
        tags = ((number, _tags_of(traffic.body(one, number)).tags) for number, one in enumerate(traffic.arrivals()))
        return {number: names[0] for number, names in tags if names}

    def _count_failed(self, groups: dict[int, str], found: dict[str, Minutes]) -> None:
        """The attempts that did not succeed: the last of a job is refused, all before it are put off."""
        last: set[int] = set()
        for one in reversed(self._simulation.observations):
            if one.kind != "message" or groups.get(one.number, NONE) not in found:
                continue
            minutes = found[groups.get(one.number, NONE)]
            is_last, kind = one.number not in last, self._ends.get(one.number, (0.0, ""))[1]
            last.add(one.number)
            if not is_last or not kind:
                self._count(minutes.deferred, one.time, 1)
            elif kind != "success":
                self._count(minutes.refused, one.time, 1)


_HEAD = (
    "",
    "",
    "jobs",
    "a minute",
    "peak",
    "put off",
    "refused",
    "waiting",
    "half within",
    "99 % within",
    "drained after",
)


def group_report(runs: Sequence[Summary], by: str) -> str:
    """A table of the groups, as plain text; a second run is set beside the first."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for name in dict.fromkeys(group.name for run in runs for group in run.groups):
        shown = name
        for run in runs:
            for group in run.groups:
                if group.name == name:
                    rows.append((shown, run.name if len(runs) > 1 else "", *_numbers(group)))
                    shown = ""
    return f"By {by}\n\n" + table(rows, "ll" + "r" * (len(_HEAD) - 2))


def _numbers(group: Seen) -> tuple[str, ...]:
    return (
        str(group.jobs),
        f"{group.mean:.1f}",
        str(group.peak),
        str(group.deferred),
        str(group.refused),
        str(group.most_waiting),
        duration(group.minutes.waits.percentile(0.5)),
        duration(group.most),
        "not yet" if group.drained is None else duration(group.drained),
    )
