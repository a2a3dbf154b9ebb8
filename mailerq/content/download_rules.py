"""What may be downloaded, and how much of it at a time: the section ``downloads`` of the configuration. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import attrs

from mailerq.shapes import items, key, size, text, time, whole, wrong
from mailerq.yaml_source import Node, quoted

Network = IPv4Network | IPv6Network


def network(node: Node) -> Network:
    """An address, or a network such as ``10.0.0.0/8``."""
    given = text(node)
    try:
        return ip_network(given)
    except ValueError:
        raise wrong(node, f"{quoted(given)} is no network, such as 10.0.0.0/8 or 2001:db8::/32") from None


def _agent(node: Node) -> str:
    given = text(node)
    if not given.isascii():
        raise wrong(node, "must be ASCII")
    return given


@attrs.frozen
class DownloadRules:
    """``allow``: networks that may be used though they are not public; ``deny``: networks that may not be used, which
    goes before. ``timeout``: seconds for a download, redirects and all. ``max_size``, ``cache``: bytes; ``cache`` None:
    nothing is kept. ``ttl``: seconds that something is kept at most."""

    allow: tuple[Network, ...] = key((), items(network, single=True))
    deny: tuple[Network, ...] = key((), items(network, single=True))
    timeout: float = key(30.0, time())
    max_size: int = key(10_000_000, size)
    max_parallel: int = key(20, whole(1, 1000))
    max_per_host: int = key(4, whole(1, 1000))
    cache: int | None = key(64_000_000, size, null=True)
    ttl: float = key(3600.0, time())
    user_agent: str = key("mailerq", _agent)
