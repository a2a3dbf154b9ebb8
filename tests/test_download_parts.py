"""What downloads are made of: which addresses are public, URLs, turns, what is remembered."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.addresses import objection
from mailerq.content.remembered import OVERHEAD, Remembered, lifetime
from mailerq.content.slots import Slots
from mailerq.content.web_address import parse, shown
from mailerq.settings import SettingsError
from mailerq.settings import parse as parse_settings

NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8
    ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:db8::1 2002:7f00:1::
    3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 fe80::1%eth0 2606:4700::1%eth0
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 2606:4700::1111
"""


class Public(SynchronousTestCase):
    """``objection``."""

    def test_not_public(self) -> None:
        """What is not public may not be used; nor what is no address."""
        for address in [*NOT_PUBLIC.split(), "", "localhost", "127.1", "0x7f.0.0.1"]:
            self.assertTrue(objection(address), address)

    def test_public(self) -> None:
        """What is public may."""
        self.assertEqual({objection(address) for address in PUBLIC.split()}, {""})

    def test_allow_and_deny(self) -> None:
        """What is allowed may be used though it is not public; what is denied may not, and that goes before."""
        allow, deny = (
            [ip_network("10.0.0.0/8"), ip_network("::ffff:0:0/96")],
            [ip_network("10.1.0.0/16"), ip_network("1.1.1.1")],
        )
        self.assertEqual(objection("10.2.0.1", allow, deny), "")
        for address in ("10.1.0.1", "1.1.1.1", "192.168.0.1"):
            self.assertTrue(objection(address, allow, deny), address)
        self.assertEqual(objection("::ffff:10.2.0.1", allow, deny), "")
        for address in ("::ffff:10.1.0.1", "::ffff:127.0.0.1", "::ffff:1.1.1.1"):
            self.assertTrue(objection(address, allow, deny), address)

    def test_nat64(self) -> None:
        """Where NAT64 is allowed, the address behind it is looked at."""
        allow = [ip_network("64:ff9b::/96")]
        self.assertEqual(objection("64:ff9b::808:808", allow), "")
        self.assertTrue(objection("64:ff9b::7f00:1", allow))

    @given(some.integers(0, 2**32 - 1), some.integers(0, 2**128 - 1))
    def test_any_is_global(self, four: int, six: int) -> None:
        """Nothing that Python's tables do not take for global may be used."""
        for ip in (IPv4Address(four), IPv6Address(six), IPv6Address(six >> 3 | 1 << 125)):
            self.assertTrue(ip.is_global or objection(str(ip)), ip)

    @given(some.text())
    def test_any_text(self, text: str) -> None:
        """Any text has an answer."""
        self.assertIsInstance(objection(text), str)


class Urls(SynchronousTestCase):
    """``parse``, ``shown``, ``joined``."""

    def test_forms(self) -> None:
        """One form for what is the same; path and query are ASCII."""
        for given_url, url in (
            ("HTTP://Example.ORG", "http://example.org/"),
            ("https://example.org:443/a b?c d#e", "https://example.org/a%20b?c%20d"),
            ("http://example.org:8080?x", "http://example.org:8080/?x"),
            ("http://bücher.example/ü?ü=ß", "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%9F"),
            ("http://192.0.2.1/%41%zz", "http://192.0.2.1/%41%zz"),
            ("http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81/"),
            ("http://x.example./", "http://x.example/"),
        ):
            self.assertEqual(parse(given_url).url, url)

    def test_refused(self) -> None:
        """What is no http URL, or has two readings, is refused."""
        refused = """ftp://x/ file:///etc/passwd gopher://x javascript:alert(1) data:,x //x/ x http:// http:///x http://:80/
            http://x:0/ http://x:99999/ http://x:a/ http://0x7f.0.0.1/ http://127.1/ http://2130706433/ http://[::1/
            http://[x]/ http://a..b/ http://a\\@b/ http://a%2eb/ http://[fe80::1%25eth0]/ http://x/\x7f http://x/\x00"""
        for url in re.split(r"\s+", refused):
            self.assertRaises(ValueError, parse, url)
        for url in ("http://x/\r\nHost: y", "http://x y/", "http://x/" + "a" * 8000, "http://x/\ud800", "http://x\t/"):
            self.assertRaises(ValueError, parse, url)

    def test_login(self) -> None:
        """A login is for its server alone, and never shown."""
        address = parse("https://us%40er:p%3Ass@x.example/a")
        self.assertEqual(address.url, "https://x.example/a")
        self.assertEqual(address.authorization, "Basic dXNAZXI6cDpzcw==")
        self.assertEqual(address.joined("/b").authorization, address.authorization)
        self.assertIsNone(address.joined("https://y.example/").authorization)
        self.assertIsNone(address.joined("http://x.example/").authorization)
        self.assertEqual(shown("https://us%40er:p%3Ass@x.example/a@b"), "https://x.example/a@b")

    @given(some.text() | some.text("htp:/@[]?#%.xé1 \\\r\n").map(lambda text: "http://" + text))
    def test_any_text(self, text: str) -> None:
        """Any text is a URL of one line of ASCII, which is the same again, or refused; what is shown has one line."""
        self.assertTrue(all(character.isprintable() or ord(character) > 160 for character in shown(text)))
        try:
            address = parse(text)
        except ValueError:
            return
        self.assertRegex(address.url, r"\A[!-~]+\Z")
        self.assertEqual(parse(address.url).url, address.url)


class Rules(SynchronousTestCase):
    """The section ``downloads``."""

    def test_section(self) -> None:
        """Networks and addresses, one or a list; sizes and times as everywhere."""
        text = "downloads:\n  allow: [10.0.0.0/8, 'fd00::/8', 192.168.1.7]\n  deny: 10.1.0.0/16\n"
        text += "  cache: null\n  max-size: 1MB"
        rules = parse_settings(text, "test", {}).downloads
        self.assertEqual([str(network) for network in rules.allow], ["10.0.0.0/8", "fd00::/8", "192.168.1.7/32"])
        self.assertEqual((str(rules.deny[0]), rules.cache, rules.max_size), ("10.1.0.0/16", None, 1_000_000))

    def test_wrong(self) -> None:
        """What is wrong is said, all at once, with line and key."""
        text = "downloads:\n  allow: [10.0.0.1/8, x]\n  max-parallel: 0\n  timeout: 0\n  user-agent: é\n  proxy: x\n"
        error = self.assertRaises(SettingsError, parse_settings, text, "test", {})
        keys = ["allow.0", "allow.1", "max-parallel", "timeout", "user-agent", "proxy"]
        self.assertEqual([line.split(" ")[1] for line in error.errors], [f"downloads.{key}:" for key in keys])
        self.assertEqual([line.split(":")[1] for line in error.errors], ["2", "2", "3", "4", "5", "6"])


class Turns(SynchronousTestCase):
    """``Slots``."""

    def take(self, slots: Slots, *hosts: str) -> list[Deferred[None]]:
        return [slots.take(host) for host in hosts]

    def test_bounds(self) -> None:
        """So many all together, so many of one host; one that goes lets another in."""
        slots = Slots(3, 2)
        taken = self.take(slots, "a", "a", "a", "b", "b")
        self.assertEqual([one.called for one in taken], [True, True, False, True, False])
        slots.free("b")
        self.assertEqual([one.called for one in taken], [True, True, False, True, True])
        slots.free("a")
        self.assertTrue(all(one.called for one in taken))

    def test_turns(self) -> None:
        """A host with a thousand that wait does not keep another from its turn."""
        slots = Slots(1, 1)
        taken = self.take(slots, *["a"] * 1000, "b")
        slots.free("a")
        slots.free("a")
        self.assertTrue(taken[-1].called)

    def test_leaving(self) -> None:
        """Who gives up waiting takes no slot."""
        slots = Slots(1, 1)
        _, second, third = self.take(slots, "a", "a", "a")
        second.cancel()
        self.failureResultOf(second)
        slots.free("a")
        self.assertTrue(third.called)
        slots.free("a")
        self.assertEqual(slots.used, 0)

    @given(some.lists(some.tuples(some.sampled_from("abc"), some.sampled_from(["take", "free", "leave"]))))
    def test_any_order(self, events: list[tuple[str, str]]) -> None:
        """Never more than the bounds, and nobody waits while there is room."""
        slots, has, waits = Slots(3, 2), dict.fromkeys("abc", 0), []

        def take(host: str) -> None:
            one: Any = slots.take(host)
            waits.append(one)
            one.addCallbacks(lambda _: (waits.remove(one), has.__setitem__(host, has[host] + 1)), lambda _: None)
            one.host = host

        for host, what in events:
            if what == "take":
                take(host)
            elif what == "free" and has[host]:
                has[host] -= 1
                slots.free(host)
            elif what == "leave" and waits:
                one = waits.pop()
                one.cancel()
            self.assertEqual(slots.used, sum(has.values()))
            self.assertLessEqual(slots.used, 3)
            self.assertLessEqual(max(has.values()), 2)
            self.assertFalse([one for one in waits if slots.used < 3 and has[one.host] < 2])


class Memory(SynchronousTestCase):
    """``Remembered`` and ``lifetime``."""

    def test_bytes(self) -> None:
        """What was not used for the longest time goes first; what is too large is never kept."""
        memory: Remembered[int] = Remembered(3 * OVERHEAD + 33)
        for number in range(3):
            memory.put(str(number), number, 10, 1.0)
        memory.get("0", 0.0)
        memory.put("3", 3, 10, 1.0)
        self.assertEqual([memory.get(str(number), 0.0) for number in range(4)], [0, None, 2, 3])
        memory.put("4", 4, 10 * OVERHEAD, 1.0)
        self.assertIsNone(memory.get("4", 0.0))
        self.assertEqual(len(memory), 3)

    def test_time(self) -> None:
        """What is over is forgotten."""
        memory: Remembered[int] = Remembered(10 * OVERHEAD)
        memory.put("a", 1, 0, 5.0)
        self.assertEqual(memory.get("a", 4.9), 1)
        self.assertIsNone(memory.get("a", 5.0))
        self.assertEqual(memory.size, 0)

    @given(some.lists(some.tuples(some.sampled_from("abcdef"), some.integers(0, 3000), some.floats(0, 9))))
    def test_size(self, events: list[tuple[str, int, float]]) -> None:
        """The size is never above the bound, whatever comes."""
        memory: Remembered[int] = Remembered(5000)
        for name, size, now in events:
            memory.put(name, 0, size, now)
            memory.get(name, 5.0)
            self.assertLessEqual(memory.size, 5000)
            self.assertGreaterEqual(memory.size, len(memory) * OVERHEAD)

    def test_lifetime(self) -> None:
        """As the server says, within bounds."""
        for said, seconds in (
            ([], 3600),
            (["no-store"], 0),
            (["public, NO-STORE, max-age=600"], 0),
            (["max-age=600"], 600),
            (["max-age=0"], 60),
            (["no-cache"], 60),
            (["max-age=999999"], 3600),
            (["max-age=600, s-maxage=700"], 700),
            (['max-age="600"', "private"], 600),
            (["max-age=x"], 3600),
        ):
            self.assertEqual(lifetime(said, 3600.0), seconds, said)
        self.assertEqual(lifetime(["max-age=0"], 5.0), 5.0)

    @settings(deadline=None)
    @given(some.lists(some.text()))
    def test_any_header(self, said: list[str]) -> None:
        """Any header has a lifetime."""
        self.assertTrue(0 <= lifetime(said, 100.0) <= 100)
