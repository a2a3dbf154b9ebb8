"""The addresses of a host's name: from ``/etc/hosts``, else from DNS, by the servers of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mailerq.settings import Dns

Names = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name (ASCII, lower case), of a written address that address, IPv4 first. Raises LookupError with
the reason where there is none."""


class HostNames:
    """Asks DNS without threads; nothing is remembered here. ``await names(host)``."""

    def __init__(
        self, reactor: Any, dns: Dns, *, hosts_file: str = "/etc/hosts", resolv_conf: str = "/etc/resolv.conf"
    ):
        from mailerq.dns_query import Questions, system_hosts

        self._questions = Questions(reactor, dns.servers, dns.timeout, resolv_conf)
        self._system = system_hosts(hosts_file)

    async def __call__(self, host: str) -> Sequence[str]:
        """See ``Names``."""
        from mailerq.dns_query import Found, Unknown

        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        if host in self._system:
            return self._system[host]
        answers = await gatherResults(
            [Deferred.fromCoroutine(self._questions.ask(f"{host}.", rdtype)) for rdtype in ("A", "AAAA")]
        )
        found = [record.address for answer in answers if isinstance(answer, Found) for record in answer.records]
        if not found:
            why = next((answer.why for answer in answers if isinstance(answer, Unknown)), "")
            raise LookupError(why or f"{host} has no address")
        return found
