"""What is shown at the prompt inside the process: why something waits, and no passwords."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.hosts import Hosts
from mailerq.job import read
from mailerq.lane import Lane, LaneKey, Link
from mailerq.mail import Mail
from mailerq.route import Host, Route
from mailerq.site import Site
from mailerq.terms import Terms
from mailerq.verdict import DELIVERED

NOW = 1764000000.0


class Taken:
    """Held by a broker that may be lost."""

    stale = False


def mail() -> Mail:
    """One that is in hand."""
    job = read(b'{"envelope":"a@here.test","recipient":"b@there.test","mime":"Subject: x\\r\\n\\r\\nx\\r\\n"}', None)
    return Mail(job, Taken(), b"", "life-1", NOW)  # type: ignore[arg-type]


def link(lane: Any) -> Link:
    """A connection that is being set up."""
    return Link(lane, Host("192.0.2.1", 25, "mx.there.test", 10), None, mail(), NOW)


class Reprs(SynchronousTestCase):
    """One line each."""

    def test_mail(self) -> None:
        """A mail says what it is waiting for, wherever it stands."""
        one = mail()
        head = "<Mail life-1 to b@there.test, attempt 1: "
        self.assertEqual(repr(one), head + "is being routed>")
        one.blocked_by = "nextattempt"
        self.assertEqual(repr(one), head + "waits for nextattempt>")
        one.blocked_by, one.lane = "", "a lane"
        self.assertEqual(repr(one), head + "waits for its turn>")
        one.blocked_by = "messages-per-minute"
        self.assertEqual(repr(one), head + "waits for messages-per-minute>")
        one.link = link("a lane")
        self.assertEqual(repr(one), head + "on <Link to 192.0.2.1, 0 sent: None>>")
        one.verdict = DELIVERED
        self.assertEqual(repr(one), head + "decided: delivered, being settled>")
        one.taken.stale = True
        self.assertEqual(repr(one), head + "decided: delivered, waits for the broker to give it again>")

    def test_site(self) -> None:
        """A site says what its first mail waits for, until when, and how it is connected."""
        site = Site(Route(("mx.there.test",), (Host("192.0.2.1", 25, "mx.there.test", 10),)), Terms((), {}))
        site.know_domain("there.test")
        lane = Lane(site, LaneKey())
        site.lanes[lane.key] = lane
        site.links.add(link(lane))
        site.opened(lane, None, "192.0.2.1", NOW)
        first = mail()
        lane.waiting.append(first)
        first.blocked_by, site.wake = "connects-per-minute", NOW + 2
        expected = "<Site mx.there.test (1 domains): 1 wait, the first for connects-per-minute, looked at again at "
        expected += "2025-11-24 16:00:02; 1 connections, 1 starting, 0 idle>"
        self.assertEqual(repr(site), expected)

    def test_hosts(self) -> None:
        """Hosts that are left alone are listed, with the time at which they are tried again."""
        hosts = Hosts(300, 3600)
        self.assertEqual(repr(hosts), "<Hosts: offline: none; 0 spoken to in clear>")
        hosts.went_offline("192.0.2.1", NOW)
        hosts.broke_tls("192.0.2.2", NOW)
        expected = "<Hosts: offline: 192.0.2.1 until 2025-11-24 16:05:00; 1 spoken to in clear>"
        self.assertEqual(repr(hosts), expected)

    def test_no_passwords(self) -> None:
        """Accounts are shown without their passwords."""
        key = LaneKey(("192.0.2.7",), "required", ("joe", "secret"))
        self.assertEqual(repr(key), "<LaneKey from 192.0.2.7, TLS required, as joe>")
        self.assertEqual(repr(LaneKey()), "<LaneKey from any address, TLS opportunistic>")
