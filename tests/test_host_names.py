"""The addresses of the hosts that downloads come from: from a file, from a real name server, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailerq.content.host_names import HostNames
from mailerq.settings import Dns
from tests.dns import TestDns


class Names(TestCase):
    """``HostNames``."""

    def setUp(self) -> None:
        self.dns = TestDns(reactor)
        port = self.dns.listen()
        self.addCleanup(self.dns.stop)
        hosts = Path(self.mktemp())
        hosts.write_text("10.1.2.3 intranet\n")
        settings = Dns(servers=(("127.0.0.1", port),), timeout=1.0)
        self.names = HostNames(reactor, settings, hosts_file=str(hosts), resolv_conf="/nowhere")

    async def none(self, host: str) -> str:
        try:
            await self.names(host)
        except LookupError as error:
            return str(error)
        raise self.failureException(f"{host} has an address")

    async def test_addresses(self) -> None:
        """IPv4 before IPv6, by way of another name, too."""
        self.dns.zone["www.example"] = ["A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"]
        self.dns.zone["alias.example"] = ["CNAME www.example"]
        for host in ("www.example", "alias.example"):
            found: Sequence[Any] = await self.names(host)
            self.assertEqual((sorted(found[:2]), found[2]), (["192.0.2.1", "192.0.2.2"], "2001:db8::1"))

    async def test_written(self) -> None:
        """A written address is that address, and a name of this machine's file is as it says: nobody is asked."""
        for host, address in (("192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"), ("intranet", "10.1.2.3")):
            self.assertEqual(list(await self.names(host)), [address])
        self.assertIn("127.0.0.1", await self.names("localhost"))
        self.assertEqual(self.dns.queries, [])

    async def test_one_is_enough(self) -> None:
        """A name server that says nothing of one kind does not hide the other."""
        self.dns.zone["six.example"] = ["AAAA 2001:db8::1", "SERVFAIL A"]
        self.assertEqual(list(await self.names("six.example")), ["2001:db8::1"])

    async def test_none(self) -> None:
        """There is none; or nobody can say."""
        self.dns.zone["empty.example"] = []
        self.dns.zone["broken.example"] = ["SERVFAIL"]
        for host in ("empty.example", "nowhere.example", "broken.example", "x" * 70 + ".example"):
            self.assertIn(host, await self.none(host))
