"""Downloads: bounded in size, time and number, remembered for a while, and never from an address that is not public.

A name is looked up once for each connection, and the connection goes to an address that was looked at: what a name
server says a moment later cannot lead elsewhere. Each redirect is a request of its own, looked at in the same way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from mailerq.content.download_rules import DownloadRules
from mailerq.content.flight import Answer, Download, FetchError, Flight, NoDownload, told
from mailerq.content.host_names import Names
from mailerq.content.remembered import Remembered, lifetime
from mailerq.content.slots import Slots
from mailerq.content.web_address import WebAddress, parse, shown

if TYPE_CHECKING:
    from mailerq.content.fetching import Response

__all__ = ["Download", "Downloads"]

REDIRECTS = 5
"""Redirects that are followed."""
_REDIRECT = (301, 302, 303, 307, 308)
_NEVER = (404, 410)
_TYPE = re.compile(r"[!#$&^_.+a-z0-9-]{1,127}/[!#$&^_.+a-z0-9-]{1,127}")


class Downloads:
    """Fetches URLs. One for the whole process; used in the reactor's thread only.

    ``names``: gives the addresses of hosts (see ``HostNames``). ``trust``: a trust root for certificates; None: the
    system's.
    """

    def __init__(self, reactor: Any, rules: DownloadRules, names: Names, trust: Any = None) -> None:
        self.rules = rules
        self._reactor = reactor
        self._names = names
        self._trust = trust
        self._slots = Slots(rules.max_parallel, rules.max_per_host)
        self._remembered: Remembered[Answer] = Remembered(rules.cache or 0)
        self._flights: dict[str, Flight] = {}

    def __repr__(self) -> str:
        known = self._remembered
        return f"<Downloads: {self._slots.used} under way, {len(known)} remembered in {known.size} bytes>"

    def use(self, rules: DownloadRules, names: Names) -> None:
        """Other rules hold for what is asked for from now on; what is remembered is forgotten."""
        self.rules = rules
        self._names = names
        self._slots.most, self._slots.each = rules.max_parallel, rules.max_per_host
        self._remembered.clear(rules.cache or 0)
        self._flights = {}

    def fetch(self, url: str) -> Deferred[Download]:
        """Get ``url`` (``http`` or ``https``). May fire before this returns, and fires in bounded time.

        Fails with ContentError only (``type`` RESPONSIVE, naming the URL without its password): ``passing`` for what
        may pass (no answer, a 5xx, a connection that fails, a certificate), final for what never will (no http, an
        address that is not allowed, 404, 410, more than ``max_size``). Who asks for the same URL at the same time
        gets the same download. Cancel what is returned to give up: the others that wait for it still get it.
        """
        try:
            address = parse(url)
        except ValueError as error:
            return told(NoDownload(f"{shown(url)} cannot be downloaded: it {error}", False))
        name = f"{address.login}@{address.url}"
        known = self._remembered.get(name, self._reactor.seconds())
        if known is not None:
            return told(known)
        flight = self._flights.get(name) or self._begin(name, address, shown(url))
        return flight.join()

    def _begin(self, name: str, address: WebAddress, url: str) -> Flight:
        flights = self._flights

        def ended(answer: Answer | None, lives: float) -> None:
            if flights.get(name) is flight:
                del flights[name]
            if answer is not None and lives > 0 and flights is self._flights:
                size = len(answer.body) if isinstance(answer, Download) else 0
                self._remembered.put(name, answer, size, self._reactor.seconds() + lives)

        flight = flights[name] = Flight(self._reactor, url, ended)
        flight.begin(self._get(address, flight, self.rules, self._names))
        return flight

    async def _get(
        self, address: WebAddress, flight: Flight, rules: DownloadRules, names: Names
    ) -> tuple[Download, float]:
        from mailerq.content.fetching import fetch  # it brings an HTTP client, which few engines need

        lives = rules.ttl
        for _ in range(REDIRECTS + 1):
            host = address.host
            await self._slots.take(host)
            try:
                flight.goes(rules.timeout)
                response = await fetch(self._reactor, address, rules, names, self._trust)
            finally:
                self._slots.free(host)
            lives = min(lives, lifetime(response.all("cache-control"), rules.ttl))
            if response.code not in _REDIRECT:
                return _download(response, address), lives
            address = _redirected(address, response)
        raise FetchError(f"it is redirected more than {REDIRECTS} times")


def _download(response: Response, address: WebAddress) -> Download:
    if response.code != 200:
        raise FetchError(f"the server says {response.code}", response.code not in _NEVER)
    kind = response.header("content-type").partition(";")[0].strip().lower()
    return Download(response.body, kind if _TYPE.fullmatch(kind) else "", address.url)


def _redirected(address: WebAddress, response: Response) -> WebAddress:
    location = response.header("location")
    if not location:
        raise FetchError(f"the server says {response.code} and not where to go")
    try:
        return address.joined(location)
    except ValueError as error:
        raise FetchError(f"it is redirected to {shown(location)}, which {error}", False) from None
