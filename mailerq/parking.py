"""Parking: what is more than a site can have its turn for soon is kept by the broker, and comes back before its turn.

Pure: it says how many may stay, and when those come back that may not. They come back earlier than their turn, and ask
whether it still holds: a limit may have been raised, a pause ended. The more are away, the less often they ask.
"""

from __future__ import annotations

from collections import Counter

from mailerq.commons import Cell
from mailerq.speed import Speed
from mailerq.throttle import SAME

GRACE = 2.0  # seconds for which more than ``max-queue`` may wait: a fast site is through with them by then
LONGEST = 600.0  # seconds; nobody knows more than ten minutes ahead how fast a site will be
ASKING_AGAIN = 0.01  # seconds between those that were promised no turn, and come back to ask for one
SLOT = 1.0  # seconds: those away are counted by when they come back
ASKING = 30.0  # so many a second of those that are away may ask, over all sites
SOONEST = 5.0  # seconds after which one asks at the earliest


class Parking:
    """The turns that were promised to mails of one site, or of one tag there. ``promised_to`` is the time up to which
    turns are promised."""

    __slots__ = (
        "_crowd",
        "_flows",
        "_flows_of",
        "_interval",
        "_over_since",
        "_ranks",
        "ask_again",
        "away",
        "promised_to",
    )

    def __init__(self) -> None:
        self._crowd = 1
        self._interval = 0.0
        self.promised_to = 0.0
        self.ask_again = 0.0  # when the last of those comes back that were promised no turn
        self._over_since: float | None = None
        self._flows: dict[tuple[int, str], float] = {}  # the last turn that each was promised, if that is to come
        self._ranks: Counter[int] = Counter()  # flows by priority
        self._flows_of = 0.0
        self.away = Away()

    def keep(self, most: float, interval: float, hold: float) -> int:
        """How many may wait in memory: at most ``most``, and those that have their turn within ``hold`` seconds, where
        a pace lets one go each ``interval`` seconds (0: no pace)."""
        keep = int(min(most, 1e9))
        return min(keep, int(hold / interval) + 2) if interval else keep

    def is_paced(self, interval: float, crowd: int = 1) -> None:
        """The pace is such, and so many engines have more mail than they may send soon; the turns that were promised at
        another pace do not hold any more."""
        self._crowd = crowd
        if interval != self._interval:
            self._interval = interval
            self.promised_to = self.ask_again = 0.0
            self._flows.clear()
            self._ranks.clear()

    def may_stay(self, waiting: int, keep: int, speed: Speed, hold: float, now: float) -> bool:
        """Whether what is too much now may stay all the same, without a pace: the site is fast, or has not had the time
        to show that it is not."""
        if waiting <= keep:
            self._over_since = None
            return True
        if self._over_since is None:
            self._over_since = now
            speed.forget_if_idle(now)
        if now - self._over_since < GRACE:
            return True
        found = speed.at(now)
        return found > 0 and waiting / found <= hold

    @property
    def grace_ends(self) -> float | None:
        """Until when more may stay than there is room for; None: there is not more."""
        return None if self._over_since is None else self._over_since + GRACE

    def turn(
        self, first: float, keep: int, hold: float, now: float, patience: float, *, flow: tuple[int, str] = (0, "")
    ) -> tuple[float, float]:
        """When one more mail of a flow comes back under a pace whose next is at ``first``, with ``keep`` in memory
        before it, and the turn that it is promised (0: none).

        It is behind all others; or where its own flow (priority, name) has its turn among those of no less priority, if
        that is sooner. Where more come back than there is room for, those that can best wait are parked again.
        """
        interval = self._interval
        begin = first + keep * interval * self._crowd
        if now >= self._flows_of + 1.0:
            self._flows = {name: turn for name, turn in self._flows.items() if turn > now}
            self._flows_of = now
            self._ranks = Counter(priority for priority, _ in self._flows)
        last = max(self.promised_to, begin) + interval
        own = self._flows.get(flow, 0.0)
        flows = sum(count for priority, count in self._ranks.items() if priority >= flow[0])
        turn = min(last, max(own, begin) + interval * self._crowd * (flows + (not own)))
        if turn <= now + LONGEST:
            self.promised_to = max(self.promised_to, turn)
            self._flows[flow] = turn
            self._ranks[flow[0]] += not own
            return self._before(turn, hold, now, patience), turn
        # All turns of the next minutes are promised, and what comes later may be faster or slower: it asks again then.
        self.ask_again = max(self.ask_again, now + LONGEST / 2) + min(interval, ASKING_AGAIN)
        return self.ask_again, 0.0

    def still(self, turn: float, hold: float, now: float, patience: float) -> float | None:
        """When a mail asks again that was promised ``turn``; None: it is time, or the promise does not hold."""
        if turn > self.promised_to or turn - hold / 2 <= now + hold:
            return None
        return self._before(turn, hold, now, patience)

    @staticmethod
    def _before(turn: float, hold: float, now: float, patience: float) -> float:
        return max(now + hold, min(turn - hold / 2, now + patience))


class SharedParking(Parking):
    """The same, where several engines share a pace: they promise turns one after the other, so that a promise holds
    whichever of them the mail comes back to."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        super().__init__()

    @property
    def promised_to(self) -> float:
        """Up to when all of them have promised turns."""
        return self._cell.read()[0]

    @promised_to.setter
    def promised_to(self, time: float) -> None:
        if self._interval:  # else nothing was promised yet, here
            self._cell.write(time, self._interval)

    def is_paced(self, interval: float, crowd: int = 1) -> None:
        """The pace is such; the first that says so forgets the turns that were promised at another one."""
        _, booked = self._cell.read()
        self._crowd = crowd
        if interval != self._interval:
            self._interval = interval
            self.ask_again = 0.0
            self._flows.clear()
            self._ranks.clear()
        if interval and abs(booked - interval) > SAME * interval:
            self._cell.write(0.0, interval)


class Away:
    """How many mails are parked, by when they come back."""

    __slots__ = ("_by_slot", "_count", "_since")

    def __init__(self) -> None:
        self._by_slot: dict[int, int] = {}
        self._count = 0
        self._since = 0

    def went(self, until: float) -> None:
        """One is away until then."""
        slot = int(until / SLOT)
        self._by_slot[slot] = self._by_slot.get(slot, 0) + 1
        self._count += 1

    def count(self, now: float) -> int:
        """How many are away, as far as is known here."""
        first = int(now / SLOT)
        if first > self._since:
            self._since = first
            for slot in [slot for slot in self._by_slot if slot <= first]:
                self._count -= self._by_slot.pop(slot)
        return self._count

    def last_back(self, now: float) -> float | None:
        """When the last of them is back; None: nobody is away."""
        return (max(self._by_slot) + 1) * SLOT if self.count(now) else None

    def patience(self, now: float) -> float:
        """After how many seconds one of them may ask whether it is its turn."""
        return min(max(SOONEST, self.count(now) / ASKING), LONGEST)


def without_pace(waiting: int, speed: float, hold: float, now: float) -> float:
    """When a mail comes back that ``waiting`` others are before, at a site of that speed (mails a second)."""
    expected = waiting / speed if speed else 30.0
    return now + min(LONGEST, max(2 * hold, expected))
