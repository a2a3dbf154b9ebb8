"""Share: what one member has of one limit."""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol

from mailerq.commons import Name, SiteKey
from mailerq.shares.division import Claim, divide
from mailerq.shares.exchange import Line, Told
from mailerq.shares.parts import parts_of, rate_of, wanted_parts

LINGER = 4.0  # seconds that a share is kept for which there is no use, where nobody else has one
MAILS_EACH = 10  # so many mails wait for each connection that is wanted,
AT_LEAST = 4  # but so many are asked for at once: each later one has to be asked for, too
OF_BYTES = 50_000.0  # what a message is taken to have, where it is not known


class Around(Protocol):
    """The member that shares belong to. ``gone``: the store is."""

    me: str
    gone: bool

    def seconds(self) -> float:
        """The time."""

    def begin(self, share: Share) -> None:
        """This one is used: the store is to know of it."""

    def wake(self, share: Share) -> None:
        """There is something to tell the store of it."""

    def part(self, share: Share) -> float:
        """What part (0 to 1) of a limit may be used that there is no share of, because the store is gone."""

    def units(self, share: Share) -> int:
        """The same, in whole units."""


class Share:
    """``held`` is ours; ``target``: what we are to have, as far as is known here; ``claims``: what others
    have of it. ``wants``: how much is wanted, by site."""

    def __init__(self, around: Around, name: Name) -> None:
        self.around = around
        self.key = blake2b(repr(name).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        self.spread = int(self.key[:6], 16)
        self.number = 0
        self.held = 0
        self.target = 0
        self.claims: list[Claim] = []
        self.known = False  # whether the store has told of it
        self.active = False
        self.wants: dict[SiteKey, int] = {}
        self.said = 0  # how much was wanted when the store was last told
        self.used_at = 0.0
        self._turned = 0.0  # since then we hold some, or wait for it
        self.sites: set[SiteKey] = set()

    # -- what a kind of limit knows ----------------------------------------------------------------------------------

    @property
    def least(self) -> int:
        """What cannot be given back at once."""
        return 0

    def want(self) -> int:
        """How many units there is use for."""
        raise NotImplementedError

    def line(self, now: float) -> Line:
        """What is said to the store."""
        raise NotImplementedError

    def hold(self, held: int, now: float, due: float = 0.0) -> None:
        """So much is ours from now on; what is more than before, after ``due`` seconds."""
        self.held = held

    # -- with the store ----------------------------------------------------------------------------------------------

    def aim(self) -> None:
        """Find what is to be ours."""
        want = self.want()
        if not self.claims:
            self.target = min(max(want, self.held), self.number)
            return
        mine = Claim(self.around.me, self.held, want, self.around.seconds() - self._turned)
        number = min([self.number, *(other.number for other in self.claims)])
        self.target = divide(number, [mine, *self.claims])[self.around.me]

    def lower(self, now: float) -> bool:
        """Let go what is to be others'. Whether it was anything."""
        keep = max(min(self.held, self.target), self.least)
        if keep >= self.held:
            return False
        self.hold(keep, now)
        if not keep:
            self._turned = now
        return True

    def ask(self, now: float) -> Line:
        """What is said to the store; what there is no use for, and for a time was none, is given back."""
        want = self.want()
        if want or self.least:
            self.used_at = now
        elif self.held and now > self.used_at + LINGER:
            self.hold(0, now)
        self.aim()
        self.lower(now)
        self.said = want
        return self.line(now)

    def told(self, told: Told, now: float) -> bool:
        """What the store says. Whether it gave anything."""
        before = self.held
        self.claims = told.others
        self.known = True
        self._turned = now - told.since
        if told.held > self.held:
            self.hold(told.held, now, told.due)
        self.aim()
        return self.held > before

    def wants_now(self, site: SiteKey, many: int) -> None:
        """So much is wanted for a site; the store is told soon of what is more than it knows of."""
        self.wants[site] = many
        if not self.active:
            self.around.begin(self)
        elif self.want() > max(self.said, self.held):
            self.around.wake(self)

    @property
    def free_of_others(self) -> int:
        """What none of the others has."""
        return max(0, self.number - sum(other.held for other in self.claims))

    @property
    def is_quiet(self) -> bool:
        """Whether others have none, and we have all that we want."""
        return self.known and not self.claims and self.said <= self.held

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not self.held and not self.least and not self.want()


class CountShare(Share):
    """A number of connections (``commons.Count``)."""

    def __init__(self, around: Around, name: Name) -> None:
        super().__init__(around, name)
        self.mine = 0
        self.leaving = 0

    @property
    def least(self) -> int:
        """What cannot be given back at once."""
        return self.mine

    def want(self) -> int:
        """How many connections there is use for."""
        return min(self.number, self.mine + sum(self.wants.values()))

    def line(self, now: float) -> Line:
        """What is said to the store."""
        claim = max(self.held, self.mine)
        want = self.want()
        return Line(claim, max(claim, min(want, self.target)), want, self.number, 0.0, 0.0, 0.0)

    def allowed(self, limit: float) -> float:
        """How many there may be here."""
        if limit == float("inf"):
            return limit
        self.number = int(limit)
        if not self.active:
            self.around.begin(self)
        if self.held or not self.around.gone:
            return min(self.held, self.target)
        return min(self.around.units(self), self.free_of_others)

    def others(self) -> int:
        """How many other engines may have."""
        return sum(other.held for other in self.claims)

    def opened(self) -> None:
        """One more is being opened."""
        self.mine += 1

    def closed(self) -> None:
        """One is gone."""
        self.mine -= 1
        if self.held > self.target and self.lower(self.around.seconds()):
            self.around.wake(self)

    @property
    def is_over(self) -> bool:
        """Whether others are to have some of those that are in use here."""
        return self.known and self.mine - self.leaving > self.target

    def gives_way(self) -> bool:
        """Whether one more is to be closed."""
        return self.is_over

    def wanted(self, site: SiteKey, waiting: int) -> None:
        """A site was refused one more."""
        self.wants_now(site, max(AT_LEAST, waiting // MAILS_EACH + 1))


class RateShare(Share):
    """A pace of our own, at that part of a rate which we hold; and its due time (``commons.Cell``)."""

    def __init__(self, around: Around, name: Name, counts_bytes: bool) -> None:
        super().__init__(around, name)
        self.counts_bytes = counts_bytes
        self.per_minute = 0.0
        self.due = 0.0
        self.surplus: set[SiteKey] = set()  # sites with more mail than waits here: the broker keeps it
        self.now_at = 0.0  # a minute: at which ``due`` is being paid

    def want(self) -> int:
        """How many parts there is use for."""
        if self.surplus:
            return self.number
        return wanted_parts(sum(self.wants.values()), self.number, self.per_minute, self.counts_bytes)

    def line(self, now: float) -> Line:
        """What is said to the store."""
        want = self.want()
        least = rate_of(max(1, self.held), self.number, self.per_minute, self.counts_bytes)  # it may be given one now
        pay = 60.0 / least * (OF_BYTES if self.counts_bytes else 1.0)
        due = max(0.0, self.due - now)
        ask = max(self.held, min(want, self.target))
        return Line(self.held, ask, want, self.number, self.per_minute, due, pay)

    def limited(self, per_minute: float) -> float:
        """What of the rate may be used here."""
        now = self.around.seconds()
        if per_minute != self.per_minute:
            self.per_minute = per_minute
            self.number = parts_of(per_minute, self.counts_bytes)
            self._rerate(now)
        if not self.held:
            self._pay_at(self.around.part(self) * per_minute * self.free_of_others / self.number, now)
        return self.now_at

    def hold(self, held: int, now: float, due: float = 0.0) -> None:
        """So many parts are ours; what is owed is paid from now on at that rate."""
        if held > self.held and due > 0.0:
            self.due = max(self.due, now + due)
        self.held = held
        self._rerate(now)

    def told(self, told: Told, now: float) -> bool:
        """What the store says."""
        gave = super().told(told, now)
        self._rerate(now)
        return gave

    def _rerate(self, now: float) -> None:
        rates = [other.rate for other in self.claims if other.held and other.rate > 0.0]
        rate = min([self.per_minute, *rates])
        number = min([self.number, *(other.number for other in self.claims if other.held)])
        self._pay_at(rate_of(self.held, number, rate, self.counts_bytes), now)

    def _pay_at(self, rate: float, now: float) -> None:
        before, self.now_at = self.now_at, rate
        if self.due > now and before > 0.0 < rate != before:
            self.due = now + (self.due - now) * (before / rate)

    def read(self) -> tuple[float, float]:
        """The due time, and the interval at which it was booked."""
        return self.due, 60.0 / self.now_at if self.now_at else 0.0

    def write(self, due: float, interval: float) -> None:
        """Another due time."""
        self.due = due
