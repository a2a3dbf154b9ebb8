"""Room: the connections that all sites together may have (``smtp.max-connections``), given out in turn."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailerq.commons import Count
    from mailerq.lane import Link
    from mailerq.site import Site


class Room:
    """``open`` connections there are, ``most`` there may be. Sites that need one more stand in line. ``shared`` counts
    those of all engines, where several share the room."""

    def __init__(self, most: int, shared: Count | None = None) -> None:
        self.most = most
        self.shared = shared
        self.open = 0
        self._line: dict[Site, None] = {}  # in their order
        self._idle: dict[Link, None] = {}  # the one that became idle first, first

    @property
    def left(self) -> int:
        """How many more may be opened."""
        if self.shared is not None:
            return int(self.shared.allowed(self.most)) - self.open
        return self.most - self.open

    def next_in_line(self) -> list[Site]:
        """Those sites for which there is room: they are asked first, or those that always have mail would take it."""
        return list(islice(self._line, max(0, self.left))) if self._line else []

    def looked_at(self, site: Site, has_opened: bool) -> Link | None:
        """A site was asked what it wants to do. What is to be closed for its sake: the connection that has had nothing
        to do for the longest time."""
        if has_opened or not site.waits_for_room:
            self._line.pop(site, None)
        if not site.waits_for_room:
            return None
        self._line[site] = None  # behind the others, if it has had some
        return next(iter(self._idle), None)

    @property
    def rest(self) -> bool:
        """Whether any connection has nothing to do."""
        return bool(self._idle)

    def idle(self) -> list[Link]:
        """The connections that have nothing to do."""
        return list(self._idle)

    def forget(self, site: Site) -> None:
        """A site is no more."""
        self._line.pop(site, None)

    def rests(self, link: Link) -> None:
        """A connection has nothing to do."""
        self._idle[link] = None

    def works(self, link: Link) -> None:
        """It has, or is about to be closed."""
        self._idle.pop(link, None)

    def is_wanted(self, link: Link) -> bool:
        """Whether others need the room that a connection takes."""
        site = link.lane.site
        return len(self._line) > (site in self._line and len(site.lanes) == 1)
