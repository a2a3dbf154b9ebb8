"""How many messages the broker may have us hold at once, where it knows no bound in bytes.

Pure. AMQP counts messages. So few are asked for at first, and as many as fit into the bound once their size is seen. A
consumer's prefetch is fixed when it starts: to ask for another is to cancel it and to consume again, so that it is done
seldom, and what the old consumer was given counts until it is settled.
"""

from __future__ import annotations

MOST_BYTES = 64 << 20  # bytes of bodies in hand
FIRST = 16  # messages asked for, at least, before the size of any is known
GROWTH = 100  # at most so much more from one consumer to the next
WORTH = 3  # a consumer is made anew for so much more


class Prefetch:
    """``window``: messages in hand at most, ``most``: their bytes, above which nothing more is asked for.

    ``asked``: the prefetch of the consumer; 0: there is to be none. ``look_at``: the message (the first is 1) that
    ``look`` wants to be told of; of each that makes the bytes more than ``most`` it wants to be told, too.
    """

    def __init__(self, window: int, most: int = MOST_BYTES) -> None:
        self.window = window
        self.most = most
        self.asked = self.look_at = min(window, max(FIRST, window // GROWTH + 1))
        self._number = self._came = 0  # at the last look

    def look(self, number: int, came: int, in_hand: int, size: int) -> bool:
        """So many messages have come, of so many bytes; what of them is in hand. Whether ``asked`` has changed."""
        asked = self.asked
        if size > self.most:
            self.asked = 0
            return asked != 0
        if number < self.look_at or not asked:
            return False
        self.look_at = number + max(asked, FIRST)
        fit = self._fit(number - self._number, came - self._came)
        self._number, self._came = number, came
        wanted = min(fit, GROWTH * asked) - in_hand
        if wanted < WORTH * asked:
            return False
        self._ask(number, wanted)
        return True

    def emptier(self, number: int, in_hand: int, size: int) -> bool:
        """Less is in hand than before. Whether ``asked`` has changed: after a stop half of the bound is to be free."""
        if self.asked or size * 2 > self.most:
            return False
        self._ask(number, (self._fit(in_hand, size) if in_hand else min(self.window, FIRST)) - in_hand)
        return True

    def _fit(self, count: int, size: int) -> int:
        """How many messages like these there may be."""
        return min(self.window, self.most * count // max(size, 1))

    def _ask(self, number: int, wanted: int) -> None:
        self.asked = max(wanted, 1)
        self.look_at = number + max(self.asked, FIRST)
