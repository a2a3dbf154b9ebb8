"""Answers: what the running engine says about itself, and the pauses that it takes from us.

Behind the control socket (``control.py``), the prompt and whatever else asks; the parts of the engine are only read.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any

import msgspec

from mailerq import __version__
from mailerq.admin.pausing import begun, seen, which
from mailerq.admin.questions import Asked, Explain, Pause, Pauses, Refused, Resume, Rows, Sites, Stats
from mailerq.attempt import utc
from mailerq.explain import Around, explain, name_of, row, would_hold
from mailerq.explain_text import many, text
from mailerq.explained import JobSeen, Note, Row, Total
from mailerq.mail import Mail
from mailerq.route import NoHosts, NullMx, Route, ascii_name
from mailerq.settings import Settings
from mailerq.site import Site

MOST_JOBS = 20  # of one recipient that are told one by one
AT_ONCE = 1000  # sites that are counted before others have a turn
MOST_SITES = 20  # of one remote host


class Text(str):
    """Lines that a prompt shows as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Answers:
    """``settings`` gives those that hold now; the others are the parts of the engine."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        scheduler: Any,
        deliveries: Any,
        resolver: Any,
        broker: Any,
        events: Any,
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._deliveries = deliveries
        self._resolver = resolver
        self._broker = broker
        self._events = events

    def answer(self, question: Asked) -> Iterator[Any]:
        """The lines of an answer, made as they are asked for; None: not yet. Raises ``Refused``."""
        if isinstance(question, Explain):
            return self._explain(question.what)
        if isinstance(question, Sites):
            return self._sites(question)
        if isinstance(question, Rows):
            return self._rows_of(question)
        if isinstance(question, Pause):
            return self._pause(question)
        if isinstance(question, Resume):
            return self._resume(question)
        if isinstance(question, Pauses):
            return map(seen, self.pauses())
        assert isinstance(question, Stats)
        return iter([self.stats()])

    # -- for the prompt ----------------------------------------------------------------------------------------------

    def explain(self, what: str) -> Text:
        """Why does it wait? ``what``: a domain, a recipient, the id of a job, a remote address or host."""
        return Text("\n".join(text(list(self._explain(what)), self._scheduler.now())))

    def total(self, waiting: int | None = None) -> Total:
        """All sites together; ``waiting`` where that was counted already."""
        scheduler, most = self._scheduler, self._settings().smtp.max_connections
        return Total(
            time=scheduler.now(),
            broker=self._broker.connected,
            in_hand=len(self._deliveries.in_hand),
            sites=len(scheduler.sites),
            waiting=sum(site.waiting() for site in scheduler.sites.values()) if waiting is None else waiting,
            connections=scheduler.connections(),
            max_connections=most,
        )

    def stats(self) -> dict[str, Any]:
        """Counts of all kinds: ``events`` since the start, by name; the others as they are now."""
        total = msgspec.to_builtins(self.total())
        return {**total, "kind": "stats", "version": __version__, "process": os.getpid(), "events": self._events.counts}

    # -- why does it wait? -------------------------------------------------------------------------------------------

    def _explain(self, what: str) -> Iterator[Any]:
        what = what.strip()
        same = what.lower()
        jobs = [mail for mail in self._deliveries.in_hand if same in (mail.identity, mail.recipient.lower())]
        address = _address(what)
        if jobs:
            yield from self._of_jobs(jobs)
        elif "@" in what:
            yield Note(f"no job for {what} is in hand")
            yield from self._of_domain(what.rpartition("@")[2])
        elif address is not None:
            yield from self._of_host(address)
        elif "." not in what and _is_identity(what):
            raise Refused(f"no job with the id {what} is in hand")
        else:
            yield from self._of_domain(what)

    def _of_jobs(self, jobs: list[Mail]) -> Iterator[Any]:
        jobs.sort(key=lambda mail: mail.since)
        for mail in jobs[:MOST_JOBS]:
            yield _job(mail)
        if len(jobs) > MOST_JOBS:
            yield Note(f"and {len(jobs) - MOST_JOBS} more jobs for it")
        sites = {id(site): site for mail in jobs if (site := _site_of(mail)) is not None}
        for site in sites.values():
            yield explain(site, self._around())
        for domain in {mail.job.domain for mail in jobs if _site_of(mail) is None}:
            yield from self._of_domain(domain)

    def _of_domain(self, domain: str) -> Iterator[Any]:
        """The sites that know it, in general one; those whose host has that name; without any, what would hold."""
        domain = domain.lower().removesuffix(".")
        spelt = ascii_name(domain)
        names = {domain, spelt} if isinstance(spelt, str) else {domain}
        sites = list(self._scheduler.sites.values())
        found = [site for site in sites if names & site.domains]
        for site in found:
            yield explain(site, self._around())
        hosted = [site for site in sites if site not in found and names & site.route.mx_names]
        if hosted:
            yield Note(f"{domain} is a host of:")
            yield from self._rows(hosted, MOST_SITES)
        if not found and not hosted:
            yield from self._without_site(domain)

    def _without_site(self, domain: str) -> Iterator[Any]:
        known = self._resolver.cached(domain)
        if isinstance(known, NoHosts | NullMx):
            yield Note(f"{domain}: {known.why}")
        elif isinstance(known, Route) and known.key in self._scheduler.sites:
            yield Note(f"{domain} has the same hosts as:")
            yield explain(self._scheduler.sites[known.key], self._around())
        else:
            sources = self._settings().smtp.ips
            yield would_hold(domain, known, self._scheduler.terms, sources, self._around())
            if known is None:
                yield Note("Its hosts are not known now: limits for mx do not show.")

    def _of_host(self, address: str) -> Iterator[Any]:
        around = self._around()
        sites = [
            site for site in self._scheduler.sites.values() if any(host.address == address for host in site.route.hosts)
        ]
        until = around.offline(address, None)
        state = f"offline until {utc(until)}" if until > around.now else "not offline"
        yield Note(f"{address}: {state}, a host of {many(len(sites), 'site')} with mail, now or lately")
        if len(sites) == 1:
            yield explain(sites[0], around)
        else:
            yield from self._rows(sites, MOST_SITES)

    # -- all sites ---------------------------------------------------------------------------------------------------

    def _sites(self, question: Sites) -> Iterator[Any]:
        if question.sort not in ("waiting", "speed", "name"):
            raise Refused(f"sites are sorted by waiting, speed or name, not by {question.sort}")
        now = self._scheduler.now()
        waiting, ranked = 0, []
        for number, site in enumerate(list(self._scheduler.sites.values()), 1):
            here = site.waiting()
            waiting += here
            ranked.append((_rank(site, here, question.sort, now), site))
            if not number % AT_ONCE:
                yield None
        yield self.total(waiting)
        choose = nsmallest if question.sort == "name" else nlargest
        for _, site in choose(question.most, ranked, key=itemgetter(0)):
            yield row(site, self._around())

    def _rows_of(self, question: Rows) -> Iterator[Any]:
        for number, key in enumerate(question.keys, 1):
            site = self._scheduler.sites.get(key)
            if site is not None:
                yield row(site, self._around())
            if not number % AT_ONCE:
                yield None

    def _rows(self, sites: list[Site], most: int) -> Iterator[Row | Note]:
        around = self._around()
        for site in nlargest(most, sites, key=lambda site: site.waiting()):
            yield row(site, around)
        if len(sites) > most:
            yield Note(f"and {len(sites) - most} more")

    def _around(self) -> Around:
        settings, scheduler = self._settings(), self._scheduler
        most = settings.smtp.max_connections
        return Around(
            scheduler.now(),
            settings.source,
            most,
            scheduler.connections(),
            scheduler.offline_until,
            scheduler.hosts.why,
        )

    # -- pauses ------------------------------------------------------------------------------------------------------

    def _pause(self, question: Pause) -> Iterator[Any]:
        yield seen(self._scheduler.pause(question.until, question.why, **begun(question, self._scheduler.now())))

    def _resume(self, question: Resume) -> Iterator[Any]:
        for pause in which(question, self.pauses()):
            self._scheduler.resume(pause.id)
            yield seen(pause)

    def pauses(self) -> list[Any]:
        """The pauses that hold."""
        return list(self._scheduler.reactions.pauses)


def _rank(site: Site, waiting: int, sort: str, now: float) -> Any:
    if sort == "name":
        return name_of(site)
    return site.speed.at(now) if sort == "speed" else waiting + site.parking.away.count(now)


def _address(what: str) -> str | None:
    """An IP address as routes have it; None where it is none."""
    try:
        return str(ipaddress.ip_address(what.strip("[]").removeprefix("IPv6:")))
    except ValueError:
        return None


def _is_identity(what: str) -> bool:
    """Whether it looks like the id of a job: ``63a8e437e1c4-1``."""
    life, dash, number = what.partition("-")
    return bool(dash) and number.isdecimal() and all(sign in "0123456789abcdef" for sign in life)


def _site_of(mail: Mail) -> Site | None:
    lane = mail.lane or (mail.link.lane if mail.link is not None else None)
    site: Site | None = lane.site if lane is not None else None
    return site


def _job(mail: Mail) -> JobSeen:
    waits = mail.link is None and mail.verdict is None
    ahead = None if mail.lane is None else next((n for n, other in enumerate(mail.lane.waiting) if other is mail), None)
    return JobSeen(
        id=mail.identity,
        recipient=mail.recipient,
        attempt=mail.job.attempts + 1,
        where=_where(mail),
        since=mail.since,
        binds=mail.blocked_by if waits else "",
        ahead=ahead,
        deadline=mail.deadline or None,
    )


def _where(mail: Mail) -> str:
    """What is done about a job."""
    if mail.verdict is not None:
        return f"decided ({type(mail.verdict).__name__.lower()}), its result is being published"
    if mail.link is not None:
        connection = f"a connection to {mail.link.host.address}"
        return f"on {connection}" if mail.link.ready is not None else f"{connection} is being set up for it"
    if mail.lane is not None:
        return "waits for its turn"
    return "waits until it may be tried" if mail.blocked_by else "its hosts are being looked up"
