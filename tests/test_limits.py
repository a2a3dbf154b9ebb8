"""Which number holds for a site, and from which line it comes."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from mailerq.limits import Manner, Matched, Rules, Value, manner, pattern


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
        return Matched(rules, {"mx.mail.example"}, domains).limits(source, pools).get("messages_per_minute")

    def test_later_wins(self) -> None:
        """Later rules win, key by key."""
        rules = [Rule(1, {"a": 1, "b": 1}, domain="*"), Rule(2, {"b": 2}, domain="a.org")]
        found = Matched(rules, {"mx"}, {"a.org"}).limits(None, {})
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

    def test_for_all_before_a_domain_is_known(self) -> None:
        """What holds for all holds for a site whose domains are not known yet."""
        self.assertEqual(self.number(rule(1, 5, domain="*"), rule(2, 6, domain="a.*"), domains=()), Value(5, 1, False))

    def test_rules_of_tags_are_not_among_them(self) -> None:
        """A rule with a tag changes nothing for the site."""
        self.assertEqual(self.number(rule(1, 5), rule(2, 6, tag="*")), Value(5, 1, False))


class Tags(SynchronousTestCase):
    """Rules with a tag hold in addition."""

    RULES = (
        rule(1, 1, domain="*"),
        rule(2, 2, tag="news-*"),
        rule(3, 3, tag="news-a", domain="a.org"),
        rule(4, 4, tag="ads", domain="other.org"),
        Rule(5, {}, tag="slow", retry_interval=(60.0,)),
        rule(6, 6, tag="bulk", ip="192.0.2.7"),
    )

    def limits(self, tag: str, source: str | None = None) -> dict[str, Value]:
        """What a tag has at a.org."""
        return Matched(self.RULES, {"mx"}, ("a.org",)).tag_limits(source, {}, tag)

    def test_values(self) -> None:
        """Only rules whose tag fits count, later ones win, and the values know the tag itself."""
        self.assertEqual(self.limits("news-b"), {"messages_per_minute": Value(2, 2, False, "news-b")})
        self.assertEqual(self.limits("news-a"), {"messages_per_minute": Value(3, 3, False, "news-a")})
        for tag in ("ads", "slow", "News-a", "x", ""):
            self.assertEqual(self.limits(tag), {}, tag)

    def test_local_address(self) -> None:
        """With a local address the number is that address's, and no other's."""
        found = {"messages_per_minute": Value(6, 6, True, "bulk")}
        self.assertEqual(self.limits("bulk", "192.0.2.7"), found)
        self.assertEqual(self.limits("bulk", "192.0.2.8"), {})

    def test_limited(self) -> None:
        """Of a mail's tags those that have a number here, in their order and each once."""
        tags = ("x", "news-b", "ads", "slow", "news-a", "news-b", "bulk")
        self.assertEqual(Matched(self.RULES, {"mx"}, ("a.org",)).limited_tags(tags), ("news-b", "news-a", "bulk"))
        self.assertEqual(Matched(self.RULES[:1], {"mx"}, ("a.org",)).limited_tags(tags), ())


class Manners(SynchronousTestCase):
    """What is a recipient domain's own."""

    RULES = (
        Rule(1, {}, domain="*", tls="opportunistic"),
        Rule(2, {}, mx="*.mail.example", retry_interval=(60.0,)),
        Rule(3, {}, domain="a.org", tls="verified"),
        Rule(4, {}, tag="otp-*", retry_interval=(5.0, 10.0)),
        Rule(5, {"max_connections": 3}, domain="a.org"),
    )

    def manner(self, domain: str, *tags: str) -> Manner:
        """How mail to a domain at mx.mail.example is sent."""
        return manner(self.RULES, domain, {"mx.mail.example"}, tags)

    def test_each_domain(self) -> None:
        """Domains with the same hosts have their own, and what a rule does not say stays."""
        self.assertEqual(self.manner("a.org"), Manner("verified", (60.0,)))
        self.assertEqual(self.manner("b.org"), Manner("opportunistic", (60.0,)))

    def test_tags(self) -> None:
        """A rule with a tag holds for mails with that tag."""
        self.assertEqual(self.manner("a.org", "x", "otp-1"), Manner("verified", (5.0, 10.0)))

    def test_nothing(self) -> None:
        """Where nothing is said there is nothing."""
        self.assertEqual(manner((), "a.org", (), ()), Manner(None, None))


NAMES = ("a.org", "b.org", "a.net", "mx1.p.example", "mx2.p.example", "x")
PATTERNS = (None, "*", "a.*", "*.org", "a.org", "?.net", "[ab].org", "*.p.example", "mx1.p.example", "")
SOME = st.lists(st.sampled_from(NAMES), max_size=4)


def fits(text: str | None, names: Collection[str]) -> bool:
    """What a pattern means, said simply."""
    return text is None or any(fnmatchcase(name, text) for name in names)


class Known(SynchronousTestCase):
    """The rules of a site, kept as its domains become known."""

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS)), max_size=6), SOME, SOME)
    def test_as_if_looked_up_anew(
        self, scopes: list[tuple[str | None, str | None]], mx_names: list[str], domains: list[str]
    ) -> None:
        """Whatever the order of domains, the rules are those that fit, and a change is told if there is one."""
        rules = Rules(rule(at, at, domain=domain, mx=mx) for at, (domain, mx) in enumerate(scopes))
        site = Matched(rules, mx_names)
        for known in range(1, len(domains) + 1):
            before = site.rules
            changed = site.know_domain(domains[known - 1])
            self.assertEqual(changed, site.rules != before)
            expected = [one for one in rules if fits(one.domain, domains[:known]) and fits(one.mx, mx_names)]
            self.assertEqual(list(site.rules), expected)
            self.assertEqual(Matched(list(rules), mx_names, domains[:known]).rules, site.rules)

    def test_a_known_domain_changes_nothing(self) -> None:
        """A domain that is told again, or that no rule names, changes nothing."""
        site = Matched([rule(1, 5, domain="a.org")], {"mx"})
        self.assertEqual([site.know_domain(name) for name in ("a.org", "a.org", "b.org")], [True, False, False])

    def test_many_domains(self) -> None:
        """The patterns that have fitted are not looked at again, however many domains come."""
        site = Matched([rule(1, 5, domain="*.org"), rule(2, 6, domain="*")], {"mx"})
        changes = sum(site.know_domain(f"d{number}.org") for number in range(1000))
        self.assertEqual((changes, len(site.rules)), (1, 2))

    def test_patterns_are_those_of_the_shell(self) -> None:
        """A pattern means what fnmatch says, line ends and odd signs included."""
        for text in ("a", "*", "a*", "?", "[a-c]", "[!a]", "[", "a.b", "*\n"):
            for name in ("a", "b", "ab", "[", "a\n", "a.b", "axb", ""):
                self.assertEqual(pattern(text)(name), fnmatchcase(name, text), (text, name))
