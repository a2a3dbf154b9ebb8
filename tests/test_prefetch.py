"""How many messages are asked for, by the bytes in hand."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.queues.prefetch import FIRST, MOST_BYTES, Prefetch


class Flow:
    """A broker that always has more, and what is in hand of it. Each consumer has its own count, as in RabbitMQ."""

    def __init__(self, window: int, sizes: list[int]) -> None:
        self.prefetch = Prefetch(window)
        self.sizes = deque(sizes)
        self.in_hand: deque[tuple[int, int]] = deque()  # consumer, size
        self.bytes = self.most = self.most_bytes = self.number = self.came = self.own = 0
        self.consumer = 1
        self.limit = self.prefetch.asked

    def fill(self) -> None:
        """The broker sends as much as the consumer may hold."""
        while self.sizes and self.limit > self.own:
            size = self.sizes.popleft()
            self.in_hand.append((self.consumer, size))
            self.bytes += size
            self.came += size
            self.number += 1
            self.most, self.most_bytes = max(self.most, len(self.in_hand)), max(self.most_bytes, self.bytes)
            self.own += 1
            asks = self.number >= self.prefetch.look_at or self.bytes > MOST_BYTES
            if asks and self.prefetch.look(self.number, self.came, len(self.in_hand), self.bytes):
                self.again()

    def settle(self, count: int) -> None:
        """The oldest are settled."""
        for _ in range(min(count, len(self.in_hand))):
            consumer, size = self.in_hand.popleft()
            self.bytes -= size
            self.own -= consumer == self.consumer
        if self.prefetch.emptier(self.number, len(self.in_hand), self.bytes):
            self.again()

    def again(self) -> None:
        """Another consumer."""
        self.consumer += 1
        self.own = 0
        self.limit = self.prefetch.asked


class PrefetchTests(SynchronousTestCase):
    """The rules."""

    def test_small_window(self) -> None:
        """A small window is asked for at once, and for good."""
        flow = Flow(FIRST, [10] * 100)
        flow.fill()
        self.assertEqual((len(flow.in_hand), flow.consumer), (FIRST, 1))

    def test_small_messages(self) -> None:
        """Small messages fill most of the window within three consumers, and then none is made any more."""
        flow = Flow(5000, [2000] * 60_000)
        for _ in range(100):
            flow.fill()
            flow.settle(500)
        self.assertGreater(flow.most, 4000)
        self.assertLessEqual(flow.consumer, 3)

    def test_large_messages(self) -> None:
        """Large messages fill the bound of bytes, and hardly more."""
        flow = Flow(5000, [1 << 20] * 2000)
        for _ in range(50):
            flow.fill()
            flow.settle(20)
        self.assertGreater(flow.most_bytes, MOST_BYTES // 2)
        self.assertLess(flow.most_bytes, MOST_BYTES + (2 << 20))

    def test_growing_messages(self) -> None:
        """Where messages get larger, nothing is taken above the bound, until half of it is free."""
        flow = Flow(5000, [2000] * 10_000 + [200_000] * 5000)
        for _ in range(200):
            flow.fill()
            self.assertLess(flow.bytes, MOST_BYTES + 400_000)
            flow.settle(100)
        self.assertEqual(len(flow.sizes), 0)

    def test_shrinking_messages(self) -> None:
        """Where they get smaller, more are asked for."""
        flow = Flow(5000, [1 << 20] * 100 + [2000] * 60_000)
        for _ in range(100):
            flow.fill()
            flow.settle(300)
        self.assertGreater(flow.most, 3000)

    @given(
        st.integers(1, 300),
        st.lists(st.one_of(st.integers(1, 100), st.integers(1, 40 << 20)), max_size=400),
        st.lists(st.integers(1, 60), min_size=1, max_size=5),
    )
    def test_bounds(self, window: int, sizes: list[int], steps: list[int]) -> None:
        """Whatever comes: never more than the window in hand; nothing is asked for above the bound; all is taken in
        the end."""
        flow = Flow(window, list(sizes))
        turn = 0
        while flow.sizes or flow.in_hand:
            flow.fill()
            self.assertLessEqual(len(flow.in_hand), window)
            self.assertTrue(flow.bytes <= MOST_BYTES or flow.limit == 0)
            flow.settle(steps[turn % len(steps)])
            turn += 1
            self.assertLess(turn, 10_000)
