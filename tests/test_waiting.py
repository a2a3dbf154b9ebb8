"""The order in which waiting mails have their turns."""

from __future__ import annotations

from typing import NamedTuple, cast

from twisted.trial.unittest import SynchronousTestCase

from mailerq.mail import Mail
from mailerq.waiting import Waiting

KIB = 1024


class Addressed(NamedTuple):
    """What is looked at of a job."""

    domain: str


class Letter:
    """What is looked at of a mail."""

    def __init__(self, flow: str, domain: str, priority: int, size: int, limited: tuple[str, ...]) -> None:
        self.flow = flow
        self.job = Addressed(domain)
        self.priority = priority
        self.size = size
        self.limited = limited


def mail(
    flow: str = "", domain: str = "a.example", priority: int = 0, size: int = KIB, limited: tuple[str, ...] = ()
) -> Mail:
    return cast(Mail, Letter(flow, domain, priority, size, limited))


def waiting(*mails: Mail) -> Waiting:
    found = Waiting()
    for one in mails:
        found.append(one)
    return found


def all_of(found: Waiting) -> list[Mail]:
    """All, as they have their turns."""
    taken = []
    while found:
        one = found.take()
        assert one is not None
        taken.append(one)
    return taken


class Turns(SynchronousTestCase):
    """Who is next."""

    def test_first_in_first_out(self) -> None:
        """Mails of one line leave as they came, few or many."""
        for many in (1, 2, 100):
            mails = [mail() for _ in range(many)]
            self.assertEqual(all_of(waiting(*mails)), mails)

    def test_alternate(self) -> None:
        """Flows with small mails take turns, however many one has."""
        taken = all_of(waiting(*[mail("a") for _ in range(5)], *[mail("b") for _ in range(3)]))
        self.assertEqual("".join(one.flow for one in taken), "abababaa")

    def test_priority(self) -> None:
        """The highest priority is first, but for each 8th turn."""
        taken = all_of(waiting(*[mail(priority=0) for _ in range(3)], *[mail(priority=9) for _ in range(14)]))
        self.assertEqual([one.priority for one in taken], [9] * 7 + [0] + [9] * 7 + [0] + [0])

    def test_domains(self) -> None:
        """Within a flow the domains take turns."""
        taken = all_of(waiting(*[mail(domain="a") for _ in range(4)], *[mail(domain="b") for _ in range(2)]))
        self.assertEqual("".join(one.job.domain for one in taken), "ababaa")

    def test_size(self) -> None:
        """A flow of large mails has no more bytes than one of small ones."""
        large = [mail("large", size=640 * KIB) for _ in range(3)]
        taken = all_of(waiting(*large, *[mail("small", size=64 * KIB) for _ in range(30)]))
        self.assertEqual([taken.index(one) for one in large], [9, 20, 31])

    def test_put_back(self) -> None:
        """What is put back is the next."""
        found = waiting(mail("a"), mail("b"), mail("a"), mail("b", priority=1), mail("a", "b.example"))
        while found:
            one = found.take()
            assert one is not None
            found.put_back(one)
            self.assertIs(found.first(), one)
            self.assertIs(found.take(), one)

    def test_put_back_last(self) -> None:
        """Of several that are put back, the last is the next, whatever their flow."""
        found = waiting(mail("a"), mail("b"), mail("c"), mail("a"))
        taken = [found.take() for _ in range(3)]
        for one in taken:
            assert one is not None
            found.put_back(one)
        self.assertEqual([found.take() for _ in range(3)], taken[::-1])

    def test_no_claim(self) -> None:
        """A flow that had to wait for a limit has one turn first when it may, and does not catch up on the others."""
        slow = [mail("slow", limited=("t",)) for _ in range(9)]
        found = waiting(*slow, *[mail("fast") for _ in range(40)])
        for _ in range(5):
            found.take(lambda tags: False)
        taken = [found.take(lambda tags: True) for _ in range(8)]
        self.assertEqual([one.flow for one in taken if one is not None], ["slow"] + ["slow", "fast"] * 3 + ["slow"])

    def test_come_back(self) -> None:
        """A flow that is empty after each of its turns, and is back at once, has no more turns than the others."""
        found = waiting(*[mail("large", size=256 * KIB) for _ in range(9)], mail("small"))
        taken = []
        for _ in range(20):
            one = found.take()
            assert one is not None
            taken.append(one.flow[0])
            if one.flow == "small":
                found.append(one)
        self.assertEqual("".join(taken), "sssls" + "sssls" * 3)

    def test_nothing_is_kept(self) -> None:
        """Flows that are empty are forgotten."""
        found = waiting(mail("a"), mail("b"))
        for number in range(1000):
            found.append(mail(str(number)))
            found.take()
        assert found._bands is not None
        band = found._bands.by_priority[0]
        self.assertEqual(len(band.flows), len(found))
        self.assertLess(len(band._heap), 100)

    def test_limited(self) -> None:
        """Those whose tags must wait do not hold up the others."""
        slow, other = mail(limited=("t",)), mail()
        found = waiting(slow, other)
        self.assertEqual(list(found.limited_waiting()), [("t",)])
        self.assertEqual(found.count_limited("t"), 1)
        self.assertIs(found.take(lambda tags: False), other)
        self.assertIsNone(found.take(lambda tags: False))
        self.assertIs(found.take(lambda tags: True), slow)
        self.assertEqual(list(found.limited_waiting()), [])
