"""A remote site as its provider's script plays it: whom it lets in, what it answers.

Pure; the dice are given. ``connection.py`` asks it, and carries the answers.
"""

from __future__ import annotations

from random import Random

from mailerq.reply import Reply
from mailerq.simulate.dice import luck
from mailerq.simulate.provider import Provider

SILENT, REFUSED, LOST = "silent", "refused", "lost"
Answer = Reply | str | None
"""A refusal, or SILENT, REFUSED or LOST; None: yes."""


class Remote:
    """One site. ``since_start`` is the time; ``source`` is our address, by which the site knows us."""

    __slots__ = ("_counts", "_dice", "_greylists", "_minute", "_seed", "connections", "number", "provider", "waits")

    def __init__(self, provider: Provider, number: int, seed: int, dice: Random) -> None:
        self.provider = provider
        self.number = number
        self._seed = seed
        self._dice = dice
        share = provider.greylisted
        self._greylists = provider.greylist is not None and (
            share >= 1.0 or luck(seed, f"greylist {provider.name} {number}") < share
        )
        self.connections: dict[str | None, int] = {}
        self.waits: dict[tuple[str | None, str, str], float] = {}  # when the first attempt of each was greylisted
        self._minute = -1
        self._counts: dict[str | None, int] = {}

    def connect(self, source: str | None, since_start: float) -> Answer:
        """Whether one more connection is let in; if so, it is counted until ``leave``."""
        provider = self.provider
        away = provider.away(since_start)
        if away:
            return _BYE if away == "421" else away
        there = self.connections.get(source, 0)
        if provider.max_connections is not None and there >= provider.max_connections:
            return provider.too_many
        self.connections[source] = there + 1
        return None

    def leave(self, source: str | None) -> None:
        """A connection that was let in is gone."""
        left = self.connections[source] - 1
        if left:
            self.connections[source] = left
        else:
            del self.connections[source]

    def on_hand(self, since_start: float) -> Answer:
        """What an outage says to whatever is said on an open connection."""
        away = self.provider.away(since_start)
        if not away:
            return None
        return _BYE if away == "421" else LOST if away == REFUSED else SILENT

    def envelope(self, source: str | None, sender: str, recipient: str, since_start: float) -> Answer:
        """What is answered to MAIL and RCPT."""
        away = self.on_hand(since_start) if self.provider.outages else None
        if away is not None:
            return away
        provider = self.provider
        if provider.unknown and luck(self._seed, recipient) < provider.unknown:
            return provider.no_such_user
        if self._greylists and self._must_wait(source, sender, recipient, since_start):
            return provider.greylisting
        if provider.deferred and self._dice.random() < provider.deferred:
            return provider.not_now
        if provider.messages_per_minute is not None and not self._counts_in(source, since_start):
            return provider.too_fast
        return None

    def _must_wait(self, source: str | None, sender: str, recipient: str, since_start: float) -> bool:
        first = self.waits.setdefault((source, sender, recipient), since_start)
        if since_start - first < (self.provider.greylist or 0.0):
            return True
        del self.waits[source, sender, recipient]
        return False

    def _counts_in(self, source: str | None, since_start: float) -> bool:
        """Whether one more is within the rate of this minute, in which it is counted then."""
        minute = int(since_start // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        count = self._counts.get(source, 0)
        if count >= (self.provider.messages_per_minute or 0.0):
            return False
        self._counts[source] = count + 1
        return True

    def message(self, since_start: float) -> Answer:
        """What is answered to a message."""
        provider = self.provider
        away = self.on_hand(since_start) if provider.outages else None
        if away is not None:
            return away
        if provider.drops and self._dice.random() < provider.drops:
            return LOST
        return None

    @property
    def is_new(self) -> bool:
        """Whether one that is made anew would be the same."""
        return not (self.connections or self.waits or self._counts)


_BYE = Reply(421, "4.3.2", "The service is not available")
