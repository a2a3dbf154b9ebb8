"""Bands of mails of one priority, in which flows take turns by deficit round robin (Shreedhar and Varghese 1995).

In each round a flow is granted a quantum of 64 KiB, and sends its next mail when it has been granted what that costs:
its size, but a quantum at least. So it never sends two in a round; mails of up to 64 KiB alternate strictly, and of
larger ones each flow gets the same bytes within the size of one. Rounds are not walked through: since it is known what
a flow has been charged, it is known in which round its next mail is due, and a heap has the flow that is due first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mailerq.mail import Mail

QUANTUM = 64 * 1024
MANY = 32  # from here on a deque; it takes 760 bytes when it is empty, a list of one 88

Mails: TypeAlias = "list[Mail] | deque[Mail]"
Tags: TypeAlias = tuple[str, ...]


def longer(mails: Mails, mail: Mail) -> Mails:
    """The same with ``mail`` at the end; another object when they have become many."""
    if len(mails) == MANY and type(mails) is list:
        mails = deque(mails)
    mails.append(mail)
    return mails


class Gate(dict[Tags, bool]):
    """Which mails with limited tags may go now; ``ready`` is asked once about each."""

    __slots__ = ("_ready",)

    def __init__(self, ready: Callable[[Tags], bool]) -> None:
        self._ready = ready
        self[()] = True

    def __missing__(self, tags: Tags) -> bool:
        may = self[tags] = self._ready(tags)
        return may


class Line:
    """Mails of one flow to one domain with the same limited tags, in the order in which they came. The first ``back``
    of them were taken before and put back, and are due in round ``back_due``, before all others. ``turn`` is its place
    among the lines of the flow."""

    __slots__ = ("back", "back_due", "mails", "turn")

    def __init__(self, mails: Mails, turn: int) -> None:
        self.mails = mails
        self.turn = turn
        self.back = self.back_due = 0


class Flow:
    """The mails of one flow. Its lines take turns, whatever the size of the mails.

    ``charged`` is what it has been charged since round 0, in bytes; ``joined`` its place in a round.
    """

    __slots__ = ("_first", "_last", "charged", "count", "entry", "joined", "kinds")

    def __init__(self, charged: int, joined: int) -> None:
        self.charged = charged
        self.joined = joined
        self.count = 0
        self.kinds: dict[Tags, OrderedDict[str, Line]] = {}  # by limited tags and domain, the next first
        self.entry: Entry | None = None
        self._first = self._last = 0

    def adopt(self, mails: Mails) -> bool:
        """New mails of one line that is not there yet. Whether another line may be the next now."""
        mail = mails[0]
        self._last += 1
        self.count += len(mails)
        lines = self.kinds.get(mail.limited)
        if lines is None:
            lines = self.kinds[mail.limited] = OrderedDict()
        lines[mail.job.domain] = Line(mails, self._last)
        return len(lines) == 1

    def append(self, mail: Mail) -> bool:
        """One more. Whether another line may be the next now."""
        lines = self.kinds.get(mail.limited)
        line = None if lines is None else lines.get(mail.job.domain)
        if line is None:
            return self.adopt([mail])
        line.mails = longer(line.mails, mail)
        self.count += 1
        return False

    def put_back(self, mail: Mail, due: int) -> None:
        """``mail`` was charged before; it is the next, and due in round ``due``."""
        lines = self.kinds.setdefault(mail.limited, OrderedDict())
        line = lines.get(mail.job.domain)
        if line is None:
            line = lines[mail.job.domain] = Line([], 0)
        line.mails.insert(0, mail)
        line.back += 1
        line.back_due = due
        self._first -= 1
        line.turn = self._first
        lines.move_to_end(mail.job.domain, last=False)
        self.count += 1

    def line(self, mail: Mail) -> Line:
        """The line that ``mail`` stands in; KeyError if there is none."""
        return self.kinds[mail.limited][mail.job.domain]

    def next_line(self, gate: Gate | None) -> Line | None:
        """The line whose turn it is among those that may go."""
        best: Line | None = None
        for tags, lines in self.kinds.items():
            if gate is None or gate[tags]:
                line = next(iter(lines.values()))
                if best is None or line.turn < best.turn:
                    best = line
        return best

    def due(self, line: Line) -> int:
        """The round in which it has been granted what the first of ``line`` costs."""
        if line.back:
            return line.back_due
        size = line.mails[0].size
        return -(-(self.charged + (size if size > QUANTUM else QUANTUM)) // QUANTUM)

    def earliest(self) -> int:
        """The round before which none of its lines that may be next is due."""
        return min([self.due(next(iter(lines.values()))) for lines in self.kinds.values()])

    def take(self, line: Line, round_now: int) -> int:
        """Take the first of ``line``, and charge it. In which round it was due.

        If it was due long ago, because it had to wait for a limit, the flow has no claim on the rounds between."""
        due = self.due(line)
        mail = line.mails[0]
        if line.back:
            line.back -= 1
        elif due < round_now:
            self.charged = round_now * QUANTUM
        else:
            self.charged += max(mail.size, QUANTUM)
        del line.mails[0]
        self.count -= 1
        if line.mails:
            self._last += 1
            line.turn = self._last
            self.kinds[mail.limited].move_to_end(mail.job.domain)
        else:
            self._forget(mail)
        return due

    def take_last(self) -> Mail:
        """Take the youngest of its longest line."""
        line = max(
            (line for lines in self.kinds.values() for line in lines.values()),
            key=lambda line: (len(line.mails), line.turn),
        )
        mail = line.mails.pop()
        self.count -= 1
        line.back = min(line.back, len(line.mails))
        if not line.mails:
            self._forget(mail)
        return mail

    def remove(self, gone: set[int]) -> None:
        """Remove the mails with these ``id``."""
        for lines in list(self.kinds.values()):
            for line in list(lines.values()):
                first = line.mails[0]
                left = [mail for mail in line.mails if id(mail) not in gone]
                if len(left) == len(line.mails):
                    continue
                self.count -= len(line.mails) - len(left)
                if line.back:
                    line.back = sum(id(mail) not in gone for mail in list(line.mails)[: line.back])
                line.mails = left if len(left) <= MANY else deque(left)
                if not left:
                    self._forget(first)

    def _forget(self, mail: Mail) -> None:
        lines = self.kinds[mail.limited]
        del lines[mail.job.domain]
        if not lines:
            del self.kinds[mail.limited]

    def __iter__(self) -> Iterator[Mail]:
        for lines in self.kinds.values():
            for line in lines.values():
                yield from line.mails


Entry: TypeAlias = tuple[int, int, int, Flow]


class Band:
    """The flows of one priority. ``since`` is its place among the bands: the lower, the longer it is passed over.

    A flow that is new joins at the end of the next round. One that has become empty is forgotten at once, and is new
    when it comes back: so it gains nothing by that, for it has had its turn in this round."""

    __slots__ = ("_back", "_heap", "_joined", "_pushed", "_round", "flows", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.flows: dict[str, Flow] = {}
        self._heap: list[Entry] = []  # with some that hold no longer: those that are not the entry of their flow
        self._round = 0
        self._back = 0
        self._joined = 0
        self._pushed = 0

    def adopt(self, mails: Mails) -> None:
        """Mails of one line, none of which is there yet."""
        flow = self._flow(mails[0].flow)
        flow.adopt(mails)
        self._sort_in(flow)

    def append(self, mail: Mail) -> None:
        """One more."""
        flow = self._flow(mail.flow)
        if flow.append(mail):
            self._sort_in(flow)

    def put_back(self, mail: Mail) -> None:
        """It was taken and not used: it is the next."""
        flow = self._flow(mail.flow)
        self._back -= 1  # before those that were put back before
        flow.put_back(mail, self._back)
        self._sort_in(flow)

    def _flow(self, name: str) -> Flow:
        flow = self.flows.get(name)
        if flow is None:
            self._joined += 1
            flow = self.flows[name] = Flow(self._round * QUANTUM, self._joined)
        return flow

    def _sort_in(self, flow: Flow) -> None:
        """A flow has another next mail, or none."""
        if not flow.count:
            flow.entry = None
            return
        due = flow.earliest()
        if flow.entry is not None and flow.entry[0] == due:
            return
        self._pushed += 1
        flow.entry = due, flow.joined, self._pushed, flow
        heappush(self._heap, flow.entry)
        if len(self._heap) > 2 * len(self.flows) + MANY:
            self._heap = [entry for entry in self._heap if entry[3].entry is entry]
            heapify(self._heap)

    def first(self, gate: Gate | None) -> Mail | None:
        """The mail whose turn it is among those that may go.

        Entries of the heap say when a flow is due at the earliest. If what may go of it is due later, it is compared
        with the flows that follow."""
        heap, aside = self._heap, []
        best: tuple[int, int] | None = None
        found: Line | None = None
        while heap:
            entry = heap[0]
            flow = entry[3]
            if flow.entry is not entry:
                heappop(heap)
                continue
            if best is not None and best < entry[:2]:
                break
            line = flow.next_line(gate)
            if line is not None:
                due = flow.due(line)
                if best is None or (due, flow.joined) < best:
                    best, found = (due, flow.joined), line
                if due == entry[0]:
                    break
            aside.append(heappop(heap))
        for entry in aside:
            heappush(heap, entry)
        return None if found is None else found.mails[0]

    def take(self, mail: Mail) -> None:
        """Take a mail that ``first`` has found."""
        flow = self.flows[mail.flow]
        line = flow.line(mail)
        if line.mails[0] is not mail:
            raise KeyError(mail)
        due = flow.take(line, self._round)
        self._round = max(self._round, due)
        self._look_if_left(mail.flow, flow)

    def take_last(self) -> Mail:
        """Take the youngest of the longest line of the longest flow."""
        flow = max(self.flows.values(), key=lambda flow: (flow.count, flow.joined))
        mail = flow.take_last()
        self._look_if_left(mail.flow, flow)
        return mail

    @property
    def has_one(self) -> bool:
        """Whether there is one mail alone."""
        return len(self.flows) == 1 and next(iter(self.flows.values())).count == 1

    def remove(self, gone: set[int]) -> None:
        """Remove the mails with these ``id``; those left keep their order."""
        for name, flow in list(self.flows.items()):
            flow.remove(gone)
            self._look_if_left(name, flow)

    def _look_if_left(self, name: str, flow: Flow) -> None:
        if not flow.count:
            del self.flows[name]
        self._sort_in(flow)

    def __iter__(self) -> Iterator[Mail]:
        for flow in self.flows.values():
            yield from flow
