"""Why does it wait? All that limits a site now, the one that binds first, as plain values that programs can read.

Pure. It reads a site and changes nothing there. Times are epoch seconds, rates per minute, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct, structs

from mailerq.budget import ALL_RATES, MESSAGE_RATES, Budget, named
from mailerq.explained import MOST_DOMAINS, Limit, Remote, Row, SiteSeen, shortness
from mailerq.lane import LaneKey
from mailerq.limits import Value
from mailerq.route import Route
from mailerq.site import Site
from mailerq.terms import Terms

NEVER = float("inf")
WINDOW = "growing connections"  # as ``paths.py`` calls it
PAUSE = "pause"
ALL_TOGETHER = "smtp.max-connections"
PLAIN = ("connection_max_messages", "connection_min_messages", "connection_max_idle")


class Around(Struct, frozen=True):
    """What lies around a site: ``source`` is the name of the configuration, ``most`` smtp.max-connections, of which
    ``open`` are taken; ``offline`` says until when a remote address may not be connected to from a local one."""

    now: float
    source: str
    most: int
    open: int
    offline: Callable[[str, str | None], float]
    why_offline: Callable[[str], str] = lambda address: ""


def place(source: str, line: int) -> str:
    """Where in the configuration a number stands."""
    return f"{source}:{line}" if line else "built in"


def name_of(site: Site) -> str:
    """The domain that stands for a site: the shortest of those with the fewest dots; without any, its first host."""
    return min(site.domains, key=shortness, default=site.key[0])


def row(site: Site, around: Around) -> Row:
    """A site in one line."""
    busy, idle, starting = _connections(site)
    binds, at = "", None
    waiting, parked = site.waiting(), site.parking.away.count(around.now)
    if waiting or parked:
        binds, at = _what_and_when(site, _binding(site, _limits(site, around)))
    speed = site.speed.at(around.now)
    return Row(name_of(site), len(site.domains), waiting, parked, busy, idle, starting, speed, binds, at, site.key)


def explain(site: Site, around: Around, known: bool = True) -> SiteSeen:
    """All about a site."""
    limits = _limits(site, around)
    waiting, parked = site.waiting(), site.parking.away.count(around.now)
    binding = _binding(site, limits) if waiting or parked else None
    listed = sorted(
        (structs.replace(one, binds=one is binding) for one in limits),
        key=lambda one: (not one.binds, not one.stops, "per-minute" not in one.name),
    )
    busy, idle, starting = _connections(site)
    rate = _rate(site, binding, around.now)
    binds, following = _what_and_when(site, binding) if waiting or parked else ("", None)
    return SiteSeen(
        name=name_of(site),
        known=known,
        domains=sorted(site.domains, key=shortness)[:MOST_DOMAINS],
        domain_count=len(site.domains),
        waiting=waiting,
        parked=parked,
        busy=busy,
        idle=idle,
        starting=starting,
        speed=site.speed.at(around.now),
        binds=binds,
        next=following,
        gone=around.now + (waiting + parked) / rate if rate and waiting + parked else None,
        limits=listed,
        hosts=list(_remotes(site, around)),
        key=site.key,
    )


def would_hold(domain: str, route: Route | None, terms: Terms, sources: tuple[str, ...], around: Around) -> SiteSeen:
    """What would limit mail for a domain that has no site; ``route`` None: nobody knows its hosts now. ``sources``: the
    local addresses that it would leave from."""
    site = Site(route or Route((domain,), ()), Terms(terms.rules, terms.pools, terms.pauses, terms.warmup))
    site.know_domain(domain)
    site.lane(LaneKey(sources))
    return explain(site, around, known=False)


# -- what limits it --------------------------------------------------------------------------------------------------


def _limits(site: Site, around: Around) -> list[Limit]:
    """All of them, each once."""
    site.allowance.refresh(around.now)
    found: dict[tuple[str, str], Limit] = {}
    for limit in (*_pauses(site, around), *_numbers(site, around), *_tags(site, around), *_offline(site, around)):
        found.setdefault((limit.name, limit.scope), limit)
    left = around.most - around.open
    all_together = Limit(ALL_TOGETHER, around.most, around.source, used=around.open, stops=left <= 0)
    return [*found.values(), all_together]


def _sources(site: Site) -> list[str | None]:
    """The local addresses that its mails may leave from; None: any."""
    found = dict.fromkeys(source for lane in site.lanes.values() for source in lane.sources)
    return list(found) or [None]


def _numbers(site: Site, around: Around) -> Iterator[Limit]:
    """Those that are configured, and what a site is believed to bear."""
    for source in _sources(site):
        budget = site.budget(source)
        for key, value in budget.limits.items():
            if key in ALL_RATES:
                yield from _rates(site, budget, key, _limit(key, value, source, around), around)
            elif key in COUNTED or key in PLAIN:
                yield from COUNTED.get(key, _plain)(site, source, key, value, around)
        window = site.allowance.window(source)
        allowed = window.allowed(budget.number("max_connections"))
        used = site.census.open_from.get(source, 0)
        initial = budget.limits.get("initial_connections")
        where = place(around.source, initial.line) if initial is not None else "built in"
        stops = used >= allowed
        at = window.next_change(around.now) if stops else None
        yield Limit(WINDOW, allowed, where, _scope(source), used=used, free_at=at, stops=stops)


def _rates(site: Site, budget: Budget, key: str, limit: Limit, around: Around) -> Iterator[Limit]:
    """A rate; of those for each remote address, those that stop something, or one that stands for all."""
    addresses = [host.address for host in site.route.hosts] if key.startswith("ip_") else [None]
    free = 0
    for address in addresses:
        for _, pace in budget.paces((key,), address):
            due: float = pace.due
            stops = due > around.now
            free += not stops
            if stops or address is None:
                last = pace.cell.since or None
                scope = " ".join(filter(None, (limit.scope, f"to {address}" if address else "")))
                yield structs.replace(limit, scope=scope, last=last, stops=stops, free_at=pace.due if stops else None)
    if addresses != [None] and free:
        yield limit


def _limit(key: str, value: Value, source: str | None, around: Around) -> Limit:
    scope = _scope(source) if value.per_source else ""
    name = key.replace("_", "-") if value.tag is None else named(key, value)
    return Limit(name, value.number, place(around.source, value.line), scope, value.cause)


def _scope(source: str | None) -> str:
    return f"from {source}" if source is not None else ""


def _plain(site: Site, source: str | None, key: str, value: Value, around: Around) -> Iterator[Limit]:
    yield _limit(key, value, source, around)


def _all_connections(site: Site, source: str | None, key: str, value: Value, around: Around) -> Iterator[Limit]:
    used, others = site.census.count(value, source), site.census.others(value, source, "open")
    yield structs.replace(_limit(key, value, source, around), used=used, stops=used + others >= value.number)


def _starting(site: Site, source: str | None, key: str, value: Value, around: Around) -> Iterator[Limit]:
    used, others = site.census.starting(value, source), site.census.others(value, source, "starting")
    yield structs.replace(_limit(key, value, source, around), used=used, stops=used + others >= value.number)


def _to_each(site: Site, source: str | None, key: str, value: Value, around: Around) -> Iterator[Limit]:
    limit = _limit(key, value, source, around)
    for host in site.route.hosts:
        used = site.census.to(value, source, host.address)
        others = site.census.others(value, source, "to", host.address)
        if used or others:
            scope = " ".join(filter(None, (limit.scope, f"to {host.address}")))
            yield structs.replace(limit, scope=scope, used=used, stops=used + others >= value.number)
    yield structs.replace(limit, used=0)


def _queue(site: Site, source: str | None, key: str, value: Value, around: Around) -> Iterator[Limit]:
    yield structs.replace(_limit(key, value, source, around), used=site.waiting())


COUNTED: dict[str, Callable[[Any, str | None, str, Value, Around], Iterator[Limit]]] = {
    "max_connections": _all_connections,
    "max_starting": _starting,
    "ip_max_connections": _to_each,
    "max_queue": _queue,
}


def _tags(site: Site, around: Around) -> Iterator[Limit]:
    """The limits of tags of which mail waits, or has gone lately."""
    tags = dict.fromkeys(tag for lane in site.lanes.values() for some in lane.waiting.limited_waiting() for tag in some)
    for source in _sources(site):
        for tag in tags:
            budget = site.allowance.tag_budget(source, tag)
            for key, value in budget.limits.items():
                if key in MESSAGE_RATES:
                    yield from _rates(site, budget, key, _limit(key, value, source, around), around)


def _offline(site: Site, around: Around) -> Iterator[Limit]:
    """Hosts that are left alone; that stops all only where no other is left."""
    for source in _sources(site):
        times = {host.address: around.offline(host.address, source) for host in site.route.hosts}
        away = {address: until for address, until in times.items() if until > around.now}
        if away:
            stops = len(away) == len(times)
            why = next(filter(None, map(around.why_offline, away)), "")
            back = min(away.values())
            yield Limit(
                "offline hosts", len(times), "", _scope(source), why, len(away), None, back if stops else None, stops
            )


def _pauses(site: Site, around: Around) -> Iterator[Limit]:
    """The pauses that stop its mail, or some of it."""
    terms, sources = site.allowance.terms, _sources(site)
    for pause in terms.pauses.of_site(site.domains, site.route.mx_names, site.key):
        if pause.end <= around.now:
            continue
        scope = pause.scope
        stops = (
            all(scope.fits_mail(domain, ()) for domain in site.domains)
            and all(scope.fits_source(source, terms.pools) for source in sources)
        )  # fmt: skip
        by = "a host asked for it" if pause.by == "reply" else f"id {pause.id}"
        what = "" if pause.site is not None and not scope.of_source else f"of {scope}"
        yield Limit(PAUSE, place=by, scope=what, why=pause.why, free_at=pause.until, stops=stops)


# -- what of them binds ----------------------------------------------------------------------------------------------


def _binding(site: Site, limits: Sequence[Limit]) -> Limit | None:
    """What the first that wait are waiting for, as the site has found; of several of that name the one that is over
    first. None where that is none of the limits: its turn has only just come."""
    name = _blocked_by(site)
    same = [limit for limit in limits if name in (limit.name, f"{limit.name} ({limit.why})")]
    if not site.waiting():  # all are parked: what keeps a mail from going now
        same = [limit for limit in limits if limit.stops] or [one for one in limits if one.name == PAUSE]
    return min(same, key=lambda limit: (not limit.stops, limit.free_at or NEVER), default=None)


def _what_and_when(site: Site, binding: Limit | None) -> tuple[str, float | None]:
    """The name of what binds, and when it allows the next: by itself, or when the site is looked at again anyhow, as
    with a pace whose turn belongs to a connection that is being set up."""
    if binding is not None:
        return binding.name, binding.free_at if binding.stops else site.wake
    return _blocked_by(site), site.wake


def _blocked_by(site: Site) -> str:
    """What the first of the longest lane waits for, as the site has noted it."""
    lane = max(site.lanes.values(), key=lambda lane: len(lane.waiting), default=None)
    first = lane.waiting.first(None) if lane is not None and lane.waiting else None
    return first.blocked_by if first is not None else ""


def _rate(site: Site, binding: Limit | None, now: float) -> float:
    """Mails a second, as it goes now: what a pace allows where it binds, else what was measured."""
    if binding is not None and binding.name.startswith("messages-per-minute") and "(tag" not in binding.name:
        paces = {
            id(pace): pace
            for source in _sources(site)
            for _, pace in site.budget(source).paces(MESSAGE_RATES[:1], None)
        }
        return sum(1.0 / pace.interval for pace in paces.values())
    return site.speed.at(now)


def _connections(site: Site) -> tuple[int, int, int]:
    """Those that carry a mail, those that carry none, those that are being set up."""
    idle = sum(len(lane.idle) for lane in site.lanes.values())
    starting = sum(link.ready is None for link in site.links)
    return len(site.links) - idle - starting, idle, starting


def _remotes(site: Site, around: Around) -> Iterator[Remote]:
    for host in site.route.hosts:
        until = max(around.offline(host.address, source) for source in _sources(site))
        offline = until if until > around.now else None
        why = around.why_offline(host.address) if offline is not None else ""
        connections = sum(link.host.address == host.address for link in site.links)
        yield Remote(host.address, host.port, host.mx, host.preference, connections, offline, why)
