"""What ``explain`` found, as text for people: short lines, aligned; times in UTC, with how far away they are.

Pure; all functions return lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mailerq.attempt import utc
from mailerq.explained import JobSeen, Limit, Line, PauseSeen, Remote, Row, SiteSeen, WorkerSeen

TITLES = ("site", "waiting", "parked", "busy", "idle", "starting", "a second", "waits for", "next")
WORKER_TITLES = ("  worker", "waiting", "parked", "busy", "idle", "starting", "waits for")
PAUSE_TITLES = ("id", "what", "since", "until", "why")
SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def text(found: Iterable[Line], now: float) -> list[str]:
    """All that was found, one after the other, with an empty line between them."""
    lines: list[str] = []
    for one in found:
        if isinstance(one, Row):
            continue
        lines += [""] if lines else []
        lines += (
            _site(one, now)
            if isinstance(one, SiteSeen)
            else _job(one, now)
            if isinstance(one, JobSeen)
            else [clean(one.text)]
        )
    rows = [one for one in found if isinstance(one, Row)]
    return [*lines, *([""] if lines and rows else []), *(table(rows, now) if rows else ())]


# -- one site, one job -----------------------------------------------------------------------------------------------


def _site(site: SiteSeen, now: float) -> list[str]:
    lines = [clean(_title(site))]
    if site.known:
        lines += columns([("  " + name, value) for name, value in _facts(site, now)])
    heads = ("  limit", "number", "used", "free", "from")
    lines += ["", *columns([heads, *(_limit(limit, now) for limit in site.limits)])]
    if site.hosts:
        titles = ("  host", "name", "connections", "")
        lines += ["", *columns([titles, *(_remote(host, now) for host in site.hosts)])]
    if len(site.workers) > 1:
        lines += ["", *columns([WORKER_TITLES, *map(_worker, site.workers)], right=range(6))]
    return lines


def _worker(one: WorkerSeen) -> tuple[str, ...]:
    counts = (one.waiting, one.parked, one.busy, one.idle, one.starting)
    return (f"  {one.worker}", *(str(count or "-") for count in counts), one.binds)


def _title(site: SiteSeen) -> str:
    others = [name for name in site.domains if name != site.name]
    more = site.domain_count - len(site.domains)
    listed = ", ".join(others) + (f" and {more} more" if more else "")
    with_others = f", with the same hosts: {listed}" if others else ""
    return f"{site.name}{with_others}" if site.known else f"{site.name}: no mail for it is in hand. What would hold:"


def _facts(site: SiteSeen, now: float) -> Iterator[tuple[str, str]]:
    parked = f", {site.parked} parked on the broker" if site.parked else ""
    yield "waiting", f"{site.waiting} in memory{parked}"
    if site.waiting or site.parked:
        yield "waits for", site.binds or "its turn, which is now"
        yield "next", when(site.next, now) if site.next is not None else "as soon as that allows one"
    yield "speed", f"{site.speed:.3g} a second"
    if site.gone is not None:
        yield "the last", f"{when(site.gone, now)}, at this rate"
    yield "connections", f"{site.busy} busy, {site.idle} idle, {site.starting} starting"


def _limit(limit: Limit, now: float) -> tuple[str, ...]:
    name = f"{limit.name} {limit.scope}" if limit.scope else limit.name
    used = ""
    if limit.used is not None:
        used = f"{limit.used:g}" if limit.number is None else f"{limit.used:g} of {limit.number:g}"
    elif limit.last is not None:
        used = f"{span(max(0.0, now - limit.last))} ago"
    free = "" if limit.used is None and limit.last is None else "now"
    if limit.stops:
        free = when(limit.free_at, now) if limit.free_at is not None else "not now"
    place = f"{limit.place}: {limit.why}" if limit.place and limit.why else limit.place or limit.why
    return (f"{'>' if limit.binds else ' '} {name}", number(limit), used, free, place)


def _remote(host: Remote, now: float) -> tuple[str, ...]:
    address = f"[{host.address}]" if ":" in host.address else host.address
    offline = f"offline until {when(host.offline_until, now)}" if host.offline_until is not None else ""
    why = f": {host.why}" if host.why else ""
    return (f"  {address}:{host.port}", host.mx, str(host.connections), offline + why)


def _job(job: JobSeen, now: float) -> list[str]:
    facts = [("attempt", str(job.attempt)), ("since", f"{utc(job.since)}, {span(max(0.0, now - job.since))} ago")]
    facts.append(("where", job.where))
    if job.binds:
        facts.append(("waits for", job.binds))
    if job.ahead is not None:
        facts.append(("before it", f"{job.ahead} at its site"))
    if job.deadline is not None:
        facts.append(("expires", when(job.deadline, now)))
    return [clean(f"job {job.id} to {job.recipient}"), *columns([("  " + name, value) for name, value in facts])]


# -- all sites -------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row], now: float) -> list[str]:
    """A line for each site, under a line of titles."""
    return columns([TITLES, *(_row(one, now) for one in rows)], right=range(1, 7))


def _row(row: Row, now: float) -> tuple[str, ...]:
    name = row.name if row.domains < 2 else f"{row.name} +{row.domains - 1}"
    counts = (row.waiting, row.parked, row.busy, row.idle, row.starting)
    following = "" if row.next is None else f"in {span(row.next - now)}" if row.next > now else "now"
    return (name, *(str(count or "-") for count in counts), f"{row.speed:.1f}", row.binds, following)


# -- pauses ----------------------------------------------------------------------------------------------------------


def pauses(some: Sequence[PauseSeen], now: float) -> list[str]:
    """A line for each, under a line of titles."""
    return columns([PAUSE_TITLES, *(_pause(one, now) for one in some)])


def _pause(pause: PauseSeen, now: float) -> tuple[str, ...]:
    since = f"{span(max(0.0, now - pause.since))} ago"
    return pause.id, paused(pause), since, _end(pause, now), pause.why


def paused(pause: PauseSeen) -> str:
    """What is paused: ``domain example.org, tag news``."""
    given = {name: getattr(pause, name) for name in ("domain", "mx", "ip", "pool", "tag", "site")}
    return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None) or "everything"


def one_pause(pause: PauseSeen, now: float) -> str:
    """A pause in a line of its own."""
    until = "" if pause.until is None else "until "
    why = f" ({pause.why})" if pause.why else ""
    return clean(f"{paused(pause)}, {until}{_end(pause, now)}{why}, id {pause.id}")


def _end(pause: PauseSeen, now: float) -> str:
    return "until it is resumed" if pause.until is None else when(pause.until, now)


# -- parts of lines --------------------------------------------------------------------------------------------------


def columns(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Cells under each other; those in the columns ``right`` end under each other."""
    rows = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = set(right)
    return [
        "  ".join(
            cell.rjust(width) if number in ends else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def clean(text: str) -> str:
    """Without what would move a terminal: hosts' replies and reasons may hold anything."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def number(limit: Limit) -> str:
    """The number of a limit with its unit."""
    if limit.number is None:
        return ""
    if "bytes-per-minute" in limit.name:
        size, unit = next(((size, unit) for size, unit in SIZES if limit.number >= size), (1, "bytes"))
        return f"{limit.number / size:.4g} {unit}/min"
    if "per-minute" in limit.name:
        return f"{limit.number:g}/min"
    return span(limit.number) if limit.name.endswith("idle") else f"{limit.number:g}"


def many(count: int, thing: str) -> str:
    """``1 site``, ``2 sites``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def when(time: float, now: float) -> str:
    """``2026-11-24 12:00:07, in 1.6 s``."""
    if time == float("inf"):
        return "never"
    return f"{utc(time)}, in {span(time - now)}" if time > now else f"{utc(time)}, now"


def span(seconds: float) -> str:
    """A duration in its two largest units: ``1.6 s``, ``12 s``, ``4 m 10 s``, ``1 h 40 m``, ``3 d 2 h``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    left = round(seconds)
    if left < 60:
        return f"{left} s"
    for size, unit, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= size:
            rest = left % size // small
            return f"{left // size} {unit} {rest} {below}" if rest else f"{left // size} {unit}"
    raise AssertionError
