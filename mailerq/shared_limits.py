"""Limits that all workers of one machine share, exact as those of one process: in memory that all have mapped.

Due times of paces stand in ``state``/paces (the file that one process alone uses, too), numbers of connections in
``state``/connections, what rules were found to hold for which site in ``state``/named. ``docs/decisions/workers.md``
has the reasons.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from weakref import WeakValueDictionary

from mailerq.commons import Cell, Count, Name, SiteKey
from mailerq.shared_counts import Columns, SharedCount
from mailerq.shared_named import Named
from mailerq.shared_paces import PaceCell
from mailerq.shared_table import Lock, Table

LOOK_AGAIN = 0.02  # seconds
EACH = 16  # looks: then all that is wanted is asked for, whether others let something go or not


class SharedLimits:
    """``commons.Commons`` for one of the workers of a machine. ``files`` are descriptors that are closed with it."""

    look_again: float | None = LOOK_AGAIN

    def __init__(self, paces: Table, columns: Columns, named: Named, files: tuple[int, ...] = ()) -> None:
        self._lock = columns.lock
        self.engines = columns.workers
        self.paces = paces
        self.columns = columns
        self.named = named
        self._counts: WeakValueDictionary[Name, SharedCount] = WeakValueDictionary()
        self._wanted: dict[SiteKey, list[SharedCount]] = {}
        self._crowds: dict[SiteKey, SharedCount] = {}
        self._looks = 0
        self._files = files

    @property
    def lock(self) -> Lock:
        """That of all tables."""
        return self._lock

    def seconds(self) -> float:
        """The time that all workers of a machine have."""
        return self.columns.seconds()

    def count(self, name: Name) -> SharedCount:
        """The count of that name."""
        found = self._counts.get(name)
        if found is None:
            found = self._counts[name] = SharedCount(self.columns, name)
        return found

    def cell(self, name: Name) -> Cell | None:
        """Where the due time of that pace stands."""
        return PaceCell(self.paces, self.lock, name, self.seconds)

    def rate(self, name: Name, per_minute: float, site: SiteKey) -> float:
        """All of it: whoever comes first uses it."""
        return per_minute

    def refused(self, site: SiteKey, counts: Collection[tuple[Count, float]], waiting: int) -> None:
        """What a site wants, after a look at it."""
        before = self._wanted.get(site)
        if not counts and not before:
            return
        # also where only our own are in the way: others may come and take the place of one that goes
        wanted = {count: limit for count, limit in counts if isinstance(count, SharedCount)}  # all are
        for count, limit in wanted.items():
            count.wants(site, limit)
        for count in before or ():
            if count not in wanted:
                count.has_enough(site)
        if wanted:
            self._wanted[site] = list(wanted)
            if not before:
                self.columns.look()
        elif before:
            del self._wanted[site]

    def crowd(self, site: SiteKey, has_surplus: bool) -> int:
        """How many workers have more mail for a site than they may send soon."""
        count = self._crowds.get(site)
        if count is None:
            if not has_surplus:
                return 1
            count = self._crowds[site] = self.count((*site, "surplus"))
        if has_surplus and not count.mine:
            count.opened()
        elif not has_surplus and count.mine:
            count.closed()
        return 1 + count.holders()

    def forget(self, site: SiteKey) -> None:
        """A site is no more here."""
        with self.lock:
            self.refused(site, (), 0)
            self.crowd(site, False)
        self._crowds.pop(site, None)

    @property
    def others_want(self) -> bool:
        """Whether any other worker wants something."""
        return self.columns.others_want

    def free_again(self) -> Collection[SiteKey]:
        """The sites that may open now what they were refused: of each count as many as there are places."""
        self._looks += 1
        if not self.columns.look() and self._looks % EACH:
            return ()
        found: dict[SiteKey, None] = {}
        with self.lock:
            for count in {id(count): count for counts in self._wanted.values() for count in counts}.values():
                free = int(min(count.allowed(count.limit) - count.mine, 1e9))
                for site, _ in zip(count.sites, range(free), strict=False):
                    found[site] = None
        return found

    def note_domain(self, site: SiteKey, domain: str) -> None:
        """A rule holds for a site because this domain is of it: the others are to know."""
        with self.lock:
            self.named.append(site, domain)

    def noted(self) -> Iterable[tuple[SiteKey, str]]:
        """What others have noted since the last time; under the lock."""
        return self.named.read()

    def listen(self, changed: Callable[[Collection[SiteKey] | None], None]) -> None:
        """Parts do not change here."""

    def tick(self) -> None:
        """To be called about once a second."""
        now = self.seconds()
        self.paces.tick(now)
        self.columns.table.tick(now)

    def close(self) -> None:
        """This worker ends: what it had is free."""
        with self.lock:
            self.columns.clear(self.columns.own)
            self.paces.tick(self.seconds())
        self.die()

    def die(self) -> None:
        """What a kill does: nothing is said, and the system takes the rest."""
        self.named.close()
        self.paces.close()
        self.columns.table.close()
        self.lock.close()
        for file in self._files:
            os.close(file)

    def __repr__(self) -> str:
        return f"<SharedLimits, {len(self._counts)} counts, {len(self._wanted)} sites want more: {self.paces!r}>"
