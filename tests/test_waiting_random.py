"""The order of turns under any traffic, against a plain model that looks at everything each time."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.mail import Mail
from mailerq.waiting import Waiting
from tests.plain_waiting import QUANTUM, PlainWaiting
from tests.test_waiting import KIB, all_of, mail, waiting

SIZES = st.sampled_from([0, KIB, 64 * KIB, 65 * KIB, 200 * KIB, 700 * KIB, 10_000 * KIB])
LIMITED = st.sampled_from([(), (), ("s",), ("t",), ("s", "t")])
MAILS = st.builds(mail, st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([0, 0, 5, 255]), SIZES, LIMITED)
ONE_BAND = st.builds(mail, st.sampled_from("abcd"), st.just("x"), st.just(0), SIZES)
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "take", "take", "try", "put back", "park", "remove"]),
        MAILS,
        st.frozensets(st.sampled_from("st")),
        st.integers(0, 5),
    ),
    max_size=80,
)


def cost(one: Mail) -> int:
    return max(one.size, QUANTUM)


def textbook(mails: list[Mail]) -> list[Mail]:
    """Deficit round robin as it is published: go round, grant a quantum, send what it suffices for."""
    queues: dict[str, deque[Mail]] = {}
    for one in mails:
        queues.setdefault(one.flow, deque()).append(one)
    active = deque((0, queue) for queue in queues.values())
    sent = []
    while active:
        deficit, queue = active.popleft()
        deficit += QUANTUM
        while queue and cost(queue[0]) <= deficit:
            deficit -= cost(queue[0])
            sent.append(queue.popleft())
        if queue:
            active.append((deficit, queue))
    return sent


class Play:
    """Mails that come and go, in ``Waiting`` and in the model."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.waiting = Waiting()
        self.model = PlainWaiting()
        self.inside: list[Mail] = []
        self.outside: list[Mail] = []

    def do(self, deed: str, one: Mail, blocked: frozenset[str], number: int) -> None:
        if deed == "append":
            self.inside.append(one)
            self.waiting.append(one)
            self.model.add(one)
        elif deed in ("take", "try"):
            self._take(blocked, deed == "try")
        elif deed == "put back" and self.outside:
            self._put_back(self.outside.pop(number % len(self.outside)))
        elif deed == "park" and self.inside:
            self._park()
        elif deed == "remove":
            gone = self.waiting.remove_if(lambda each: each.flow == one.flow)
            self.case.assertEqual(Counter(map(id, gone)), Counter(id(x) for x in self.inside if x.flow == one.flow))
            for each in gone:
                self.model.remove(each)
            self.inside = [each for each in self.inside if each.flow != one.flow]

    def look(self) -> None:
        found, inside = self.waiting, self.inside
        self.case.assertEqual(sorted(map(id, found)), sorted(map(id, inside)))
        self.case.assertEqual((len(found), bool(found)), (len(inside), bool(inside)))
        self.case.assertEqual(set(found.limited_waiting()), {one.limited for one in inside if one.limited})
        self.case.assertEqual(found.count_limited("s"), sum("s" in one.limited for one in inside))
        self.case.assertEqual(found.priority, max((one.priority for one in inside), default=-1))

    def _take(self, blocked: frozenset[str], back: bool) -> None:
        asked: Counter[tuple[str, ...]] = Counter()

        def ready(tags: tuple[str, ...]) -> bool:
            asked[tags] += 1
            return blocked.isdisjoint(tags)

        expected = self.model.first(blocked.isdisjoint)
        self.case.assertIs(self.waiting.first(ready), expected)
        self.case.assertTrue(all(count == 1 for count in asked.values()) and () not in asked)
        self.case.assertIs(self.waiting.take(ready), expected)
        if expected is None:
            return
        self.model.take(expected)
        self.inside.remove(expected)
        self.outside.append(expected)
        if back:
            self._put_back(self.outside.pop())
            self.case.assertIs(self.waiting.first(ready), expected)

    def _put_back(self, one: Mail) -> None:
        self.inside.append(one)
        self.waiting.put_back(one)
        self.model.add(one, back=True)

    def _park(self) -> None:
        bands = Counter(one.priority for one in self.inside)
        stay = min(len(bands) - 1, (len(self.inside) - 1) // 2)
        lowest = next(priority for n, priority in enumerate(sorted(bands)) if n == stay or bands[priority] > 1)
        flows = Counter(one.flow for one in self.inside if one.priority == lowest)
        one = self.waiting.take_last()
        self.case.assertEqual((one.priority, flows[one.flow]), (lowest, max(flows.values())))
        self.inside.remove(one)
        self.model.remove(one)


class Random(SynchronousTestCase):
    """Any traffic."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(ONE_BAND, max_size=40))
    def test_textbook(self, mails: list[Mail]) -> None:
        """Of what waits, the order is that of the published algorithm."""
        self.assertEqual(all_of(waiting(*mails)), textbook(mails))

    @settings(max_examples=500, deadline=None)
    @given(DEEDS)
    def test_model(self, deeds: list[tuple[str, Mail, frozenset[str], int]]) -> None:
        """Each mail comes out once, by whatever way, in the order of the model; all that is told of them is right."""
        play = Play(self)
        for deed, one, blocked, number in deeds:
            play.do(deed, one, blocked, number)
            play.look()
        self.assertEqual(sorted(map(id, all_of(play.waiting))), sorted(map(id, play.inside)))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(MAILS, max_size=60), st.lists(st.integers(0, 3), max_size=60))
    def test_in_order(self, mails: list[Mail], takes: list[int]) -> None:
        """Of one line, the first in is the first out, whatever comes and goes meanwhile."""
        found, taken = Waiting(), []
        for one, many in zip(mails, takes + [0] * len(mails), strict=False):
            found.append(one)
            taken += [each for each in (found.take() for _ in range(many)) if each is not None]
        taken += all_of(found)
        places = {id(one): place for place, one in enumerate(mails)}
        lines: dict[tuple[object, ...], list[int]] = {}
        for one in taken:
            lines.setdefault((one.flow, one.job.domain, one.priority, one.limited), []).append(places[id(one)])
        for line in lines.values():
            self.assertEqual(line, sorted(line))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.lists(SIZES, min_size=30, max_size=30), min_size=2, max_size=5), st.integers(1, 60))
    def test_bytes(self, flows: list[list[int]], many: int) -> None:
        """Flows that always wait have the same bytes, within the size of one mail and a quantum."""
        found = waiting(*[mail(str(name), size=size) for name, sizes in enumerate(flows) for size in sizes])
        left = [len(sizes) for sizes in flows]
        had = [0] * len(flows)
        for _ in range(many):
            one = found.take()
            assert one is not None
            had[int(one.flow)] += cost(one)
            left[int(one.flow)] -= 1
            if not all(left):
                return
            self.assertLessEqual(max(had) - min(had), max(map(max, flows)) + QUANTUM)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([0, 3, 9]), st.sampled_from("abc"), st.sampled_from("xy"), SIZES)))
    def test_bounded(self, others: list[tuple[int, str, str, int]]) -> None:
        """A mail of the lowest priority is taken within the stated bound, though others come all the time."""
        last = mail("b", "x", 0)
        before = [mail(flow, domain, priority, size) for priority, flow, domain, size in others]
        found = waiting(*before, last)
        same_line = sum((one.priority, one.flow, one.job.domain) == (0, "b", "x") for one in before)
        ahead = 2 * same_line + 1  # the flow has two lines
        highest = max([1, *(-(-cost(one) // QUANTUM) for one in before)])
        for _ in range(8 * 2 * 3 * (highest * (ahead + 1) + 1)):
            one = found.take()
            if one is last:
                return
            assert one is not None
            found.append(mail(one.flow, one.job.domain, one.priority, one.size))
        self.fail("it was not taken")

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 255), min_size=1, max_size=60))
    def test_priority(self, priorities: list[int]) -> None:
        """Seven of eight turns, at least, are those of the highest that waits."""
        found = waiting(*[mail(priority=one) for one in priorities])
        lower = []
        while found:
            highest = found.priority
            one = found.take()
            assert one is not None
            lower.append(one.priority < highest)
        for start in range(len(lower)):
            self.assertLessEqual(sum(lower[start : start + 8]), 1)
