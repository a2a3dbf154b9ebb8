"""What routes promise: order, keys, names, literals."""

import random
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from mailerq.route import (
    Host,
    NoHosts,
    Route,
    ascii_name,
    direct,
    fixed,
    literal,
    mx_names,
    null_mx,
    order,
    routed,
    usable,
)
from mailerq.settings import Dns


def route(*hosts: tuple[int, str, str]) -> Route:
    return Route(("k",), tuple(Host(address, 25, mx, preference) for preference, mx, address in hosts))


class Order(SynchronousTestCase):
    """The order in which hosts are tried."""

    def test_preference(self) -> None:
        """Preference decides; what is equal is shuffled anew each time, hosts as a whole, IPv4 first."""
        given = route(
            (10, "a", "192.0.2.1"), (10, "a", "192.0.2.2"), (10, "a", "::1"), (10, "b", "192.0.2.3"), (20, "c", "::2")
        )
        dice = random.Random(1)
        seen = {tuple(host.address for host in order(given, dice)) for _ in range(100)}
        self.assertEqual(
            seen,
            {
                ("192.0.2.1", "192.0.2.2", "::1", "192.0.2.3", "::2"),
                ("192.0.2.2", "192.0.2.1", "::1", "192.0.2.3", "::2"),
                ("192.0.2.3", "192.0.2.1", "192.0.2.2", "::1", "::2"),
                ("192.0.2.3", "192.0.2.2", "192.0.2.1", "::1", "::2"),
            },
        )

    def test_one(self) -> None:
        """A single host, and hosts of different preference, need no dice."""
        for given in (route((10, "a", "192.0.2.1")), route((10, "a", "192.0.2.1"), (20, "b", "192.0.2.2"))):
            self.assertIs(order(given, None), given.hosts)  # type: ignore[arg-type]

    def test_ties_are_fair(self) -> None:
        """Each of three equal hosts is first about as often."""
        given = route((10, "a", "192.0.2.1"), (10, "b", "192.0.2.2"), (10, "c", "192.0.2.3"))
        dice = random.Random(2)
        first = [order(given, dice)[0].mx for _ in range(3000)]
        for name in "abc":
            self.assertTrue(880 < first.count(name) < 1120, first.count(name))


class Routes(SynchronousTestCase):
    """From records to routes."""

    def test_mx_names(self) -> None:
        """By preference, then name, each once, lower case; null MX; at most twenty."""
        self.assertEqual(
            mx_names([(20, "B."[:-1]), (10, "c"), (10, "A"), (30, "a")]), [(10, "a"), (10, "c"), (20, "b")]
        )
        self.assertIsNone(mx_names([(0, "")]))
        self.assertEqual(mx_names([(0, ""), (10, "a")]), [(10, "a")])
        self.assertEqual(len(mx_names([(n, f"h{n}") for n in range(50)]) or []), 20)

    def test_key(self) -> None:
        """Domains with the same MX hosts have the same key, whatever of them can be reached."""
        mx = [(10, "a"), (20, "b")]
        one = routed("one", mx, {"a": ["192.0.2.1"]}, 25, 7.0)
        two = routed("two", mx, {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}, 25, 7.0)
        assert isinstance(one, Route) and isinstance(two, Route)
        self.assertEqual((one.key, one.expires), (("a", "b"), 7.0))
        self.assertEqual(one.key, two.key)

    def test_same_address(self) -> None:
        """An address that two MX hosts have is tried once, as that of the better one."""
        answer = routed("d", [(10, "a"), (20, "b")], {"a": ["192.0.2.1"], "b": ["192.0.2.1", "192.0.2.2"]}, 25, 0)
        assert isinstance(answer, Route)
        self.assertEqual([(host.mx, host.address) for host in answer.hosts], [("a", "192.0.2.1"), ("b", "192.0.2.2")])

    def test_no_addresses(self) -> None:
        """Addresses that no host has are passed over; without any the hosts are named."""
        answer = routed("d", [(10, "a"), (20, "b")], {"a": ["0.0.0.0", "224.0.0.1"], "b": ["::", "x"]}, 25, 0)
        assert isinstance(answer, NoHosts)
        self.assertEqual((answer.why, answer.sure), ("no mail host of d has an address: a, b", False))
        self.assertEqual(direct("d", "d", [], 25), NoHosts("d has no address", True))

    def test_bounded(self) -> None:
        """At most fifty addresses."""
        many = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
        answer = direct("d", "d", many, 25)
        assert isinstance(answer, Route)
        self.assertEqual(len(answer.hosts), 50)

    def test_null_mx(self) -> None:
        """556 5.1.10 (RFC 7505)."""
        answer = null_mx("d")
        self.assertEqual((answer.code, answer.status, answer.why), (556, "5.1.10", "d takes no mail (null MX)"))

    def test_fixed(self) -> None:
        """An exact name, then patterns in their order, then nothing."""
        dns = Dns(hosts={"*": (("192.0.2.1", None),), "*.a": (("192.0.2.2", None),), "b.a": (("::1", 26),)})
        found = [fixed(domain, dns, 25) for domain in ("b.a", "c.a")]
        self.assertEqual([answer.key for answer in found if answer], [("[::1]:26",), ("192.0.2.1:25",)])
        self.assertIsNone(fixed("b", Dns(), 25))

    def test_usable(self) -> None:
        """Loopback is a host; any and multicast are none."""
        self.assertTrue(usable("127.0.0.1") and usable("2001:db8::1"))
        for address in ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "", "a", "1.2.3"):
            self.assertFalse(usable(address), address)


class Names(SynchronousTestCase):
    """Domain names as they come in recipients."""

    def sure(self, answer: Any) -> NoHosts:
        assert isinstance(answer, NoHosts) and answer.sure, answer
        msgspec.json.encode(answer)
        return answer

    def test_good(self) -> None:
        """Lower case, without final dot; underscores and odd hyphens are let through."""
        for given, name in {
            "Example.COM": "example.com",
            "example.com.": "example.com",
            "a_b.-c-.test": "a_b.-c-.test",
            "localhost": "localhost",
            "xn--bcher-kva.test": "xn--bcher-kva.test",
            "B\u00fccher.test": "xn--bcher-kva.test",
            "stra\u00dfe.de": "xn--strae-oqa.de",
            "\u4f8b\u3048\u3002\u30c6\u30b9\u30c8": "xn--r8jz45g.xn--zckzah",
            f"{'a' * 63}.test": f"{'a' * 63}.test",
        }.items():
            self.assertEqual(ascii_name(given), name)

    def test_bad(self) -> None:
        """What cannot be a name is surely no host, and the text says why."""
        for given, why in {
            "": "empty",
            ".": "empty",
            "a..b": "empty",
            ".a": "empty",
            f"{'a' * 64}.test": "longer than 63",
            ".".join(["a" * 60] * 5): "too long",
            "x" * 5000: "too long",
            "a b.test": "characters",
            "a\n.test": "characters",
            "a@b": "characters",
            "192.0.2.1": "brackets",
            "\u00fc..test": "",
            "\u200d.test": "",
            "\ud83d.test": "",
            "\u00fc" * 300: "",
            "\u2028": "",
        }.items():
            self.assertIn(why, self.sure(ascii_name(given)).why)

    def test_literals(self) -> None:
        """IPv4 and IPv6 literals; what is none is told so."""
        answer = literal("[192.0.2.1]", 26)
        self.assertEqual(answer, Route(("[192.0.2.1]",), (Host("192.0.2.1", 26, "[192.0.2.1]"),)))
        answer = literal("[ipv6:2001:DB8:0::1]", 25)
        self.assertEqual(answer, Route(("[IPv6:2001:db8::1]",), (Host("2001:db8::1", 25, "[IPv6:2001:db8::1]"),)))
        self.assertIsNone(literal("a.test", 25))
        for given in ("[", "[]", "[192.0.2]", "[::1]", "[IPv6:]", "[192.0.2.1", "[IPv6:fe80::1%eth0]", "[0.0.0.0]"):
            self.sure(literal(given, 25))
