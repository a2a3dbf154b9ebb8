"""Member: one engine's shares of all limits that it uses (``commons.Commons``), and what it says to the store of them.

``question`` and ``answered`` are called in turn by ``limits_store/``, which carries them; ``missed`` if no answer came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakValueDictionary

from mailerq.commons import ALL, Count, Name, SiteKey
from mailerq.shares.division import part_without_store
from mailerq.shares.exchange import Answer, Line, Question
from mailerq.shares.share import CountShare, RateShare, Share

LEASE = 30.0
"""Seconds after which others may have what a member held that was not heard of since."""

GRACE = 4.0
"""Seconds that a store which knows nothing gives nothing: it may have been emptied, and members may hold something."""

MOST_LINES = 2000  # of one question

QUIET = 4
"""Of those shares that nobody else has, so many times fewer are looked at: each ``QUIET`` periods."""


class OwnCount:
    """A count that is this process's own, of a limit that is of this machine (``smtp.max-connections``)."""

    leaving = 0

    def __init__(self, workers: int) -> None:
        self.mine = 0
        self._workers = workers

    def allowed(self, limit: float) -> float:
        """The part of one of the workers of this machine."""
        return max(1.0, limit // self._workers)

    def others(self) -> int:
        """Not known."""
        return 0

    def opened(self) -> None:
        """One more."""
        self.mine += 1

    def closed(self) -> None:
        """One less."""
        self.mine -= 1

    def gives_way(self) -> bool:
        """Never."""
        return False


class Member:
    """``me`` is the same after a restart, ``life`` is not; ``members`` are those that were known last. ``workers``: of
    this machine, which divide what is the machine's own."""

    look_again: float | None = None

    def __init__(
        self, me: str, life: str, seconds: Callable[[], float], *, workers: int = 1, members: Sequence[str] = ()
    ) -> None:
        self.me = me
        self.lock: AbstractContextManager[object] = nullcontext()
        self.seconds = seconds
        self.members = list(members)
        self.engines = max(1, len(members))
        self.gone = False
        self.on_wake: Callable[[], None] = lambda: None
        self._life = life
        self._seq = 0
        self._changed: Callable[[Collection[SiteKey] | None], None] = lambda keys: None
        self._all = OwnCount(workers)
        self._shares: WeakValueDictionary[Name, Share] = WeakValueDictionary()
        self._active: dict[str, Share] = {}
        self._asked: list[Share] = []
        self._rates_of: dict[SiteKey, dict[RateShare, None]] = {}
        self._refused: dict[SiteKey, list[CountShare]] = {}
        self._urgent: dict[Share, None] = {}  # of which there is something to say
        self._turn = self._periods = 0
        self._others_want = False

    # -- Commons -----------------------------------------------------------------------------------------------------

    def count(self, name: Name) -> CountShare | OwnCount:
        """The count of that name."""
        if name == ALL:
            return self._all
        found = self._shares.get(name)
        if found is None:
            found = self._shares[name] = CountShare(self, name)
        assert isinstance(found, CountShare)
        return found

    def cell(self, name: Name) -> RateShare | None:
        """The due time of a rate that was asked for; None for all else: that is each engine's own."""
        found = self._shares.get(name)
        return found if isinstance(found, RateShare) else None

    def rate(self, name: Name, per_minute: float, site: SiteKey) -> float:
        """What of a rate is ours."""
        share = self.cell(name)
        if share is None:
            share = self._shares[name] = RateShare(self, name, "bytes" in str(name[-4]))
        share.sites.add(site)
        self._rates_of.setdefault(site, {})[share] = None
        return share.limited(per_minute)

    def refused(self, site: SiteKey, counts: Collection[tuple[Count, float]], waiting: int) -> None:
        """What a site wants, after a look at it."""
        rates = self._rates_of.get(site)
        if rates:
            for rate in rates:
                if waiting:
                    rate.wants_now(site, waiting)
                else:
                    rate.wants.pop(site, None)
        before = self._refused.pop(site, ())
        wanted = [count for count, _ in counts if isinstance(count, CountShare)]
        for count in before:
            if count not in wanted:
                count.wants.pop(site, None)
                count.sites.discard(site)
        for count in wanted:
            count.sites.add(site)
            count.wanted(site, waiting)
        if wanted:
            self._refused[site] = wanted

    def crowd(self, site: SiteKey, has_surplus: bool) -> int:
        """Our rates are parts. Where there is more than may be sent soon, all of them is wanted."""
        for rate in self._rates_of.get(site, ()):
            if has_surplus:
                rate.surplus.add(site)
            else:
                rate.surplus.discard(site)
        return 1

    def note_domain(self, site: SiteKey, domain: str) -> None:
        """Each engine finds by itself which rules hold; the lowest that any knows is what all share."""

    def noted(self) -> Iterable[tuple[SiteKey, str]]:
        """Nothing."""
        return ()

    def forget(self, site: SiteKey) -> None:
        """A site is no more here."""
        self.refused(site, (), 0)
        for rate in self._rates_of.pop(site, ()):
            rate.wants.pop(site, None)
            rate.surplus.discard(site)
            rate.sites.discard(site)

    @property
    def others_want(self) -> bool:
        """Whether any connection may have to go for others."""
        return self._others_want

    def free_again(self) -> Collection[SiteKey]:
        """Told by ``listen``'s callback."""
        return ()

    def listen(self, changed: Callable[[Collection[SiteKey] | None], None]) -> None:
        """Whom to tell."""
        self._changed = changed

    # -- for shares --------------------------------------------------------------------------------------------------

    def begin(self, share: Share) -> None:
        """A share is used: the store is to know."""
        share.active = True
        share.used_at = self.seconds()
        self._active[share.key] = share
        self.wake(share)

    def wake(self, share: Share) -> None:
        """There is something to tell the store of it."""
        self._urgent[share] = None
        self.on_wake()

    def part(self, share: Share) -> float:
        """What part of a limit may be used of which there is no share, for the store is gone."""
        return 1.0 / len(self.members) if self.gone and self.members else 0.0

    def units(self, share: Share) -> int:
        """The same, in whole units."""
        if not self.gone or not self.members:
            return 0
        members = sorted({*self.members, self.me})
        return part_without_store(share.number, len(members), members.index(self.me), share.spread)

    # -- with the store ----------------------------------------------------------------------------------------------

    def question(self, now: float, *, full: bool = True, leave: bool = False) -> tuple[Question, list[str]]:
        """What is to be said now, and the names of the limits that its lines are about. ``full``: a period is over;
        else only what is urgent."""
        self._seq += 1
        lines: list[Line] = []
        changed: set[SiteKey] = set()
        self._asked = list(self._active.values()) if leave else self._next_lines(full)
        for share in self._asked:
            before = share.held
            if leave:
                share.wants.clear()
                share.hold(0, now)
            lines.append(share.ask(now))
            if share.held != before:
                changed |= share.sites
        if changed:
            self._changed(changed)
        question = Question(self.me, self._life, self._seq, LEASE, GRACE, leave, lines)
        return question, [share.key for share in self._asked]

    def _next_lines(self, full: bool) -> list[Share]:
        """What is urgent; where a period is over, what others have, too, and some of the rest; if that is too much for
        one question, in turn."""
        urgent, self._urgent = [share for share in self._urgent if share.active], {}
        if not full:
            self._urgent = dict.fromkeys(urgent[MOST_LINES:])
            return urgent[:MOST_LINES]
        self._periods += 1
        due = self._periods % QUIET
        shares = [share for share in self._active.values() if not share.is_quiet or share.spread % QUIET == due]
        if len(shares) <= MOST_LINES:
            return shares
        start = self._turn % len(shares)
        self._turn = start + MOST_LINES
        return [*dict.fromkeys([*urgent, *shares[start:], *shares[:start]])][:MOST_LINES]

    def answered(self, answer: Answer, now: float) -> None:
        """What the store said."""
        asked, self._asked = self._asked, []
        if len(answer.told) != len(asked):  # it came late
            return
        was_gone, self.gone = self.gone, False
        self.members = answer.members or self.members
        self.engines = max(1, len(self.members))
        changed: set[SiteKey] = set()
        over = lowered = False
        for share, told in zip(asked, answer.told, strict=True):
            before = share.held, share.target
            share.told(told, now)
            if share.lower(now):
                self._urgent[share] = None
                lowered = True
            over |= isinstance(share, CountShare) and share.is_over
            if (share.held, share.target) != before:
                changed |= share.sites
            if share.is_idle and not told.held:
                share.active = share.known = False
                del self._active[share.key]
        self._others_want = over
        if changed or over or was_gone:
            self._changed(None if was_gone else changed)
        if lowered:
            self.on_wake()

    def missed(self) -> None:
        """No answer came; what was asked may have been heard all the same."""
        self._asked = []

    def lost(self) -> None:
        """The store has said nothing for ``LEASE``: what there is no share of is used by known numbers from now on."""
        if not self.gone:
            self.gone = True
            self._changed(None)

    def __repr__(self) -> str:
        return f"<Member {self.me} of {len(self.members)}: shares of {len(self._active)} limits>"
