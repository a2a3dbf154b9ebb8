"""Which number holds for a site, and from which line it comes."""

from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from mailerq.limits import Value, cascade


class Rule(Struct, frozen=True):
    """An entry of ``limits``."""

    line: int
    values: dict[str, float]
    domain: str | None = None
    mx: str | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None
    tls: str | None = None
    retry_interval: tuple[float, ...] | None = None


def rule(line: int, rate: float, **scope: Any) -> Rule:
    """One number for somebody."""
    return Rule(line, {"messages_per_minute": rate}, **scope)


class Cascade(SynchronousTestCase):
    """From general to special."""

    def number(self, *rules: Rule, source: str | None = None, domains: tuple[str, ...] = ("a.org",)) -> Value | None:
        """The rate that holds for a.org at mx.mail.example."""
        pools = {"p": ["192.0.2.7"]}
        return cascade(rules, domains, {"mx.mail.example"}, source, pools).get("messages_per_minute")

    def test_later_wins(self) -> None:
        """Later rules win, key by key."""
        found = cascade(
            [Rule(1, {"a": 1, "b": 1}, domain="*"), Rule(2, {"b": 2}, domain="a.org")], {"a.org"}, {"mx"}, None, {}
        )
        self.assertEqual(found, {"a": Value(1, 1, False), "b": Value(2, 2, False)})
        self.assertEqual(self.number(rule(1, 5, domain="a.org"), rule(2, 6, domain="*")), Value(6, 2, False))

    def test_patterns(self) -> None:
        """A rule holds if one of the site's domains, or MX hosts, is meant; if it names both, both must be."""
        for scope, holds in (
            ({"domain": "a.org"}, True),
            ({"domain": "*.org"}, True),
            ({"domain": "b.org"}, True),
            ({"domain": "c.org"}, False),
            ({"mx": "*.mail.example"}, True),
            ({"mx": "mail.example"}, False),
            ({"domain": "a.org", "mx": "*.mail.example"}, True),
            ({"domain": "a.org", "mx": "other"}, False),
            ({}, True),
        ):
            self.assertEqual(self.number(rule(1, 5, **scope), domains=("a.org", "b.org")) is not None, holds, scope)

    def test_local_addresses(self) -> None:
        """A rule for a local address or a pool counts for each local address alone, and for no other."""
        for scope in ({"ip": "192.0.2.7"}, {"ip": "192.0.2.*"}, {"pool": "p"}):
            special = rule(2, 6, domain="*", **scope)
            self.assertEqual(self.number(rule(1, 5), special, source="192.0.2.7"), Value(6, 2, True))
            for source in (None, "198.51.100.1"):
                self.assertEqual(self.number(rule(1, 5), special, source=source), Value(5, 1, False))

    def test_unknown_pool(self) -> None:
        """A pool that is not there has no addresses."""
        self.assertIsNone(self.number(rule(1, 5, pool="q"), source="192.0.2.7"))
