"""Commons: what this engine may use of the limits that several engines share. A seam.

Two things stand behind it: the shared memory of the workers of one machine (``shared_limits.py``), where a look and
what is taken because of it are one step under a lock, so that each worker may use all that is free; and shares of each
limit that a store gives to each engine. An engine that is alone has none (None), and pays for nothing.

Names are tuples: of a limit that is the site's own the site's key stands first, then what it is; ``ip`` and the remote
address begin the names of what all sites share there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Protocol

Name = tuple[str | None, ...]
SiteKey = tuple[str, ...]

ALL: Name = ("all connections",)
"""The name of the count of ``smtp.max-connections``."""


def digest_of(name: tuple[object, ...]) -> bytes:
    """16 bytes by which a name is found where it is kept; names are told apart by their ``repr``. It is the same in
    every file and every version: what stands there was written with it."""
    return blake2b(repr(name).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Cell(Protocol):
    """The due time of a pace that several engines use. What is written depends on what was read: both under the
    lock."""

    def read(self) -> tuple[float, float]:
        """The due time as it is now in epoch seconds (0: none, or long past), and the interval at which it was booked
        (0: unknown)."""

    def write(self, due: float, interval: float) -> None:
        """Keep another due time, booked at this interval."""


class Count(Protocol):
    """The connections of one kind (of a site, from a local address, to a remote one, being set up). ``mine`` are this
    engine's own; ``leaving`` those of them that are being closed for the sake of other engines (kept by who closes
    them)."""

    leaving: int

    @property
    def mine(self) -> int:
        """Those of this engine."""

    def allowed(self, limit: float) -> float:
        """How many this engine may have now, its own included, where all together may have ``limit``: may be less than
        ``mine``. Asked under the lock before one more is opened."""

    def others(self) -> int:
        """How many other engines have, as far as is known here; for people."""

    def opened(self) -> None:
        """This engine opens one more; under the lock."""

    def closed(self) -> None:
        """One of this engine's is gone."""

    def gives_way(self) -> bool:
        """Whether one more than those that are ``leaving`` is to be closed, as soon as its mail is done, because other
        engines want it and have less than their fair part."""


class Commons(Protocol):
    """What this engine may use of each limit. ``engines``: how many share what each has to find out by itself (how
    many connections a site bears); 1 where that is not known."""

    engines: int
    look_again: float | None
    """Seconds after which ``free_again`` is to be asked, as long as something is wanted or rests; None: never, for
    ``listen``'s callback tells of all."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """A look, and what is taken because of it, are one step within it. Whoever is in it may enter it again; where
        nothing has to be one step, it does nothing."""

    def seconds(self) -> float:
        """The time, as the scheduler has it."""

    def count(self, name: Name) -> Count:
        """The count of that name, for as long as it is held."""

    def cell(self, name: Name) -> Cell | None:
        """Where the due time of the pace of that name is shared; None: this engine has a pace of its own."""

    def rate(self, name: Name, per_minute: float, site: SiteKey) -> float:
        """How much of a rate this engine may use at a site; 0: nothing is known yet, or nothing is left for it. Asked
        when the limits of a site are looked up: at the first mail, and each time that ``listen``'s callback told of
        the site."""

    def refused(self, site: SiteKey, counts: Collection[tuple[Count, float]], waiting: int) -> None:
        """After each look at a site, under the same lock: the counts, with their limits, that kept one more connection
        from being opened (none: nothing did), and how many mails wait there. What it was refused before and not
        again, it does not want any more."""

    def crowd(self, site: SiteKey, has_surplus: bool) -> int:
        """How many engines, this one included, have more mail for a site than they may send soon. They share its pace:
        turns are promised as if each had that part of it. 1 where ``rate`` is a part already."""

    def note_domain(self, site: SiteKey, domain: str) -> None:
        """A rule holds for a site because this domain is found to be of it: the other engines are to know, or the site
        would have other limits there."""

    def noted(self) -> Iterable[tuple[SiteKey, str]]:
        """What other engines have noted so since the last time; under the lock, before each look."""

    def forget(self, site: SiteKey) -> None:
        """A site is no more, here."""

    @property
    def others_want(self) -> bool:
        """Whether ``gives_way`` may be true of any count: asked first, so it is to be cheap."""

    def free_again(self) -> Collection[SiteKey]:
        """The sites that may open now what they were refused."""

    def listen(self, changed: Callable[[Collection[SiteKey] | None], None]) -> None:
        """``changed(keys)`` is to be called when other parts hold for sites (None: for all): their rates are asked for
        again, and connections that are idle are asked whether they give way."""
