"""What is remembered of remote hosts."""

from twisted.trial.unittest import SynchronousTestCase

from mailerq.hosts import TROUBLE_TIME, Hosts


class Remembered(SynchronousTestCase):
    """By address, for a while."""

    def setUp(self) -> None:
        """Offline for five minutes, in clear for an hour."""
        self.hosts = Hosts(300.0, 3600.0)

    def test_offline(self) -> None:
        """An offline host is offline for its time, and no other is; the time may be the site's own."""
        self.assertEqual(self.hosts.went_offline("a", 1000.0), 1300.0)
        self.assertEqual((self.hosts.offline_until("a"), self.hosts.offline_until("b")), (1300.0, 0.0))
        self.assertEqual(self.hosts.went_offline("a", 1000.0, 60.0), 1060.0)
        self.assertEqual(self.hosts.offline_until("a"), 1060.0)

    def test_answer_while_offline(self) -> None:
        """An answer over an old connection does not end it: a host may refuse only what is one connection too many."""
        self.hosts.went_offline("a", 1000.0)
        self.hosts.is_well("a")
        self.assertEqual(self.hosts.offline_until("a"), 1300.0)

    def test_troubles(self) -> None:
        """Three lost talks within a minute are too many; at one address, without an answer in between."""
        self.assertEqual([self.hosts.trouble("a", 1000.0 + n) for n in range(3)], [False, False, True])
        self.assertFalse(self.hosts.trouble("b", 1003.0))
        self.hosts.is_well("a")
        self.assertFalse(self.hosts.trouble("a", 1004.0))
        spread = [self.hosts.trouble("c", n * TROUBLE_TIME / 2) for n in range(9)]
        self.assertEqual(spread, [False] * 9)

    def test_offline_begins_anew(self) -> None:
        """Who went offline begins again with no troubles."""
        for n in range(3):
            self.hosts.trouble("a", 1000.0 + n)
        self.hosts.went_offline("a", 1002.0)
        self.assertFalse(self.hosts.trouble("a", 1003.0))

    def test_in_clear(self) -> None:
        """A host at which TLS failed is spoken to in clear for an hour."""
        self.hosts.broke_tls("a", 1000.0)
        self.assertEqual([self.hosts.in_clear("a", t) for t in (1000.0, 4599.0, 4600.0)], [True, True, False])
        self.assertFalse(self.hosts.in_clear("b", 1000.0))

    def test_forget_old(self) -> None:
        """What does not hold any more is dropped; what holds stays."""
        for address, now in (("old", 0.0), ("new", 5000.0)):
            self.hosts.went_offline(address, now)
            self.hosts.trouble(address, now)
            self.hosts.broke_tls(address, now)
        self.hosts.forget_old(5000.0)
        self.assertEqual((self.hosts.offline_until("old"), self.hosts.offline_until("new")), (0.0, 5300.0))
        self.assertTrue(self.hosts.in_clear("new", 5000.0))
        self.assertEqual([len(kept) for kept in vars(self.hosts).values() if isinstance(kept, dict)], [1, 1, 1, 1])
