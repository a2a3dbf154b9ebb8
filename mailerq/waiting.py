"""Waiting: the mails that wait in one lane of a site, in the order of their turns.

Outermost are bands by ``priority``, the highest first. Within a band flows (``flow``: whom ``fair-by`` names) take
turns by deficit round robin (``flows.py``), within a flow its lines: mails to one domain with the same ``limited``
tags. A line is first in, first out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from mailerq.flows import Band, Gate, Mails, Tags, longer

if TYPE_CHECKING:
    from mailerq.mail import Mail

EVERY = 8  # the turn that is not the highest band's


class Waiting:
    """Mails that wait; each comes out once.

    ``priority``, ``flow``, ``job.domain``, ``limited`` and ``size`` of a mail must not change while it waits.

    Nobody starves. Every 8th turn is that of the band which was passed over longest, so with B bands each has a turn
    within 8 * max(1, B - 1). A mail with m others of its flow that go before it, each of at most c * 64 KiB (c at least
    1), in a band with at most F flows at any time, is taken within F * (c * (m + 1) + 1) turns of its band. If flows
    and bands are as many as that at any time, and all mails may go when it is their turn, it is taken within
    8 * max(1, B - 1) * F * (c * (m + 1) + 1) turns.

    As long as all mails belong in one line, there is only that line.
    """

    __slots__ = ("_bands", "_limited", "_line")

    def __init__(self) -> None:
        self._line: Mails | None = None
        self._bands: Bands | None = None
        self._limited: dict[Tags, int] | None = None

    @property
    def priority(self) -> int:
        """The highest priority that waits; -1 where nothing does."""
        if self._bands is not None:
            return max(self._bands.by_priority)
        return -1 if self._line is None else self._line[0].priority

    def append(self, mail: Mail) -> None:
        """``mail`` waits from now on."""
        line = self._line
        if mail.limited:
            self._note_limited(mail.limited, 1)
        if line is not None:
            if _is_same_line(line[0], mail):
                self._line = longer(line, mail)
            else:
                self._branch(line).append(mail)
        elif self._bands is None:
            self._line = [mail]
        else:
            self._bands.append(mail)

    def put_back(self, mail: Mail) -> None:
        """``mail`` was taken and not used: it is the next of its line, its flow and its band, and costs its flow
        nothing when it is taken again. If its band is not the highest, the next turn is that of its band."""
        line = self._line
        if mail.limited:
            self._note_limited(mail.limited, 1)
        if line is not None:
            if _is_same_line(line[0], mail):
                line.insert(0, mail)
            else:
                self._branch(line).put_back(mail)
        elif self._bands is None:
            self._line = [mail]
        else:
            self._bands.put_back(mail)

    def _branch(self, line: Mails) -> Bands:
        self._line = None
        self._bands = Bands()
        self._bands.adopt(line)
        return self._bands

    def first(self, ready: Callable[[Tags], bool] | None = None) -> Mail | None:
        """The mail whose turn it is; None if none may go. It stays.

        ``ready`` says whether mails with these limited tags may go now (it is not asked about those without, and once
        about others); None: all may. Who may not keeps its place, and is the next of its flow when it may.
        """
        line = self._line
        if line is not None:
            mail = line[0]
            return mail if ready is None or not mail.limited or ready(mail.limited) else None
        if self._bands is None:
            return None
        return self._bands.first(None if ready is None else Gate(ready))

    def take(self, ready: Callable[[Tags], bool] | None = None) -> Mail | None:
        """Take the mail that ``first`` would return."""
        mail = self.first(ready)
        if mail is not None:
            self.take_this(mail)
        return mail

    def take_this(self, mail: Mail) -> None:
        """Take the mail that ``first`` has just returned, without another search; KeyError if it is another one."""
        line, bands = self._line, self._bands
        if line is not None:
            if line[0] is not mail:
                raise KeyError(mail)
            del line[0]
            if not line:
                self._line = None
        elif bands is not None:
            bands.take(mail)
            if not bands.by_priority:
                self._bands = None
        else:
            raise KeyError(mail)
        if mail.limited:
            self._note_limited(mail.limited, -1)

    def take_last(self) -> Mail:
        """Take one that can best wait elsewhere: of the lowest band the longest flow, of that the longest line, of that
        the youngest; IndexError where nothing waits. Where that is the only one of a lower band, it stays, and the
        next band is asked: it would never come to its eighth turn. So at most every second one stays."""
        line, bands = self._line, self._bands
        if line is not None:
            mail = line.pop()
            if not line:
                self._line = None
        elif bands is not None:
            mail = bands.take_last()
            if not bands.by_priority:
                self._bands = None
        else:
            raise IndexError("nothing waits")
        if mail.limited:
            self._note_limited(mail.limited, -1)
        return mail

    def remove_if(self, test: Callable[[Mail], bool]) -> list[Mail]:
        """Remove those for which ``test`` is true, and return them; the others keep their order. ``test`` is asked once
        about each; if it raises, nothing is removed."""
        gone = [mail for mail in self if test(mail)]
        if len(gone) == len(self):
            self.clear()
        elif gone:
            numbers = {id(mail) for mail in gone}
            if self._line is not None:
                self._line = type(self._line)(mail for mail in self._line if id(mail) not in numbers)
            elif self._bands is not None:
                self._bands.remove(numbers)
            for mail in gone:
                if mail.limited:
                    self._note_limited(mail.limited, -1)
        return gone

    def limited_waiting(self) -> Iterable[Tags]:
        """The different limited tags of those that wait, each once; not ()."""
        return list(self._limited or ())

    def count_limited(self, tag: str) -> int:
        """How many wait that have ``tag`` among their limited tags."""
        if self._limited is None:
            return 0
        return sum(count for tags, count in self._limited.items() if tag in tags)

    def _note_limited(self, tags: Tags, more: int) -> None:
        counts = self._limited
        if counts is None:
            counts = self._limited = {}
        left = counts.get(tags, 0) + more
        if left:
            counts[tags] = left
        else:
            del counts[tags]
            if not counts:
                self._limited = None

    def clear(self) -> None:
        """Nothing waits any more."""
        self._line = self._bands = self._limited = None

    def __len__(self) -> int:
        if self._line is not None:
            return len(self._line)
        return 0 if self._bands is None else self._bands.count

    def __bool__(self) -> bool:
        return self._line is not None or self._bands is not None

    def __iter__(self) -> Iterator[Mail]:
        """All that wait, the highest band first, each line in its order; not in the order of the turns."""
        if self._line is not None:
            return iter(self._line)
        return iter(()) if self._bands is None else iter(self._bands)

    def __repr__(self) -> str:
        return f"<Waiting: {len(self)} mails>"


def _is_same_line(one: Mail, other: Mail) -> bool:
    return (
        one.job.domain == other.job.domain
        and one.flow == other.flow
        and one.priority == other.priority
        and one.limited == other.limited
    )


class Bands:
    """Mails in several lines, by priority; none is empty. ``_passed`` is how many turns went by since one was that of
    the band which was passed over longest."""

    __slots__ = ("_first", "_last", "_passed", "by_priority", "count")

    def __init__(self) -> None:
        self.by_priority: dict[int, Band] = {}
        self.count = 0
        self._passed = 0
        self._first = self._last = 0

    def _band(self, priority: int) -> Band:
        band = self.by_priority.get(priority)
        if band is None:
            self._last += 1
            band = self.by_priority[priority] = Band(self._last)
        return band

    def adopt(self, mails: Mails) -> None:
        """The mails of one line, before there are others."""
        self.count += len(mails)
        self._band(mails[0].priority).adopt(mails)

    def append(self, mail: Mail) -> None:
        """One more."""
        self.count += 1
        self._band(mail.priority).append(mail)

    def put_back(self, mail: Mail) -> None:
        """It was taken, but had no use of its turn."""
        self.count += 1
        band = self._band(mail.priority)
        band.put_back(mail)
        if mail.priority == max(self.by_priority):
            self._passed = max(0, self._passed - 1)
        else:
            self._passed = EVERY - 1
            self._first -= 1
            band.since = self._first

    def first(self, gate: Gate | None) -> Mail | None:
        """The mail whose turn it is among those that may go."""
        bands = self.by_priority
        if len(bands) == 1:
            return next(iter(bands.values())).first(gate)
        highest, *others = sorted(bands, reverse=True)
        if self._passed >= EVERY - 1:
            order = [*sorted(others, key=lambda priority: bands[priority].since), highest]
        else:
            order = [highest, *others]
        for priority in order:
            mail = bands[priority].first(gate)
            if mail is not None:
                return mail
        return None

    def take(self, mail: Mail) -> None:
        """Take a mail that ``first`` has found."""
        band = self.by_priority[mail.priority]
        band.take(mail)
        if len(self.by_priority) > 1:
            if self._passed >= EVERY - 1 and mail.priority < max(self.by_priority):
                self._passed = 0
            else:
                self._passed = min(self._passed + 1, EVERY - 1)
        self._last += 1
        band.since = self._last
        self._took(mail.priority, 1)

    def take_last(self) -> Mail:
        """Take one of the lowest band that need not be spared."""
        priorities = sorted(self.by_priority)
        spared = 0
        while spared < min(len(priorities) - 1, (self.count - 1) // 2) and self.by_priority[priorities[spared]].has_one:
            spared += 1
        mail = self.by_priority[priorities[spared]].take_last()
        self._took(mail.priority, 1)
        return mail

    def remove(self, gone: set[int]) -> None:
        """Remove the mails with these ``id``."""
        for priority, band in list(self.by_priority.items()):
            before = sum(flow.count for flow in band.flows.values())
            band.remove(gone)
            self._took(priority, before - sum(flow.count for flow in band.flows.values()))

    def _took(self, priority: int, many: int) -> None:
        self.count -= many
        if not self.by_priority[priority].flows:
            del self.by_priority[priority]

    def __iter__(self) -> Iterator[Mail]:
        for priority in sorted(self.by_priority, reverse=True):
            yield from self.by_priority[priority]
