"""One question to DNS and what came of it, as values: nothing that DNS says or does not say is an exception."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import msgspec
from twisted.internet.defer import DeferredSemaphore

from mailerq.dns_transport import ClockedResolver, TwistedBackend
from mailerq.route import usable

AT_ONCE = 200
"""Questions on the wire at the same time; each has a socket."""
_EDNS_PAYLOAD = 1232


class Found(msgspec.Struct, frozen=True):
    """Records (dnspython's rdata), and how long they hold in seconds."""

    records: Sequence[Any]
    ttl: float


class Nothing(msgspec.Struct, frozen=True):
    """There is no such record; ``exists``: but the name has others."""

    exists: bool
    ttl: float


class Unknown(msgspec.Struct, frozen=True):
    """DNS could not say."""

    why: str


class Questions:
    """Asks the servers; at most ``AT_ONCE`` at a time, the others queue up. ``timeout``: seconds from the moment when a
    question is sent, over all servers and repetitions. No servers: those of ``resolv_conf``."""

    def __init__(self, reactor: Any, servers: Sequence[tuple[str, int]], timeout: float, resolv_conf: str) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._slots = DeferredSemaphore(AT_ONCE)
        self._resolver = ClockedResolver(reactor)
        self._resolver.use_edns(0, 0, _EDNS_PAYLOAD)
        self._given = bool(servers)
        self._resolv_conf = resolv_conf
        self._use(servers or system_servers(resolv_conf))

    def _use(self, servers: Sequence[tuple[str, int]]) -> None:
        self._servers = servers
        self._resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
        # Every server gets its turn, and one of them a second one, before the time is over.
        self._resolver.timeout = min(2.0, self._timeout / (len(servers) + 1))

    @property
    def under_way(self) -> int:
        """Questions on the wire."""
        return AT_ONCE - self._slots.tokens

    async def ask(self, name: str, rdtype: str) -> Found | Nothing | Unknown:
        """The records of ``name`` (absolute, ASCII). Never raises."""
        if not self._servers and not self._given:
            self._use(system_servers(self._resolv_conf))
        if not self._servers:
            return Unknown(f"no DNS servers are known ({self._resolv_conf} names none)")
        await self._slots.acquire()
        try:
            deadline = self._reactor.seconds() + self._timeout
            answer = await self._resolver.resolve(
                dns.name.from_text(name),
                rdtype,
                raise_on_no_answer=False,
                lifetime=deadline,
                search=False,
                backend=TwistedBackend(self._reactor, deadline),
            )
        except dns.resolver.NXDOMAIN as error:
            responses = list(error.responses().values())
            return Nothing(False, float(responses[0].resolve_chaining().minimum_ttl) if responses else 0.0)
        except Exception as error:
            return Unknown(f"DNS has no answer about {name} ({rdtype}): {reason(error)}")
        finally:
            self._slots.release()
        ttl = answer.chaining_result.minimum_ttl
        if answer.rrset is None:
            return Nothing(True, float(ttl))
        return Found(list(answer.rrset), float(ttl))


def reason(error: Exception) -> str:
    """Why a question has no answer, in a few words."""
    said = {_said(entry[3]) for entry in getattr(error, "kwargs", {}).get("errors", ())}
    if isinstance(error, dns.exception.Timeout):
        return ", ".join(sorted(said | {"no answer in time"}))
    if isinstance(error, dns.resolver.NoNameservers):
        return ", ".join(sorted(said)) or "no server is of use"
    return str(error) or type(error).__name__


def _said(what: Any) -> str:
    if isinstance(what, dns.exception.Timeout):
        return "no answer in time"
    if isinstance(what, EOFError):
        return "the connection was closed"
    if isinstance(what, Exception):
        return str(what) or type(what).__name__
    return str(what)


def system_servers(resolv_conf: str) -> list[tuple[str, int]]:
    """The servers that a resolv.conf names; none where it cannot be read."""
    try:
        lines = Path(resolv_conf).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    named = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return [(address, 53) for address in named if "%" not in address and (usable(address) or address == "0.0.0.0")]


def system_hosts(hosts_file: str) -> dict[str, tuple[str, ...]]:
    """Names and addresses of an /etc/hosts; ``localhost`` is always there."""
    try:
        lines = Path(hosts_file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    hosts: dict[str, list[str]] = {}
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        for name in names if usable(address) else ():
            known = hosts.setdefault(name.lower(), [])
            if address not in known:
                known.append(address)
    hosts.setdefault("localhost", ["127.0.0.1", "::1"])
    return {name: tuple(addresses) for name, addresses in hosts.items()}
