"""Counts that several workers share: a column of each worker in each slot, of how many it has and since when it wants
one more.

Who wants more and has less goes first; among those with as many, who has waited longest. So a place that is let go for
somebody's sake is his, and whoever let it go does not take it again before.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from mailerq.shared_table import Lock, Table, words_of

COLUMN = 3  # words: how many it has; since when it wants one more (0: it does not); of how many all together may have
WORKERS = 4  # where in the head the number of workers stands
_HEAD = 8  # words; then for each worker:
_OWN = 4  # what it wants, how often it let go, when it was last alive, nothing
ALIVE = 1.0  # seconds: what a worker wants counts if it has looked again within this time


def head_of(workers: int) -> int:
    """Words of the head."""
    return _HEAD + _OWN * workers


def width_of(workers: int) -> int:
    """Words of a slot."""
    return 2 + COLUMN * workers


def says_something(words: memoryview[float], at: int, width: int) -> bool:
    """Whether any worker has or wants something there."""
    return any(words[at + 2 : at + width])


class Columns:
    """The table of counts, as worker ``own`` of ``workers`` sees it."""

    def __init__(self, table: Table, lock: Lock, own: int, workers: int, seconds: Callable[[], float]) -> None:
        self.table = table
        self.lock = lock
        self.own = own
        self.workers = workers
        self.seconds = seconds
        self.column = 2 + COLUMN * own
        self.others = tuple(2 + COLUMN * other for other in range(workers) if other != own)
        self._mine = _HEAD + _OWN * own
        self._theirs = tuple(_HEAD + _OWN * other for other in range(workers) if other != own)
        self._seen: list[float] = []

    def clear(self, worker: int) -> None:
        """A worker has ended, or begins: it has nothing, and wants nothing."""
        with self.lock:
            words, column = self.table.words, 2 + COLUMN * worker
            for at in self.table.slots():
                for word in range(at + column, at + column + COLUMN):
                    if words[word]:
                        words[word] = 0.0
            head = _HEAD + _OWN * worker
            words[head] = words[head + 2] = 0.0
            words[head + 1] += 1.0

    @property
    def others_want(self) -> bool:
        """Whether any other worker wants something."""
        words = self.table.words
        return any(words[at] for at in self._theirs)

    def wants(self, change: int) -> None:
        """This worker wants so many more things; under the lock."""
        self.table.words[self._mine] += change

    def let_go(self) -> None:
        """What others were refused may be free: they ask again."""
        self.table.words[self._mine + 1] += 1.0

    def is_alive(self, column: int) -> bool:
        """Whether the worker with that column has looked lately."""
        at = _HEAD + _OWN * ((column - 2) // COLUMN) + 2
        return self.table.words[at] + ALIVE > self.seconds()

    def look(self) -> bool:
        """Say that this worker is alive; whether others have let something go since the last look."""
        words = self.table.words
        words[self._mine + 2] = self.seconds()
        seen = [words[at + 1] for at in self._theirs]
        if seen == self._seen:
            return False
        self._seen = seen
        return True


class SharedCount:
    """One count (``commons.Count``). Where there is no room in the table it counts what is here alone."""

    __slots__ = ("__weakref__", "_alone", "_at", "_columns", "_digest", "_generation", "leaving", "limit", "sites")

    def __init__(self, columns: Columns, name: tuple[object, ...]) -> None:
        self._columns = columns
        self._digest = words_of(name)
        self._generation = -1
        self._at = 0
        self._alone = 0
        self.leaving = 0
        self.limit = 0.0
        self.sites: dict[tuple[str, ...], None] = {}  # those that want one more here, in their order

    def _where(self) -> int:
        """Where it stands; 0: nowhere."""
        columns = self._columns
        if self._generation != columns.table.generation or not self._at:
            with columns.lock:
                self._at = columns.table.place(self._digest)
                self._generation = columns.table.generation
        return self._at

    @property
    def mine(self) -> int:
        """Those of this worker."""
        at = self._where()
        return int(self._columns.table.words[at + self._columns.column]) if at else self._alone

    def allowed(self, limit: float) -> float:
        """How many this worker may have now, its own included."""
        at = self._where()
        if not at:
            return limit
        columns, words = self._columns, self._columns.table.words
        mine, since = words[at + columns.column], words[at + columns.column + 1] or inf
        for other in columns.others:
            theirs, waits = words[at + other], words[at + other + 1]
            limit -= theirs
            if waits and (theirs, waits) < (mine, since) and columns.is_alive(other):
                limit -= 1
        return limit

    def others(self) -> int:
        """How many other workers have."""
        at, words = self._where(), self._columns.table.words
        return int(sum(words[at + other] for other in self._columns.others)) if at else 0

    def holders(self) -> int:
        """How many other workers have any."""
        at, words = self._where(), self._columns.table.words
        return sum(words[at + other] > 0 for other in self._columns.others) if at else 0

    def opened(self) -> None:
        """This worker has one more; under the lock."""
        at = self._where()
        if at:
            self._change(at, 1.0)
        else:
            self._alone += 1

    def closed(self) -> None:
        """One of this worker's is gone."""
        columns = self._columns
        with columns.lock:
            at = self._where()
            if at and columns.table.words[at + columns.column] > 0:
                self._change(at, -1.0)
                columns.let_go()
            elif self._alone:
                self._alone -= 1

    def _change(self, at: int, by: float) -> None:
        """It has had its turn: if it wants one more, it is the last again."""
        words, column = self._columns.table.words, at + self._columns.column
        words[column] += by
        if words[column + 1]:
            words[column + 1] = self._columns.seconds()

    def gives_way(self) -> bool:
        """Whether one more than those that are leaving is to be closed for others. Who has most gives first."""
        at = self._where()
        if not at:
            return False
        columns, words = self._columns, self._columns.table.words
        mine = total = words[at + columns.column]
        needy, limit = 0, inf
        for other in columns.others:
            theirs, waits = words[at + other], words[at + other + 1]
            if theirs > mine:
                return False
            total += theirs
            if waits and (theirs + 1 < mine or not theirs) and columns.is_alive(other):
                needy += 1
                limit = min(limit, words[at + other + 2])
        return mine > 0 and needy > max(0.0, limit - total) + self.leaving

    def wants(self, site: tuple[str, ...], limit: float) -> None:
        """A site wants one more, of so many that all may have; under the lock."""
        columns, at = self._columns, self._where()
        self.limit = limit
        if not at:
            return
        if not self.sites:
            columns.wants(1)
        words = columns.table.words
        words[at + columns.column + 1] = words[at + columns.column + 1] or columns.seconds()
        words[at + columns.column + 2] = limit
        self.sites[site] = None

    def has_enough(self, site: tuple[str, ...]) -> None:
        """A site wants no more; under the lock."""
        columns, at = self._columns, self._where()
        if site not in self.sites:
            return
        del self.sites[site]
        if not self.sites:
            columns.wants(-1)
            columns.let_go()
            if at:
                columns.table.words[at + columns.column + 1] = 0.0
