"""Places: which provider has a domain, to which hosts its mail goes, and who is at an address.

Pure. Domains that are made up are ``d7.NAME.example``; their hosts, and those of unknown domains, are at addresses that
are counted up from 10.0.0.1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from mailerq.route import Host, Route
from mailerq.simulate.provider import Provider

_FIRST = 10 << 24  # 10.0.0.0


class Place(NamedTuple):
    """A site of a provider: its number among the providers, and its own among the sites of that one."""

    provider: int
    site: int


class PlacedHost(Host, frozen=True, kw_only=True):
    """A host that knows who it is."""

    place: Place


class Places:
    """``providers`` in order; the last one has all domains that no other has. ``port`` is where hosts listen."""

    def __init__(self, providers: Sequence[Provider], port: int = 25) -> None:
        self.providers = tuple(providers)
        self._port = port
        self._routes: dict[str, Route] = {}  # of domains that are named
        self._owner: dict[str, int] = {}  # provider by domain
        self._made_up: dict[str, int] = {}  # provider by the end of its made up domains
        self._at: dict[str, Place] = {}  # by address, of hosts that are named
        self._blocks: list[int] = []  # the first number of each block of addresses
        self._block_of: list[int] = []
        self._first: dict[int, int] = {}  # that of each provider's block
        self._next = 1
        for number, provider in enumerate(self.providers):
            self._add(number, provider)
        self._unknown_from = self._next  # sites of unknown domains are behind all others
        self._unknown: dict[str, int] = {}

    def _add(self, number: int, provider: Provider) -> None:
        sites = provider.how_many_sites()
        if provider.count:
            self._made_up[f"{provider.name}.example"] = number
        if sites:
            self._blocks.append(self._next)
            self._first[number] = self._next
            self._block_of.append(number)
            self._next += sites
        if not provider.domains:
            return
        mx = provider.mx or {f"mx.{provider.domains[0].lower()}": ()}
        hosts = []
        for rank, (name, addresses) in enumerate(mx.items()):
            for address in addresses or (self._new_address(),):
                place = self._at[address] = Place(number, -1)
                hosts.append(PlacedHost(address, self._port, name, 10 * (rank + 1), place=place))
        route = Route(tuple(mx), tuple(hosts))
        for domain in provider.domains:
            self._routes[domain.lower()] = route
            self._owner[domain.lower()] = number

    def _new_address(self) -> str:
        self._next += 1
        return _address(self._next - 1)

    def route(self, domain: str) -> Route:
        """Where mail for ``domain`` goes."""
        named = self._routes.get(domain)
        if named is not None:
            return named
        number, site = self._site(domain)
        if number == len(self.providers):
            own = self._unknown_from + site
            return self._made(domain, own, Place(number - 1, own))
        name, first = self.providers[number].name, self._first[number]
        return self._made(f"s{site}.{name}.example", first + site, Place(number, site))

    def _made(self, name: str, address: int, place: Place) -> Route:
        mx = f"mx.{name}"
        return Route((mx,), (PlacedHost(_address(address), self._port, mx, place=place),))

    def _site(self, domain: str) -> tuple[int, int]:
        label, _, end = domain.partition(".")
        number = self._made_up.get(end)
        if number is not None and label[:1] == "d" and label[1:].isdecimal():
            return number, int(label[1:]) % self.providers[number].how_many_sites()
        site = self._unknown.setdefault(domain, len(self._unknown))
        return len(self.providers), site

    def named(self) -> list[tuple[str, ...]]:
        """The keys of the sites of all domains that are named."""
        return list(dict.fromkeys(route.key for route in self._routes.values()))

    def provider_of(self, domain: str) -> int:
        """The number of the provider that has ``domain``."""
        owner = self._owner.get(domain)
        if owner is None:
            owner = self._made_up.get(domain.partition(".")[2], len(self.providers) - 1)
        return owner

    def at(self, address: str) -> Place:
        """Who is at an address."""
        place = self._at.get(address)
        if place is not None:
            return place
        number = _number(address)
        if number >= self._unknown_from or not self._blocks:
            return Place(len(self.providers) - 1, number)
        block = bisect_right(self._blocks, number) - 1
        return Place(self._block_of[block], number - self._blocks[block])

    def domain(self, provider: int, bits: int) -> str:
        """One of the domains of a provider, whichever ``bits`` chooses."""
        chosen = self.providers[provider]
        named = len(chosen.domains)
        index = bits % (named + chosen.count)
        return chosen.domains[index] if index < named else f"d{index - named}.{chosen.name}.example"


def _address(number: int) -> str:
    whole = _FIRST + number
    return f"{whole >> 24}.{whole >> 16 & 255}.{whole >> 8 & 255}.{whole & 255}"


def _number(address: str) -> int:
    parts = address.split(".")
    if len(parts) != 4:
        return 1 << 32
    return int.from_bytes(bytes(map(int, parts)), "big") - _FIRST
