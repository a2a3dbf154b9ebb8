"""What was noted lately."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.lately import Lately


class LatelyTests(SynchronousTestCase):
    def test_known_for_a_while(self) -> None:
        """What is noted is known for so many seconds at least, and twice as many at most."""
        lately = Lately(10.0, 100)
        for now in range(100, 140):
            lately.note(b"%d" % now, float(now))
            known = [int(digest) for digest, _ in lately]
            self.assertEqual(known, sorted(known))
            self.assertLessEqual(min(known), max(100, now - 9))
            self.assertGreaterEqual(min(known), now - 21)

    def test_after_a_long_pause(self) -> None:
        """What is too old is forgotten at the next note, however long that takes."""
        lately = Lately(10.0, 100)
        lately.note(b"a", 100.0)
        lately.note(b"b", 500.0)
        self.assertEqual(list(lately), [(b"b", 1)])

    def test_most(self) -> None:
        """No more than twice the most are known, the last ones among them."""
        lately = Lately(10.0, 5)
        for number in range(100):
            lately.note(b"%d" % number, 1.0)
            self.assertLessEqual(len(lately), 10)
            self.assertIn(b"%d" % max(0, number - 4), lately)

    def test_take(self) -> None:
        """What was noted so often is taken so often, be it new or old."""
        lately = Lately(10.0, 100)
        lately.note(b"a", 100.0)
        lately.note(b"a", 112.0)
        lately.note(b"a", 112.0)
        lately.note(b"b", 112.0)
        self.assertEqual([lately.take(b"a") for _ in range(4)], [True, True, True, False])
        self.assertEqual([lately.take(b"b"), lately.take(b"b"), len(lately)], [True, False, 0])
