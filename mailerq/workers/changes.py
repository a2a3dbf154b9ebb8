"""Changes: what one worker finds out and all must know. Pure, plain values, one line of JSON each."""

from __future__ import annotations

from msgspec import Struct

from mailerq.pauses import Pause, Scope
from mailerq.slowdown import SlowDown


class Message(Struct, frozen=True, tag_field="kind", tag=str.lower):
    """Anything that parent and workers say to each other."""


class Paused(Message, frozen=True):
    """This pause holds, in place of any other of the same scope."""

    pause: Pause


class Resumed(Message, frozen=True):
    """The pause of this scope is over."""

    scope: Scope


class Slowed(Message, frozen=True):
    """A site has reduced limits for a time. ``site``: its key; ``source``: for that local address alone."""

    site: tuple[str, ...]
    source: str | None
    slowdown: SlowDown


class Crowded(Message, frozen=True):
    """A host has said at the time ``at`` (epoch seconds) that there are too many connections from the local address
    ``source``: what works, works, but none should open more. Passed on, and not remembered."""

    site: tuple[str, ...]
    source: str | None
    at: float


class Warmed(Message, frozen=True):
    """Of the schedule ``name``, day ``day`` was ``date`` (``2026-11-24``, UTC)."""

    name: str
    day: int
    date: str


Change = Paused | Resumed | Slowed | Crowded | Warmed
