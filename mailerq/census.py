"""Census: how many connections there are, by local address, by whether they are ready, by remote address."""

from __future__ import annotations

from mailerq.limits import Value

Remotes = dict[tuple[str, str | None], int]
"""Connections by (remote address, local address), and by (remote address, "*") whatever the local one is."""


class Census:
    """The connections of one site. A connection counts from the decision to open it until it is closed.

    ``remotes`` is shared by all sites: a remote address may stand behind several of them."""

    __slots__ = ("_remotes", "_starting_from", "open", "open_from", "starting_all")

    def __init__(self, remotes: Remotes) -> None:
        self._remotes = remotes
        self.open = 0
        self.open_from: dict[str | None, int] = {}
        self.starting_all = 0
        self._starting_from: dict[str | None, int] = {}

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
