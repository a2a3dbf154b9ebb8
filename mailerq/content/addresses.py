"""Which addresses a download may go to: public ones alone, unless the configuration says otherwise. Pure.

What is not public is the IANA's registries of special-purpose addresses (RFC 6890 and those after it); of IPv6, all
outside 2000::/3, too. Addresses that only wrap another one (IPv4-mapped, NAT64, 6to4, Teredo) are not public: what they
lead to is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_SPECIAL = {
    "this host or network": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "shared by networks of one provider": ("100.64.0.0/10",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "an IPv4 address in IPv6": ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
    "for documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "for measurements": ("198.18.0.0/15", "2001:2::/48"),
    "reserved": ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "100::/64", "5f00::/16"),
}
_TABLE = [(ip_network(network), why) for why, networks in _SPECIAL.items() for network in networks]
_GLOBAL = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def objection(address: str, allow: Sequence[Network] = (), deny: Sequence[Network] = ()) -> str:
    """Why ``address`` may not be used; '' if it may. ``deny`` goes before ``allow``, and both before what is public.
    An IPv4 address that is written as an IPv6 one has to be allowed as the one and as the other."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "is no address"
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return "is an address with a zone"
    if any(ip in network for network in deny):
        return "is an address that the configuration denies (downloads.deny)"
    if any(ip in network for network in allow):
        inner = _inner(ip)
        return objection(str(inner), allow, deny) if inner is not None else ""
    why = next((why for network, why in _TABLE if ip in network), "")
    if not why and (not ip.is_global or (isinstance(ip, IPv6Address) and ip not in _GLOBAL)):
        why = "reserved"
    return f"is not a public address ({why})" if why else ""


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is written as an IPv6 one (RFC 4291 section 2.5.5.2, RFC 6052), if it is one."""
    if isinstance(ip, IPv4Address):
        return None
    return ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
