"""What is said of a site, a job, a pause: plain values, which programs read as JSON and people as text.

``explain.py`` finds them, ``explain_text.py`` shows them. Times are epoch seconds, rates per minute, sizes bytes.
"""

from __future__ import annotations

from msgspec import Struct

MOST_DOMAINS = 10  # of a site that are named; the others are counted


def shortness(domain: str) -> tuple[int, int, str]:
    """The order in which domains stand for their site: those with the fewest dots first, the shortest of these."""
    return domain.count("."), len(domain), domain


class Limit(Struct, frozen=True, omit_defaults=True):
    """One thing that limits a site, or may. ``place``: the line of the configuration that says so; ``scope``: for which
    local or remote address it counts (empty: all together); ``why``: what made it. ``used``: how many there are where
    something is counted, ``last`` when the last one went. ``stops``: no further one may go now; then ``free_at`` is
    when one may, None: as soon as something happens, or when somebody ends it. ``binds``: this is what the first that
    wait are waiting for."""

    name: str
    number: float | None = None
    place: str = ""
    scope: str = ""
    why: str = ""
    used: float | None = None
    last: float | None = None
    free_at: float | None = None
    stops: bool = False
    binds: bool = False


class Remote(Struct, frozen=True, omit_defaults=True):
    """One remote address of a site; ``offline_until`` None: it may be connected to."""

    address: str
    port: int
    mx: str
    preference: int = 0
    connections: int = 0
    offline_until: float | None = None
    why: str = ""


class Row(Struct, frozen=True, tag_field="kind", tag="row"):
    """A site in one line. ``parked``: how many are away at the broker and known to come back; ``binds``: the limit that
    the first that wait are waiting for, with ``next`` when it allows one (None: nobody knows). ``speed``: mails a
    second, lately; ``key``: what tells sites apart, in general the names of its hosts."""

    name: str
    domains: int
    waiting: int
    parked: int
    busy: int
    idle: int
    starting: int
    speed: float
    binds: str
    next: float | None
    key: tuple[str, ...] = ()


class WorkerSeen(Struct, frozen=True):
    """What one of several processes has of a site."""

    worker: int
    waiting: int
    parked: int
    busy: int
    idle: int
    starting: int
    binds: str


class SiteSeen(Struct, frozen=True, tag_field="kind", tag="site"):
    """All about a site. ``known``: mail for it is or was in hand lately; else it is what would hold if mail came.
    ``gone``: when the last of ``waiting`` and ``parked`` would be gone at this rate. ``workers``: who has what of it,
    where there are several."""

    name: str
    known: bool
    domains: list[str]
    domain_count: int
    waiting: int
    parked: int
    busy: int
    idle: int
    starting: int
    speed: float
    binds: str
    next: float | None
    gone: float | None
    limits: list[Limit]
    hosts: list[Remote]
    key: tuple[str, ...] = ()
    workers: list[WorkerSeen] = []


class JobSeen(Struct, frozen=True, tag_field="kind", tag="job"):
    """A job in hand. ``where``: what is done about it; ``binds``: what it waits for. ``ahead``: how many of its site
    were there before it; priorities and tags may let it go sooner. It expires at ``deadline``."""

    id: str
    recipient: str
    attempt: int
    where: str
    since: float
    binds: str
    ahead: int | None
    deadline: float | None


class Note(Struct, frozen=True, tag_field="kind", tag="note"):
    """Something to be said beside it."""

    text: str


class Total(Struct, frozen=True, tag_field="kind", tag="total"):
    """All sites together. ``waiting``: mails in memory; ``in_hand``: jobs that the broker still holds for us.
    ``unheard``: what could not be counted, a worker that does not answer for instance."""

    time: float
    broker: bool
    in_hand: int
    sites: int
    waiting: int
    connections: int
    max_connections: int
    unheard: list[str] = []


class PauseSeen(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="pause"):
    """A pause: it stops what all that is given fits to; nothing given: everything. ``until`` None: until somebody
    resumes it."""

    id: str
    since: float
    until: float | None = None
    why: str = ""
    domain: str | None = None
    mx: str | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None
    site: str | None = None


Line = SiteSeen | JobSeen | Note | Row
