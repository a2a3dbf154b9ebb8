"""Where a domain's mail goes: from what DNS said to hosts in their order (RFC 5321 section 5.1, RFC 7505).

The order: MX preference, then, of one MX host, its IPv4 addresses before its IPv6 ones. Among hosts of the same
preference the dice decide, anew each time (``order``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING

import idna
import msgspec

if TYPE_CHECKING:
    from mailerq.settings import Dns

MOST_MX = 20
"""MX hosts that are looked at; a domain with more shows its best ones."""
MOST_HOSTS = 50
"""Addresses in one route."""

_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


class Host(msgspec.Struct, frozen=True):
    """One remote address. ``mx``: the host name that led to it; ``preference``: lower is tried first."""

    address: str
    port: int
    mx: str
    preference: int = 0


class Route(msgspec.Struct, frozen=True):
    """Where mail goes. ``key`` is the site: domains with the same key share their limits. ``hosts`` are never empty,
    best first. ``expires``: when it must be asked again (seconds of the reactor's clock)."""

    key: tuple[str, ...]
    hosts: tuple[Host, ...]
    expires: float = float("inf")

    @property
    def mx_names(self) -> set[str]:
        """The names of the hosts."""
        return {host.mx for host in self.hosts if host.mx}


class NoHosts(msgspec.Struct, frozen=True):
    """There is no host to go to. ``sure``: the domain does not exist, or has neither MX nor address; asking again would
    change nothing. Otherwise it may only be DNS that fails."""

    why: str
    sure: bool = False
    code: int | None = None
    status: str | None = None


class NullMx(msgspec.Struct, frozen=True):
    """The domain says that it takes no mail (RFC 7505)."""

    why: str
    code: int = 556
    status: str = "5.1.10"


Answer = Route | NoHosts | NullMx


def order(route: Route, random: Random) -> tuple[Host, ...]:
    """The route's hosts in the order in which to try them now: hosts of the same preference are shuffled, and so are
    the addresses of one host; what belongs to one host name stays together, IPv4 before IPv6."""
    if len(route.hosts) == 1 or len({host.preference for host in route.hosts}) == len(route.hosts):
        return route.hosts
    ordered: list[Host] = []
    for _, tied in groupby(route.hosts, key=lambda host: host.preference):
        names: dict[str, list[Host]] = {}
        for host in tied:
            names.setdefault(host.mx, []).append(host)
        for name in random.sample(list(names), len(names)):
            addresses = random.sample(names[name], len(names[name]))
            ordered += sorted(addresses, key=lambda host: ":" in host.address)
    return tuple(ordered)


def ascii_name(domain: str) -> str | NoHosts:
    """``domain`` as DNS knows it: lower case, IDNA 2008 (with the mapping of UTS 46), no dot at the end.

    A name that cannot exist is a sure NoHosts. Underscores and odd hyphens are let through: some hosts have them."""
    if len(domain) > 1000:
        return NoHosts(f"the domain {_shown(domain)} is too long", True)
    name = domain
    if not domain.isascii():
        try:
            name = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            return NoHosts(f"{_shown(domain)} is no domain name: {error}", True)
    name = name.lower().removesuffix(".")
    if len(name) > 253:
        return NoHosts(f"the domain {_shown(domain)} is too long", True)
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return NoHosts(f"{_shown(domain)} is no domain name: {_fault(labels)}", True)
    if labels[-1].isdecimal():
        return NoHosts(f"{_shown(domain)} is no domain name: it ends in a number (an address stands in brackets)", True)
    return name


def _fault(labels: Sequence[str]) -> str:
    if "" in labels:
        return "a part of it is empty"
    if any(len(label) > 63 for label in labels):
        return "a part of it is longer than 63"
    return "it has characters that no name has"


def _shown(domain: str) -> str:
    shown = domain if domain.isprintable() else ascii(domain)[1:-1]
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def literal(domain: str, port: int) -> Route | NoHosts | None:
    """The route to an address literal such as ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]`` (RFC 5321 section 4.1.3); None
    where ``domain`` is none."""
    if not domain.startswith("["):
        return None
    inner = domain[1:-1] if domain.endswith("]") else ""
    is_six = inner[:5].lower() == "ipv6:"
    try:
        address = str(ipaddress.IPv6Address(inner[5:]) if is_six else ipaddress.IPv4Address(inner))
    except ValueError:
        return NoHosts(f"{_shown(domain)} is no address literal", True)
    if "%" in address or not usable(address):
        return NoHosts(f"no mail can be sent to {_shown(domain)}", True)
    name = f"[IPv6:{address}]" if is_six else f"[{address}]"
    return Route((name,), (Host(address, port, name),))


def usable(address: str) -> bool:
    """Whether an address is one that a host can have; ``0.0.0.0`` would lead to ourselves."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_unspecified or parsed.is_multicast)


def fixed(domain: str, dns: Dns, port: int) -> Route | None:
    """The route that the configuration (``dns.hosts``) has for a domain: an exact name first, then patterns in their
    order; None where it has none. Its hosts are tried in the order in which they are written."""
    from fnmatch import fnmatchcase

    found = dns.hosts.get(domain)
    if found is None:
        found = next((hosts for pattern, hosts in dns.hosts.items() if fnmatchcase(domain, pattern)), None)
    if found is None:
        return None
    ends = [(address, own or port) for address, own in found]
    hosts = tuple(Host(address, to, address, number) for number, (address, to) in enumerate(ends))
    return Route(tuple(site(address, to) for address, to in ends), hosts)


def site(hostname: str, port: int) -> str:
    """The key of a host that was named with its port."""
    return f"[{hostname}]:{port}" if ":" in hostname else f"{hostname}:{port}"


def mx_names(records: Sequence[tuple[int, str]]) -> list[tuple[int, str]] | None:
    """MX records (preference, host name without final dot; empty for ``.``) as they are used: each name once, lower
    case, by preference, then name, at most ``MOST_MX``. None: a null MX. Empty: no record names a host."""
    best: dict[str, int] = {}
    for preference, name in records:
        name = name.lower()  # noqa: PLW2901
        if name:
            best[name] = min(preference, best.get(name, preference))
    if records and not best:
        return None
    return sorted((preference, name) for name, preference in best.items())[:MOST_MX]


def null_mx(domain: str) -> NullMx:
    """What comes of a domain with a null MX."""
    return NullMx(f"{domain} takes no mail (null MX)")


def routed(
    domain: str,
    mx: Sequence[tuple[int, str]],
    addresses: Mapping[str, Sequence[str]],
    port: int,
    expires: float,
) -> Route | NoHosts:
    """The route of a domain with MX hosts (as ``mx_names`` gives them) and their addresses; hosts without any are
    passed over. NoHosts where all are."""
    hosts: dict[str, Host] = {}
    for preference, name in mx:
        for address in sorted(addresses.get(name, ()), key=lambda text: ":" in text):
            if usable(address) and len(hosts) < MOST_HOSTS:
                # An address that several hosts have is tried once.
                hosts.setdefault(address, Host(address, port, name, preference))
    names = tuple(name for _, name in mx)
    if not hosts:
        listed = ", ".join(_shown(name) for name in names[:5]) + (" ..." if len(names) > 5 else "")
        return NoHosts(f"no mail host of {domain} has an address: {listed}")
    return Route(names, tuple(hosts.values()), expires)


def direct(
    domain: str, key: str, addresses: Sequence[str], port: int, expires: float = float("inf")
) -> Route | NoHosts:
    """The route to a host itself: a domain without MX (``key``: its name), or a host that was named with its port."""
    hosts = routed(domain, [(0, domain)], {domain: addresses}, port, expires)
    if isinstance(hosts, NoHosts):
        return NoHosts(f"{domain} has no address", True)
    return Route((key,), hosts.hosts, expires)
