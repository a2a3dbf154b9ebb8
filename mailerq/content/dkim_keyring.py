"""The keys of the configuration, by the domain in From. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mailerq.content.dkim_signing import Signer
from mailerq.patterns import is_regex
from mailerq.properties import is_dns_name

if TYPE_CHECKING:
    from mailerq.content.dkim_rules import DkimRule

_MOST = 10_000  # domains that are remembered
_Known = tuple[tuple[Signer, float | None], ...]


def ways(canonicalization: str) -> tuple[bool, bool]:
    """Whether header and body are relaxed; a body that is not named is simple (RFC 6376 section 3.5)."""
    header, _, body = canonicalization.partition("/")
    return header == "relaxed", body == "relaxed"


class Keyring:
    """Finds the signers of a message; what was found for a domain is remembered. May be asked in several threads."""

    def __init__(self, rules: Iterable[DkimRule]) -> None:
        self._rules = [(_test(rule.domain), rule) for rule in rules]
        self._known: dict[str, _Known] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def signers(self, domains: Iterable[str], now: float) -> list[Signer]:
        """Those for a message from these domains, their ``expire`` set."""
        return [
            signer if lasts is None else replace(signer, expire=int(now + lasts))
            for domain in domains
            for signer, lasts in self._of(domain)
        ]

    def rules_for(self, domain: str) -> list[DkimRule]:
        """The entries that are for mail from ``domain``, in their order."""
        return [rule for fits, rule in self._rules if fits(domain)]

    def _of(self, domain: str) -> _Known:
        known = self._known.get(domain)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            rules = self.rules_for(domain) if is_dns_name(domain) else ()  # it may become d=
            known = tuple((_signer(rule, domain), rule.expire) for rule in rules)
            self._known[domain] = known
        return known


def _signer(rule: DkimRule, domain: str) -> Signer:
    return Signer(
        domain=rule.signing_domain or domain,
        selector=rule.selector,
        key=rule.key,
        headers=rule.headers,
        relaxed=ways(rule.canonicalization),
        report=rule.report,
        priority=rule.priority,
        dkim="dkim" in rule.protocols,
        arc="arc" in rule.protocols,
    )


def _test(given: str) -> Callable[[str], bool]:
    from mailerq.limits import pattern

    if not is_regex(given):
        return pattern(given)
    found = re.compile(given[1:-1], re.IGNORECASE).search
    return lambda domain: found(domain) is not None
