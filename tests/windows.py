"""Whether limits were held: what a run of the simulator shows, against a plain reading of the configuration.

Nothing here is the engine's. A rate is held in every window if each two events that follow one another under it are far
enough apart: with ``V(t)`` the units that the rate allows up to ``t``, an event that uses ``u`` units and the next one
need ``V(later) - V(earlier) >= u``. Then for any window from the i-th to the k-th event ``u_i + ... + u_(k-1) <= V(t_k)
- V(t_i)``: all but the last event within it are at most the rate times its length. ``brute_force`` says the same of all
pairs, to test the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import NamedTuple

from mailerq.settings import Settings
from mailerq.simulate.recorder import Observation
from tests.worlds import Seen

EARLY = 2e-6  # seconds: times since the start are rounded to half a microsecond or less
RATES = {
    "message": ("messages_per_minute", "bytes_per_minute", "ip_messages_per_minute", "ip_bytes_per_minute"),
    "connect": ("connects_per_minute", "ip_connects_per_minute"),
}
NOTHING = float("inf")


class Held(NamedTuple):
    """A number that holds, and whether for one local address alone."""

    number: float
    per_source: bool


class Counted(NamedTuple):
    """What is counted together: a limit, of a site or a remote address, a local address (None: all), a tag."""

    key: str
    where: str
    source: str | None
    tag: str | None


def holding(
    settings: Settings, site: str, domains: frozenset[str], source: str | None, tag: str | None
) -> dict[str, Held]:
    """The limits of a site, from general to special, the later ones first; with ``tag`` those of the tag."""
    found: dict[str, Held] = {}
    for rule in settings.limits:
        if (rule.tag is None) != (tag is None) or (tag is not None and not fnmatchcase(tag, str(rule.tag))):
            continue
        if rule.domain not in (None, "*") and not any(fnmatchcase(name, rule.domain) for name in domains):
            continue
        if rule.mx is not None and not fnmatchcase(f"mx0.s{site}.example", rule.mx):
            continue
        if rule.ip is not None and rule.ip != source:
            continue
        if rule.pool is not None and source not in settings.pools[rule.pool]:
            continue
        for key, number in rule.values.items():
            found[key] = Held(number, rule.ip is not None or rule.pool is not None)
    return found


class Stretch(NamedTuple):
    """From ``time`` on these settings hold, and these domains are known of each site, as long as the life lasts."""

    time: float
    settings: Settings
    life: int
    known: dict[str, frozenset[str]]


class Timeline:
    """The stretches of a run, and in which of them each observation lies. A rule that names a domain holds since mail
    to it was seen, which is when the scheduler has to know of it at the latest."""

    def __init__(self, seen: Seen) -> None:
        self.stretches: list[Stretch] = []
        self.of: list[int] = []
        self._came: dict[str, list[tuple[float, str]]] = {}  # by provider: when the first job for each domain came
        for job in seen.published.values():
            domain = job["domain"]
            came = self._came.setdefault(f"p{domain.split('.')[1][1:]}", [])
            if domain not in [name for _, name in came]:
                came.append((job["time"], domain))
        marks = list(seen.marks)
        known: dict[str, frozenset[str]] = {}
        for index, one in enumerate(seen.observations):
            while marks and marks[0].index <= index:
                mark = marks.pop(0)
                if self.stretches and mark.life != self.stretches[-1].life:
                    known = {}
                self.stretches.append(Stretch(mark.time, mark.settings, mark.life, known))
            before = known.get(one.provider, frozenset())
            if one.domain and one.domain not in before:
                last = self.stretches[-1]
                known = {**known, one.provider: before | {one.domain}}
                self.stretches.append(Stretch(one.time, last.settings, last.life, known))
            self.of.append(len(self.stretches) - 1)

    def held(self, stretch: int, provider: str, source: str | None, tag: str | None) -> dict[str, Held]:
        """What holds in a stretch."""
        found = self.stretches[stretch]
        domains = found.known.get(provider, frozenset())
        return holding(found.settings, provider.removeprefix("p"), domains, source, tag)

    def may_hold(self, stretch: int, event: Event, tag: str | None, time: float) -> dict[str, Held]:
        """The same, if rules for the domains to which there were jobs by then hold already."""
        found = self.stretches[stretch]
        came = {name for since, name in self._came.get(event.provider, ()) if since <= time}
        domains = found.known.get(event.provider, frozenset()) | came
        return holding(found.settings, event.provider.removeprefix("p"), domains, event.source, tag)


class Event(NamedTuple):
    """One use of a limit."""

    time: float
    units: float
    stretch: int
    provider: str
    source: str | None
    size: int


def uses(seen: Seen, timeline: Timeline) -> dict[Counted, list[Event]]:
    """All that was used of each rate."""
    found: dict[Counted, list[Event]] = {}
    for index, one in enumerate(seen.observations):
        if one.kind not in RATES:
            continue
        stretch = timeline.of[index]
        for tag in (None, *(one.tags if one.kind == "message" else ())):
            held = timeline.held(stretch, one.provider, one.local, tag)
            for key in RATES[one.kind]:
                if key in held:
                    where = one.remote if key.startswith("ip_") else one.provider
                    name = Counted(key, where, one.local if held[key].per_source else None, tag)
                    units = one.size if "bytes" in key else 1
                    event = Event(one.time, units, stretch, one.provider, one.local, one.size)
                    found.setdefault(name, []).append(event)
    return found


def rate_in(timeline: Timeline, name: Counted, event: Event, stretch: int, until: float) -> float | None:
    """Units a second that the limit allows at most in a stretch, as for ``event``; None: it does not hold there."""
    surely = timeline.held(stretch, event.provider, event.source, name.tag).get(name.key)
    if surely is None or surely.per_source != (name.source is not None):
        return None
    perhaps = timeline.may_hold(stretch, event, name.tag, until).get(name.key, surely)
    return max(surely.number, perhaps.number) / 60.0


def allowed_between(timeline: Timeline, name: Counted, one: Event, other: Event) -> float:
    """``V(other) - V(one)``: where the limit does not hold meanwhile, the rate from before goes on."""
    until = other.time
    total, start, rate = 0.0, one.time, rate_in(timeline, name, one, one.stretch, until)
    assert rate is not None
    fastest = rate
    for stretch in range(one.stretch + 1, other.stretch + 1):
        time = timeline.stretches[stretch].time
        total += rate * (time - start)
        start, rate = time, rate_in(timeline, name, one, stretch, until) or rate
        fastest = max(rate, fastest)
    total += rate * (other.time - start)
    return total + fastest * EARLY


def too_early(seen: Seen) -> Iterator[str]:
    """All uses of rates that came too early after the one before."""
    timeline = Timeline(seen)
    for name, events in uses(seen, timeline).items():
        for one, other in pairwise(events):
            allowed = allowed_between(timeline, name, one, other)
            if allowed < one.units:
                yield (
                    f"{name}: {one.units} at {one.time:.6f}, {other.units} at {other.time:.6f}: allowed {allowed:.6f}"
                )


def brute_force(events: Sequence[tuple[float, float]], per_second: float) -> float:
    """How much more than the rate allows passed in the worst of all windows that begin and end with an event; the last
    event of a window is left out. 0 or less: the rate was held."""
    worst = -NOTHING
    for first in range(len(events)):
        units = 0.0
        for last in range(first + 1, len(events)):
            units += events[last - 1][1]
            worst = max(worst, units - per_second * (events[last][0] - events[first][0] + EARLY))
    return worst


def too_many(seen: Seen) -> Iterator[str]:
    """All connections that were begun when there were as many already as there may be."""
    timeline = Timeline(seen)
    open_now: dict[int, Observation] = {}
    for index, one in enumerate(seen.observations):
        if one.kind == "close":
            open_now.pop(one.connection, None)
        if one.kind != "connect":
            continue
        stretch = timeline.of[index]
        held = timeline.held(stretch, one.provider, one.local, None)
        others = list(open_now.values())
        for key, many in _gauges(one, others, index, seen, held):
            if many >= held[key].number:
                yield f"{key} {held[key]}: {many} are open when {one} is begun"
        if len(others) >= timeline.stretches[stretch].settings.smtp.max_connections:
            yield f"smtp.max-connections: {len(others)} are open when {one} is begun"
        open_now[one.connection] = one


def _gauges(
    one: Observation, others: list[Observation], index: int, seen: Seen, held: dict[str, Held]
) -> Iterator[tuple[str, int]]:
    for key in ("max_connections", "max_starting", "ip_max_connections"):
        if key not in held:
            continue
        if key == "ip_max_connections":
            counted = [other for other in others if other.remote == one.remote]
        else:
            counted = [other for other in others if other.provider == one.provider]
        if held[key].per_source:
            counted = [other for other in counted if other.local == one.local]
        if key == "max_starting":
            counted = [other for other in counted if seen.ready_at.get(other.connection, (index + 1, 0))[0] > index]
        yield key, len(counted)


def too_long(seen: Seen) -> Iterator[str]:
    """All connections that carried more messages than they may."""
    timeline = Timeline(seen)
    carried: Counter[int] = Counter()
    for index, one in enumerate(seen.observations):
        if one.kind == "message":
            carried[one.connection] += 1
            held = timeline.held(timeline.of[index], one.provider, one.local, None).get("connection_max_messages")
            if held is not None and carried[one.connection] > held.number:
                yield f"connection-max-messages {held}: {one} is number {carried[one.connection]}"


def violations(seen: Seen) -> list[str]:
    """All that was too early, too many, too long."""
    return [*too_early(seen), *too_many(seen), *too_long(seen)]
