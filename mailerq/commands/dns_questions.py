"""What commands ask DNS: the configured servers, or else the system's."""

from __future__ import annotations

from typing import Any

from mailerq.commands import Failed


class Unanswered(Exception):
    """There is no answer, and it is not known whether there is such a record. The text says why."""


class DnsQuestions:
    """``settings`` is the section ``dns``. Raises Failed where the system names no server."""

    def __init__(self, settings: Any) -> None:
        import dns.nameserver
        import dns.resolver

        try:
            self._resolver = dns.resolver.Resolver(configure=not settings.servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise Failed(str(error)) from None
        if settings.servers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in settings.servers]
        self._resolver.use_edns(0, 0, 1232)
        self._timeout = settings.timeout

    def ask(self, name: str, kind: str) -> list[Any]:
        """The records (dnspython's) of a name; none where there are none. Raises Unanswered."""
        import dns.exception
        import dns.resolver

        from mailerq.dns_query import reason

        try:
            return list(self._resolver.resolve(name, kind, lifetime=self._timeout, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise Unanswered(reason(error)) from None
