"""Merged: what several workers say of themselves, as one answer. Pure.

Sites are told apart by their hosts (``key``). What is counted is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import Any

from msgspec.structs import replace

from mailerq.explained import (
    MOST_DOMAINS,
    JobSeen,
    Limit,
    Line,
    Note,
    Remote,
    Row,
    SiteSeen,
    Total,
    WorkerSeen,
    shortness,
)

NEVER = float("inf")
EACH_HAS = ("growing connections", "max-queue")  # limits that each worker has for itself
OFFLINE = "offline hosts"
COUNTED = ("waiting", "parked", "busy", "idle", "starting")
SORTS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "speed": lambda row: row.speed,
    "waiting": lambda row: row.waiting + row.parked,
}


def total(totals: Sequence[Total], sites: int, unheard: Iterable[str]) -> Total:
    """All workers together; ``sites``: how many different ones are known. At least one."""
    return Total(
        time=max(one.time for one in totals),
        broker=all(one.broker for one in totals),
        in_hand=sum(one.in_hand for one in totals),
        sites=max(sites, *(one.sites for one in totals)),
        waiting=sum(one.waiting for one in totals),
        connections=sum(one.connections for one in totals),
        max_connections=max(one.max_connections for one in totals),
        unheard=list(unheard),
    )


# -- sites in one line -----------------------------------------------------------------------------------------------


def rows(some: Iterable[Row]) -> list[Row]:
    """One for each site."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for one in some:
        found.setdefault(one.key, []).append(one)
    return [_row(same) if len(same) > 1 else same[0] for same in found.values()]


def first(some: Iterable[Row], sort: str, most: int) -> list[Row]:
    """The first of them."""
    choose = nsmallest if sort == "name" else nlargest
    return choose(most, some, key=SORTS[sort])


def _row(same: Sequence[Row]) -> Row:
    binding: Row = _with_most(same)
    return replace(
        binding,
        **_sums(same),
        name=_name(same),
        domains=max(one.domains for one in same),
        speed=sum(one.speed for one in same),
        next=_earliest(one.next for one in same if one.binds == binding.binds),
    )


def _with_most(same: Sequence[Any]) -> Any:
    """Who has the most of it says what the first that wait are waiting for."""
    return max(same, key=lambda one: (one.waiting, one.parked))


def _sums(same: Sequence[Any]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in same) for name in COUNTED}


def _name(same: Sequence[Any]) -> str:
    """As ``explain.name_of`` chooses it."""
    names: list[str] = [one.name for one in same]
    return min(names, key=shortness)


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


# -- explained -------------------------------------------------------------------------------------------------------


def explained(said: Mapping[int, Sequence[Line]], now: float) -> list[Line]:
    """What was asked, from what each worker knows of it; those that know nothing are heard only where none does."""
    knowing = {index: lines for index, lines in said.items() if _knows(lines)}
    if not knowing:
        return list(max(said.values(), key=_hosts_known, default=()))
    return [
        *_jobs(knowing),
        *_notes(knowing),
        *_sites(knowing, now),
        *rows(line for lines in knowing.values() for line in lines if isinstance(line, Row)),
    ]


def _knows(lines: Sequence[Line]) -> bool:
    return any(isinstance(line, JobSeen | Row) or (isinstance(line, SiteSeen) and line.known) for line in lines)


def _hosts_known(lines: Iterable[Line]) -> int:
    return sum(len(line.hosts) for line in lines if isinstance(line, SiteSeen))


def _jobs(said: Mapping[int, Sequence[Line]]) -> list[Line]:
    found = [(index, line) for index, lines in said.items() for line in lines if isinstance(line, JobSeen)]
    found.sort(key=lambda one: one[1].since)
    return [replace(line, where=f"{line.where} (worker {index})") for index, line in found]


def _notes(said: Mapping[int, Sequence[Line]]) -> list[Line]:
    """Once what all say, else with who says it."""
    found: dict[str, list[int]] = {}
    for index, lines in said.items():
        for line in lines:
            if isinstance(line, Note):
                found.setdefault(line.text, []).append(index)
    return [
        Note(text if len(who) == len(said) else f"worker {', '.join(map(str, who))}: {text}")
        for text, who in found.items()
    ]


def _sites(said: Mapping[int, Sequence[Line]], now: float) -> list[Line]:
    found: dict[tuple[str, ...], dict[int, SiteSeen]] = {}
    for index, lines in said.items():
        for line in lines:
            if isinstance(line, SiteSeen) and line.known:
                found.setdefault(line.key, {})[index] = line
    return [_site(same, now) for same in found.values()]


def _site(by_worker: Mapping[int, SiteSeen], now: float) -> SiteSeen:
    same = list(by_worker.values())
    binding: SiteSeen = _with_most(same)
    domains = dict.fromkeys(domain for one in same for domain in one.domains)
    counts = _sums(same)
    return replace(
        binding,
        **counts,
        name=_name(same),
        domains=sorted(domains, key=shortness)[:MOST_DOMAINS],
        domain_count=max(len(domains), *(one.domain_count for one in same)),
        speed=sum(one.speed for one in same),
        next=_earliest(one.next for one in same if one.binds == binding.binds),
        gone=_gone(same, now),
        limits=_limits(sorted(same, key=lambda one: one is not binding)),
        hosts=_hosts(by_worker),
        workers=[
            WorkerSeen(index, one.waiting, one.parked, one.busy, one.idle, one.starting, one.binds)
            for index, one in by_worker.items()
        ],
    )  # fmt: skip


def _gone(same: Sequence[SiteSeen], now: float) -> float | None:
    """When the last is gone, if each worker goes on as it does; None where one of them does not move."""
    waiting = [one for one in same if one.waiting + one.parked]
    if not waiting or any(one.gone is None for one in waiting):
        return None
    return max(max(now, one.gone or now) for one in waiting)


def _limits(same: Sequence[SiteSeen]) -> list[Limit]:
    """Each once, in the order of the first; what is counted is added up, and none stops but where all are stopped."""
    found: dict[tuple[str, str], list[Limit]] = {}
    for one in same:
        for limit in one.limits:
            found.setdefault((limit.name, limit.scope), []).append(limit)
    return [_limit(alike, binds=alike[0].binds, of=len(same)) for alike in found.values()]


def _limit(alike: Sequence[Limit], binds: bool, of: int) -> Limit:
    head = alike[0]
    used = [limit.used for limit in alike if limit.used is not None]
    last = [limit.last for limit in alike if limit.last is not None]
    numbers = [limit.number for limit in alike if limit.number is not None]
    number = sum(numbers) if head.name in EACH_HAS else head.number
    counted = sum(used) if head.name != OFFLINE else max(used, default=0)
    full = number is not None and head.name.endswith(("max-connections", "max-starting")) and counted >= number
    stops = full or (len(alike) == of and all(limit.stops for limit in alike))
    return replace(
        head,
        number=number,
        used=counted if used else None,
        last=max(last, default=None),
        stops=stops,
        free_at=_earliest(limit.free_at for limit in alike if limit.stops) if stops else None,
        binds=binds,
    )


def _hosts(by_worker: Mapping[int, SiteSeen]) -> list[Remote]:
    found: dict[tuple[str, int], dict[int, Remote]] = {}
    for index, one in by_worker.items():
        for host in one.hosts:
            found.setdefault((host.address, host.port), {})[index] = host
    return [_host(same) for same in found.values()]


def _host(same: Mapping[int, Remote]) -> Remote:
    """Offline where it is so for all; else it is said for whom."""
    away = {index: host for index, host in same.items() if host.offline_until is not None}
    head = next(iter(away.values()), next(iter(same.values())))
    why = head.why
    if away and len(away) < len(same):
        why = f"for worker {', '.join(map(str, away))} alone" + (f": {why}" if why else "")
    connections = sum(host.connections for host in same.values())
    return replace(head, connections=connections, offline_until=_latest(away.values()), why=why)


def _latest(hosts: Iterable[Remote]) -> float | None:
    return max((host.offline_until for host in hosts if host.offline_until is not None), default=None)


def counts(some: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Added up by name."""
    found: dict[str, int] = {}
    for one in some:
        for name, count in one.items():
            found[name] = found.get(name, 0) + count
    return found
