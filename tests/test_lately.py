"""What was noted lately."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.lately import Lately


class LatelyTests(SynchronousTestCase):
    def test_known_for_a_while(self) -> None:
        """What is noted is known for so many seconds at least, and twice as many at most."""
        lately = Lately(10.0, 100)
        for now in range(100, 140):
            lately.note(b"%d" % now, str(now), float(now))
            known = [int(word) for _, word in lately]
            self.assertEqual(known, sorted(known))
            self.assertLessEqual(min(known), max(100, now - 9))
            self.assertGreaterEqual(min(known), now - 21)

    def test_after_a_long_pause(self) -> None:
        """What is too old is forgotten at the next note, however long that takes."""
        lately = Lately(10.0, 100)
        lately.note(b"a", "1", 100.0)
        lately.note(b"b", "2", 500.0)
        self.assertEqual(list(lately), [(b"b", "2")])

    def test_most(self) -> None:
        """No more than twice the most are known, the last ones among them."""
        lately = Lately(10.0, 5)
        for number in range(100):
            lately.note(b"%d" % number, str(number), 1.0)
            self.assertLessEqual(len(lately), 10)
            self.assertIn(b"%d" % max(0, number - 4), lately)

    def test_pop(self) -> None:
        """What is popped is not known any more, be it new or old."""
        lately = Lately(10.0, 100)
        lately.note(b"a", "1", 100.0)
        lately.note(b"b", "2", 112.0)
        self.assertEqual([lately.pop(b"a"), lately.pop(b"b"), lately.pop(b"a")], ["1", "2", None])
        self.assertEqual(len(lately), 0)
