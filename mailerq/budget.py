"""What one local address may do at one site: the numbers that hold, and how much of them is used up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from mailerq.limit_rules import TIMEOUTS
from mailerq.limits import Limits, Value
from mailerq.throttle import Pace

if TYPE_CHECKING:
    from mailerq.settings import Timeouts
    from mailerq.terms import PaceName

MESSAGE_RATES = ("messages_per_minute", "bytes_per_minute", "ip_messages_per_minute", "ip_bytes_per_minute")
CONNECT_RATES = ("connects_per_minute", "ip_connects_per_minute")
ALL_RATES = MESSAGE_RATES + CONNECT_RATES

Paced = list[tuple[str, Pace]]
FindPace = Callable[["PaceName", Value], Pace]


class Budget:
    """What one local address (None: any) may do at one site; with ``tag``, what mail with that tag may do in addition.

    Numbers that hold for the whole site are shared by all addresses: ``find_pace`` knows all paces by their names.
    ``more`` holds in addition to ``limits``: what reduces the share of one address below that of the site.
    """

    def __init__(self, find_pace: FindPace, source: str | None, limits: Limits, more: Sequence[Limits] = ()) -> None:
        self._find_pace = find_pace
        self._source = source
        self._paced: dict[tuple[tuple[str, ...], str | None], Paced] = {}
        self.limits = limits
        self.more = tuple(more)
        self.paced = any(key in MESSAGE_RATES for key, _ in self.values())
        self.connections = self.number("max_connections")
        self.messages = self.number("connection_max_messages")  # over one connection

    def values(self) -> Iterator[tuple[str, Value]]:
        """All that holds; a key may be there several times."""
        for limits in (self.limits, *self.more):
            yield from limits.items()

    def of(self, key: str) -> list[Value]:
        """All that holds for ``key``."""
        return [limits[key] for limits in (self.limits, *self.more) if key in limits]

    def number(self, key: str, default: float = float("inf")) -> float:
        """The lowest number that holds for ``key``."""
        value = self.limits.get(key)
        number = default if value is None else value.number
        for limits in self.more:
            if key in limits:
                number = min(number, limits[key].number)
        return number

    def timeouts(self, general: Timeouts) -> Timeouts:
        """``general``, with what the limits say instead."""
        own = {name: self.number(f"timeout_{name}") for name in TIMEOUTS if f"timeout_{name}" in self.limits}
        return attrs.evolve(general, **own) if own else general

    def paces(self, keys: tuple[str, ...], address: str | None) -> Paced:
        """The paces of those ``keys`` that have a limit, each with its name for people; those of remote addresses only
        where one is named."""
        found = self._paced.get((keys, address))
        if found is None:
            found = self._paced[keys, address] = [
                (named(key, value), self._find_pace(self._name(key, value, address), value))
                for key in keys
                if address is not None or not key.startswith("ip_")
                for value in self.of(key)
            ]
        return found

    def _name(self, key: str, value: Value, address: str | None) -> PaceName:
        shared = address if key.startswith("ip_") else value.shared or None
        return key, self._source if value.per_source else None, value.tag, shared

    def next_time(self, keys: tuple[str, ...], address: str | None, now: float) -> tuple[float, str]:
        """When all paces allow one more, and the limit that allows it last ('' if it is allowed now)."""
        latest, why = now, ""
        for name, pace in self.paces(keys, address):
            if pace.due > latest:
                latest, why = pace.due, name
        return latest, why

    def take_message(self, address: str | None, size: int, now: float) -> None:
        """One message of ``size`` bytes goes out now."""
        for name, pace in self.paces(MESSAGE_RATES, address):
            pace.take(now, size if name.startswith(("bytes", "ip-bytes")) else 1.0)

    def take_connect(self, address: str, now: float) -> None:
        """One connection is opened now."""
        for _, pace in self.paces(CONNECT_RATES, address):
            pace.take(now)


def named(key: str, value: Value) -> str:
    """A limit as people read it: ``messages-per-minute (tag news)``."""
    why = f"tag {value.tag}" if value.tag is not None else value.cause
    name = key.replace("_", "-")
    return f"{name} ({why})" if why else name
