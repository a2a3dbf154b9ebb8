"""What the resolver promises, against a DNS server on the loopback (``tests/dns.py``)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from mailerq import dns_query, resolver
from mailerq.resolver import Resolver
from mailerq.route import Answer, NoHosts, NullMx, Route
from mailerq.settings import Dns
from tests.dns import TestDns


class ShiftedReactor:
    """The real reactor with a clock that can be set forward."""

    def __init__(self) -> None:
        self.shift = 0.0

    def seconds(self) -> float:
        return reactor.seconds() + self.shift  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def addresses(answer: Answer | None) -> list[tuple[str, str]]:
    assert isinstance(answer, Route), answer
    return [(host.mx, host.address) for host in answer.hosts]


class Base(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.server = TestDns(reactor)
        self.zone = self.server.zone
        self.port = self.server.listen()
        self.addCleanup(self.server.stop)
        self.clock = ShiftedReactor()
        self.resolver = self.make()

    def make(self, seconds: float = 5.0, **more: Any) -> Resolver:
        more.setdefault("servers", (("127.0.0.1", self.port),))
        return Resolver(self.clock, Dns(timeout=seconds, **more), random.Random(1))

    def ask(self, domain: str) -> Deferred[Answer]:
        done: Deferred[Answer] = Deferred()
        self.resolver.lookup(domain, done.callback)
        return done

    def ask_host(self, hostname: str, port: int) -> Deferred[Answer]:
        done: Deferred[Answer] = Deferred()
        self.resolver.hosts_of(hostname, port, done.callback)
        return done

    async def nothing(self, domain: str, sure: bool) -> str:
        answer = await self.ask(domain)
        assert isinstance(answer, NoHosts), answer
        self.assertEqual(answer.sure, sure, answer)
        return answer.why


class Domains(Base):
    """From a domain to its hosts."""

    async def test_mx(self) -> None:
        """The hosts of the MX records, in their order, IPv4 before IPv6; the key is their names."""
        self.zone["a.test"] = ["MX 20 MX2.a.test", "MX 10 mx1.a.test"]
        self.zone["mx1.a.test"] = ["AAAA 2001:db8::1", "A 192.0.2.1"]
        self.zone["mx2.a.test"] = ["A 192.0.2.2", "A 192.0.2.3"]
        answer = await self.ask("A.Test")
        assert isinstance(answer, Route)
        self.assertEqual(answer.key, ("mx1.a.test", "mx2.a.test"))
        self.assertEqual([host.address for host in answer.hosts][:2], ["192.0.2.1", "2001:db8::1"])
        self.assertEqual({host.address for host in answer.hosts[2:]}, {"192.0.2.2", "192.0.2.3"})
        self.assertEqual([host.preference for host in answer.hosts], [10, 10, 20, 20])
        self.assertIs(self.resolver.cached("A.Test"), answer)

    async def test_no_mx(self) -> None:
        """Without MX the domain is its own mail host."""
        self.zone["a.test"] = ["A 192.0.2.1"]
        answer = await self.ask("a.test")
        self.assertEqual(addresses(answer), [("a.test", "192.0.2.1")])
        assert isinstance(answer, Route)
        self.assertEqual(answer.key, ("a.test",))

    async def test_null_mx(self) -> None:
        """A null MX is told, and nothing else asked."""
        self.zone["a.test"] = ["MX 0 .", "A 192.0.2.1"]
        answer = await self.ask("a.test")
        assert isinstance(answer, NullMx)
        self.assertEqual((answer.code, answer.status), (556, "5.1.10"))
        self.assertEqual(len(self.server.queries), 1)

    async def test_does_not_exist(self) -> None:
        """A name that does not exist, and one with neither MX nor address, are sure."""
        self.assertIn("does not exist", await self.nothing("gone.test", True))
        self.zone["empty.test"] = ["TXT hello"]
        self.assertIn("has no address", await self.nothing("empty.test", True))

    async def test_mx_without_address(self) -> None:
        """MX hosts without address, or that are an address, are passed over; if all are, they are named."""
        self.zone["a.test"] = ["MX 10 gone.test", "MX 20 192.0.2.9", "MX 30 mx.test"]
        self.zone["mx.test"] = ["A 192.0.2.1"]
        self.assertEqual(addresses(await self.ask("a.test")), [("mx.test", "192.0.2.1")])
        self.zone["b.test"] = ["MX 10 gone.test", "MX 20 192.0.2.9"]
        self.assertIn("gone.test, 192.0.2.9", await self.nothing("b.test", False))

    async def test_cname(self) -> None:
        """A domain and an MX host may be aliases."""
        self.zone["a.test"] = ["CNAME b.test"]
        self.zone["b.test"] = ["MX 10 alias.test"]
        self.zone["alias.test"] = ["CNAME mx.test"]
        self.zone["mx.test"] = ["A 192.0.2.1"]
        self.assertEqual(addresses(await self.ask("a.test")), [("alias.test", "192.0.2.1")])

    async def test_cname_loop(self) -> None:
        """A loop of aliases is an answer like any other failure."""
        self.zone["a.test"] = ["CNAME b.test"]
        self.zone["b.test"] = ["CNAME a.test"]
        await self.nothing("a.test", False)

    async def test_international(self) -> None:
        """A Unicode name is asked for in punycode, as IDNA 2008 has it."""
        self.zone["xn--strae-oqa.test"] = ["A 192.0.2.1"]
        self.assertEqual(addresses(await self.ask("Straße.test")), [("xn--strae-oqa.test", "192.0.2.1")])

    async def test_invalid_and_literal(self) -> None:
        """Names that cannot exist and address literals need no DNS."""
        await self.nothing("a..test", True)
        await self.nothing("a b.test", True)
        self.assertEqual(addresses(await self.ask("[192.0.2.1]")), [("[192.0.2.1]", "192.0.2.1")])
        self.assertEqual(self.server.queries, [])

    async def test_fixed_hosts(self) -> None:
        """dns.hosts goes before DNS."""
        hosts = {"*.test": (("127.0.0.2", 2525), ("127.0.0.3", None)), "b.test": (("127.0.0.4", None),)}
        self.resolver = self.make(hosts=hosts)
        answer = await self.ask("A.test")
        assert isinstance(answer, Route)
        self.assertEqual([(host.address, host.port) for host in answer.hosts], [("127.0.0.2", 2525), ("127.0.0.3", 25)])
        self.assertEqual(answer.key, ("127.0.0.2:2525", "127.0.0.3:25"))
        self.assertEqual(addresses(await self.ask("b.test")), [("127.0.0.4", "127.0.0.4")])
        self.assertEqual(self.server.queries, [])

    async def test_smarthost(self) -> None:
        """A host that is named with its port: its own addresses, no MX."""
        self.zone["relay.test"] = ["MX 10 other.test", "A 192.0.2.1", "AAAA 2001:db8::1"]
        answer = await self.ask_host("Relay.test", 587)
        assert isinstance(answer, Route)
        self.assertEqual(
            [(host.address, host.port) for host in answer.hosts], [("192.0.2.1", 587), ("2001:db8::1", 587)]
        )
        self.assertEqual(answer.key, ("relay.test:587",))
        self.assertIs(self.resolver.cached_host("Relay.test", 587), answer)
        for given, site in {"192.0.2.7": "192.0.2.7:25", "::1": "[::1]:25", "localhost": "localhost:25"}.items():
            answer = await self.ask_host(given, 25)
            assert isinstance(answer, Route), answer
            self.assertEqual(answer.key, (site,))
        self.assertIsInstance(await self.ask_host("gone.test", 25), NoHosts)

    async def test_ipv6_server(self) -> None:
        """DNS servers may have IPv6 addresses."""
        server = TestDns(reactor)
        server.zone["a.test"] = ["A 192.0.2.1", "TRUNCATED A"]
        port = server.listen(interface="::1")
        self.addCleanup(server.stop)
        self.resolver = self.make(servers=(("::1", port),))
        self.assertEqual(addresses(await self.ask("a.test")), [("a.test", "192.0.2.1")])


class System(Base):
    """Without dns.servers."""

    async def system(self, resolv_conf: str | None, hosts: str = "") -> None:
        top = Path(self.mktemp())
        top.mkdir()
        if resolv_conf is not None:
            (top / "resolv.conf").write_text(resolv_conf)
        (top / "hosts").write_text(hosts)
        files = {"hosts_file": str(top / "hosts"), "resolv_conf": str(top / "resolv.conf")}
        self.resolver = Resolver(self.clock, Dns(timeout=1.0), random.Random(1), **files)

    async def test_hosts_file(self) -> None:
        """Names in /etc/hosts, and localhost, need no DNS."""
        await self.system(None, "192.0.2.1 a.test A2.test # x\nbad line\n2001:db8::1\ta.test\n")
        self.assertEqual(addresses(await self.ask("a.test")), [("a.test", "192.0.2.1"), ("a.test", "2001:db8::1")])
        self.assertEqual(addresses(await self.ask("a2.test")), [("a2.test", "192.0.2.1")])
        self.assertEqual(addresses(await self.ask("localhost"))[0], ("localhost", "127.0.0.1"))

    async def test_no_servers(self) -> None:
        """No resolv.conf, or one without servers, is no host, for now."""
        for text in (None, "", "search x\n# nameserver 127.0.0.1\nnameserver nonsense\nnameserver"):
            await self.system(text)
            self.assertIn("no DNS servers", await self.nothing("a.test", False))

    def test_resolv_conf(self) -> None:
        """The servers that a resolv.conf names, in its order."""
        path = Path(self.mktemp())
        path.write_text("nameserver 192.0.2.1\n  nameserver ::1 \noptions edns0\n")
        self.assertEqual(dns_query.system_servers(str(path)), [("192.0.2.1", 53), ("::1", 53)])


class Failures(Base):
    """What DNS does wrong is an answer."""

    async def test_servfail(self) -> None:
        """A server that fails is told as it is."""
        for word in ("SERVFAIL", "REFUSED", "FORMERR"):
            self.zone[f"{word.lower()}.test"] = [word]
            self.assertIn(word, await self.nothing(f"{word.lower()}.test", False))

    async def test_silence(self) -> None:
        """Without answer the look-up ends after dns.timeout."""
        self.resolver = self.make(0.5)
        self.zone["a.test"] = ["SILENT"]
        began = reactor.seconds()  # type: ignore[attr-defined]
        self.assertIn("in time", await self.nothing("a.test", False))
        self.assertTrue(0.3 < reactor.seconds() - began < 5.0)  # type: ignore[attr-defined]
        self.assertGreater(self.server.count("a.test", "MX"), 1)

    async def test_lies(self) -> None:
        """Garbage, a wrong id, an answer to something else: as if nothing had come."""
        self.resolver = self.make(0.3)
        for word in ("GARBAGE", "WRONG-ID", "OTHER"):
            self.zone[f"{word.lower()}.test"] = [word, "A 192.0.2.1"]
            await self.nothing(f"{word.lower()}.test", False)

    async def test_nobody_listens(self) -> None:
        """A port without server is known at once."""
        await self.server.stop()
        why = await self.nothing("a.test", False)
        self.assertIn("nobody listens", why)

    async def test_second_server(self) -> None:
        """The next server is asked when one is down or silent."""
        self.zone["a.test"] = ["A 192.0.2.1"]
        silent = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(silent.stopListening)
        for port in (1, silent.getHost().port):
            self.resolver = self.make(2.0, servers=(("127.0.0.1", port), ("127.0.0.1", self.port)))
            self.assertEqual(addresses(await self.ask("a.test")), [("a.test", "192.0.2.1")])

    async def test_large_answers(self) -> None:
        """More MX records than fit into a datagram come over TCP; the best twenty are used."""
        self.zone["a.test"] = [f"MX {n + 1} {'x' * 40}{n}.test" for n in range(120)]
        self.zone["x*.test"] = ["A 192.0.2.1"]
        answer = await self.ask("a.test")
        assert isinstance(answer, Route)
        self.assertEqual(len(answer.key), 20)
        self.assertIn(("a.test", "MX", "tcp"), self.server.queries)

    async def test_truncated(self) -> None:
        """A truncated answer is asked for over TCP; if that is closed without answer, it is no answer."""
        self.zone["a.test"] = ["TRUNCATED", "A 192.0.2.1"]
        self.assertEqual(addresses(await self.ask("a.test")), [("a.test", "192.0.2.1")])
        self.zone["b.test"] = ["CLOSED", "A 192.0.2.1"]
        self.assertIn("closed", await self.nothing("b.test", False))

    async def test_silent_tcp(self) -> None:
        """A truncated answer whose TCP stays silent ends in time, too."""
        self.resolver = self.make(0.4)
        self.zone["a.test"] = ["TRUNCATED", "DELAY 0.3"]
        await self.nothing("a.test", False)

    async def test_half_an_address(self) -> None:
        """What is known of a host is used even if its AAAA fails; if nothing is known it is not sure."""
        self.zone["a.test"] = ["MX 10 mx.test"]
        self.zone["mx.test"] = ["A 192.0.2.1", "SERVFAIL AAAA"]
        self.assertEqual(addresses(await self.ask("a.test")), [("mx.test", "192.0.2.1")])
        self.zone["b.test"] = ["SERVFAIL A", "SERVFAIL AAAA", "TXT x"]
        self.assertIn("SERVFAIL", await self.nothing("b.test", False))
        self.zone["c.test"] = ["MX 10 mx.c.test"]
        self.zone["mx.c.test"] = ["SERVFAIL"]
        self.assertIn("SERVFAIL", await self.nothing("c.test", False))

    async def test_nothing_raises(self) -> None:
        """Whatever bytes a server sends: an answer. Whoever asks may raise: the others are told."""
        self.resolver = self.make(0.2)
        dice = random.Random(3)
        asked = self.server.asked

        def broken(wire: bytes, way: str) -> tuple[float, bytes | None] | None:
            answer = asked(wire, way)
            if answer is None or not answer[1]:
                return answer
            mangled = bytearray(answer[1])
            for _ in range(3):
                mangled[dice.randrange(2, len(mangled))] = dice.randrange(256)
            return answer[0], bytes(mangled[: dice.randrange(12, len(mangled) + 1)] if dice.random() < 0.3 else mangled)

        self.server.asked = broken  # type: ignore[method-assign]
        self.zone["*.test"] = ["MX 10 mx.test", "MX 20 b.mx.test", "A 192.0.2.1", "AAAA 2001:db8::1"]
        answers = await gatherResults([self.ask(f"d{n}.test") for n in range(150)])
        for answer in answers:
            self.assertIsInstance(answer, Route | NoHosts | NullMx)
        self.flushLoggedErrors()

    async def test_who_asks_may_raise(self) -> None:
        """A callback that raises is logged; the next one is called."""
        self.zone["a.test"] = ["A 192.0.2.1"]
        self.resolver.lookup("a.test", lambda answer: 1 / 0)
        await self.ask("a.test")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Memory(Base):
    """What is remembered, and for how long."""

    async def expect(self, domain: str, least: float, most: float) -> None:
        """It is known for a time between these."""
        await self.ask(domain)
        now = self.clock.shift
        self.clock.shift = now + least
        self.assertIsNotNone(self.resolver.cached(domain), domain)
        self.clock.shift = now + most
        self.assertIsNone(self.resolver.cached(domain), domain)

    async def test_times(self) -> None:
        """As long as DNS says, but at least a minute and at most an hour; failures shorter."""
        self.zone["short.test"] = ["TTL 1", "A 192.0.2.1"]
        await self.expect("short.test", 58, 61)
        self.zone["middle.test"] = ["TTL 600", "A 192.0.2.1"]
        await self.expect("middle.test", 500, 601)
        self.zone["long.test"] = ["TTL 99999", "A 192.0.2.1"]
        await self.expect("long.test", 3200, 3601)
        self.server.negative_ttl = 99999
        await self.expect("gone.test", 890, 901)
        self.zone["nosoa.test"] = ["NXDOMAIN", "NOSOA"]
        await self.expect("nosoa.test", 58, 901)
        self.zone["fail.test"] = ["SERVFAIL"]
        await self.expect("fail.test", 28, 31)

    async def test_route_expires(self) -> None:
        """The route itself says when."""
        self.zone["a.test"] = ["TTL 60", "A 192.0.2.1"]
        answer = await self.ask("a.test")
        assert isinstance(answer, Route)
        self.assertTrue(58 < answer.expires - self.clock.seconds() <= 60)

    async def test_single_flight(self) -> None:
        """What is being asked is not asked again: neither a domain nor the host of several domains."""
        for name in ("a.test", "b.test"):
            self.zone[name] = ["MX 10 mx.test"]
        self.zone["mx.test"] = ["A 192.0.2.1", "DELAY 0.1"]
        answers = await gatherResults([self.ask(name) for name in ("a.test", "b.test", "a.test", "a.test")])
        self.assertEqual(len({answer.key for answer in answers if isinstance(answer, Route)}), 1)
        self.assertEqual(len(answers), 4)
        self.assertEqual(len(self.server.queries), 4)
        self.zone["c.test"] = ["MX 10 mx.test"]
        await self.ask("c.test")
        self.assertEqual(len(self.server.queries), 5)

    async def test_clear(self) -> None:
        """After clear all is asked again, and what was under way is told but not remembered."""
        self.zone["a.test"] = ["A 192.0.2.1", "DELAY 0.1"]
        asked = self.ask("a.test")
        reactor.callLater(0.05, self.resolver.clear)  # type: ignore[attr-defined]
        self.assertEqual(addresses(await asked), [("a.test", "192.0.2.1")])
        self.assertIsNone(self.resolver.cached("a.test"))
        self.resolver.clear(Dns(hosts={"a.test": (("192.0.2.9", None),)}))
        self.assertEqual(addresses(await self.ask("a.test")), [("192.0.2.9", "192.0.2.9")])

    async def test_bounded(self) -> None:
        """The oldest is forgotten when there is no more room."""
        self.patch(resolver, "MOST", 3)
        for number in range(5):
            await self.ask(f"[192.0.2.{number + 1}]")
        known = [self.resolver.cached(f"[192.0.2.{number + 1}]") is not None for number in range(5)]
        self.assertEqual(known, [False, False, True, True, True])
        self.assertEqual(
            repr(self.resolver), "<Resolver: 3 domains and 0 hosts known, 0 look-ups, 0 questions under way>"
        )

    async def test_many_at_once(self) -> None:
        """Many domains at once: all are answered, and no more questions are under way than there are to be."""
        self.patch(dns_query, "AT_ONCE", 20)
        self.resolver = self.make(20.0)
        self.zone["*.test"] = ["A 192.0.2.1"]
        most = 0
        served = self.server.asked

        def watch(wire: bytes, way: str) -> Any:
            nonlocal most
            most = max(most, self.resolver._questions.under_way)
            return served(wire, way)

        self.server.asked = watch  # type: ignore[method-assign]
        answers = await gatherResults([self.ask(f"d{number}.test") for number in range(150)])
        self.assertTrue(all(isinstance(answer, Route) for answer in answers))
        self.assertEqual(most, 20)

    async def test_never_at_once(self) -> None:
        """The callback is never called before lookup has returned."""
        self.zone["a.test"] = ["A 192.0.2.1"]
        await self.ask("a.test")
        for domain in ("a.test", "[192.0.2.1]", "..", "localhost"):
            told: list[Any] = []
            self.resolver.lookup(domain, told.append)
            self.assertEqual(told, [], domain)
            await self.ask(domain)
            self.assertEqual(len(told), 1)
            msgspec.json.encode(told[0])
