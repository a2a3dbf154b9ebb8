"""What one local address may do at one site: the numbers that hold, and how much of them is used up."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mailerq.limits import Limits
from mailerq.throttle import Pace

MESSAGE_RATES = ("messages_per_minute", "bytes_per_minute", "ip_messages_per_minute", "ip_bytes_per_minute")
CONNECT_RATES = ("connects_per_minute", "ip_connects_per_minute")

Paces = dict[tuple[str, str | None, str | None], Pace]
"""By limit, local address (None: the whole site) and remote address (None: all)."""


class Budget:
    """What one local address may do at one site. Numbers that hold for the whole site are shared by all addresses."""

    def __init__(self, paces: Paces, source: str | None, limits: Limits) -> None:
        self._paces = paces
        self._source = source
        self.limits = limits
        self.paced = any(key in limits for key in MESSAGE_RATES)

    def number(self, key: str, default: float = float("inf")) -> float:
        """The number that holds for ``key``."""
        value = self.limits.get(key)
        return default if value is None else value.number

    def paces(self, keys: Collection[str], address: str | None) -> Iterator[tuple[str, Pace]]:
        """The paces of those ``keys`` that have a limit; those of remote addresses only where one is named."""
        for key in keys:
            value = self.limits.get(key)
            if value is None or (address is None and key.startswith("ip_")):
                continue
            scope = self._source if value.per_source else None
            remote = address if key.startswith("ip_") else None
            pace = self._paces.get((key, scope, remote))
            if pace is None:
                pace = self._paces[key, scope, remote] = Pace(value.number)
            yield key, pace

    def next_time(self, keys: Collection[str], address: str | None, now: float) -> tuple[float, str]:
        """When all paces allow one more, and the limit that allows it last ('' if it is allowed now)."""
        latest, why = now, ""
        for key, pace in self.paces(keys, address):
            if pace.due > latest:
                latest, why = pace.due, key.replace("_", "-")
        return latest, why

    def take_message(self, address: str, size: int, now: float) -> None:
        """One message of ``size`` bytes goes out now."""
        for key, pace in self.paces(MESSAGE_RATES, address):
            pace.take(now, size if key.endswith("bytes_per_minute") else 1.0)

    def take_connect(self, address: str, now: float) -> None:
        """One connection is opened now."""
        for _, pace in self.paces(CONNECT_RATES, address):
            pace.take(now)
