"""Census: how many connections there are, by local address, by whether they are ready, by remote address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailerq.commons import ALL, Commons, Count, Name, SiteKey
from mailerq.limits import Value

if TYPE_CHECKING:
    from mailerq.lane import Link

Remotes = dict[tuple[str, str | None], int]
"""Connections by (remote address, local address), and by (remote address, "*") whatever the local one is."""


class Census:
    """The connections of one site. A connection counts from the decision to open it until it is closed.

    ``remotes`` is shared by all sites: a remote address may stand behind several of them. ``refused`` are the counts of
    several engines that were found to be full in this look, with their limits."""

    __slots__ = ("_remotes", "_starting_from", "open", "open_from", "refused", "starting_all")

    def __init__(self, remotes: Remotes) -> None:
        self._remotes = remotes
        self.open = 0
        self.open_from: dict[str | None, int] = {}
        self.starting_all = 0
        self._starting_from: dict[str | None, int] = {}
        self.refused: list[tuple[Count, float]] = []

    def opened(self, source: str | None, address: str) -> None:
        """One more is being opened."""
        self.open += 1
        self.starting_all += 1
        self.open_from[source] = self.open_from.get(source, 0) + 1
        self._starting_from[source] = self._starting_from.get(source, 0) + 1
        remotes = self._remotes
        for name in ((address, source), (address, "*")):
            remotes[name] = remotes.get(name, 0) + 1

    def ready(self, source: str | None) -> None:
        """One is set up."""
        self.starting_all -= 1
        self._starting_from[source] -= 1

    def closed(self, source: str | None, address: str, was_ready: bool) -> None:
        """One is gone."""
        if not was_ready:
            self.ready(source)
        self.open -= 1
        self.open_from[source] -= 1
        for name in ((address, source), (address, "*")):
            if self._remotes[name] == 1:
                del self._remotes[name]
            else:
                self._remotes[name] -= 1

    def working(self, source: str | None) -> int:
        """How many from ``source`` are set up."""
        return self.open_from.get(source, 0) - self._starting_from.get(source, 0)

    def count(self, value: Value, source: str | None) -> int:
        """Those that count for a limit on all connections."""
        return self.open_from.get(source, 0) if value.per_source else self.open

    def starting(self, value: Value, source: str | None) -> int:
        """Those that count for a limit on connections that are being set up."""
        return self._starting_from.get(source, 0) if value.per_source else self.starting_all

    def to(self, value: Value, source: str | None, address: str) -> int:
        """Those that count for a limit on connections to one remote address, over all sites."""
        return self._remotes.get((address, source if value.per_source else "*"), 0)

    def is_full(self, value: Value, source: str | None) -> bool:
        """Whether a limit on all connections is reached."""
        return self.count(value, source) >= value.number

    def is_busy(self, value: Value, source: str | None) -> bool:
        """Whether a limit on connections that are being set up is reached."""
        return self.starting(value, source) >= value.number

    def is_full_at(self, value: Value, source: str | None, address: str) -> bool:
        """Whether a limit on connections to one remote address, over all sites, is reached."""
        return self.to(value, source, address) >= value.number

    def others(self, value: Value, source: str | None, what: str, address: str = "") -> int:
        """Those of other engines that count for a limit (``what``: open, starting, to)."""
        return 0


class SharedCensus(Census):
    """The same, where several engines share the limits."""

    __slots__ = ("_all", "_commons", "_counts", "_key", "_leaving")

    def __init__(self, remotes: Remotes, commons: Commons, key: SiteKey) -> None:
        super().__init__(remotes)
        self._commons = commons
        self._key = key
        self._all = commons.count(ALL)
        self._counts: dict[Name, Count] = {}
        self._leaving: set[Link] = set()

    def opened(self, source: str | None, address: str) -> None:
        """One more is being opened; under the lock."""
        super().opened(source, address)
        for count in (*self._open(source, address), *self._starting(source)):
            count.opened()

    def ready(self, source: str | None) -> None:
        """One is set up."""
        super().ready(source)
        with self._commons.lock:
            for count in self._starting(source):
                count.closed()

    def closed(self, source: str | None, address: str, was_ready: bool) -> None:
        """One is gone."""
        with self._commons.lock:
            super().closed(source, address, was_ready)
            for count in self._open(source, address):
                count.closed()

    def is_full(self, value: Value, source: str | None) -> bool:
        """Whether a limit on all connections is reached."""
        return self._refuses(self._named("open", value, source), value.number)

    def is_busy(self, value: Value, source: str | None) -> bool:
        """Whether a limit on connections that are being set up is reached."""
        return self._refuses(self._named("starting", value, source), value.number)

    def is_full_at(self, value: Value, source: str | None, address: str) -> bool:
        """Whether a limit on connections to one remote address, over all sites, is reached."""
        return self._refuses(self._named("to", value, source, address), value.number)

    def others(self, value: Value, source: str | None, what: str, address: str = "") -> int:
        """Those of other engines that count for a limit (``what``: open, starting, to)."""
        return self._named(what, value, source, address).others()

    def gives_way(self, link: Link, *, only_ask: bool = False) -> bool:
        """Whether a connection is to be closed, as soon as its mail is done, for the sake of other engines; it is
        leaving then, unless that was only asked."""
        if link in self._leaving:
            return True
        counts = self._open(link.source, link.host.address)
        if not any(count.gives_way() for count in counts):
            return False
        if only_ask:
            return True
        self._leaving.add(link)
        for count in counts:
            count.leaving += 1
        return True

    def left(self, link: Link) -> None:
        """One that may have been leaving is gone."""
        if link in self._leaving:
            self._leaving.discard(link)
            for count in self._open(link.source, link.host.address):
                count.leaving -= 1

    def _refuses(self, count: Count, limit: float) -> bool:
        if count.mine < count.allowed(limit):
            return False
        self.refused.append((count, limit))
        return True

    def _named(self, what: str, value: Value, source: str | None, address: str = "") -> Count:
        return self._of(what, source if value.per_source else None, address)

    def _open(self, source: str | None, address: str) -> list[Count]:
        found = [self._all]
        for one in (None,) if source is None else (None, source):
            found += (self._of("open", one), self._of("to", one, address))
        return found

    def _starting(self, source: str | None) -> list[Count]:
        return [self._of("starting", one) for one in ((None,) if source is None else (None, source))]

    def _of(self, what: str, source: str | None, address: str = "") -> Count:
        name: Name = ("ip", address, source) if address else (*self._key, what, source)
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = self._commons.count(name)
        return count
