"""What is to be done at a site: values that ``site.py`` returns and ``scheduler.py`` carries out."""

from __future__ import annotations

from msgspec import Struct

from mailerq.lane import Lane, Link
from mailerq.mail import Mail
from mailerq.route import Host


class Open(Struct, frozen=True):
    """Open a connection to ``host`` from ``source`` (None: any) for ``mail``."""

    lane: Lane
    host: Host
    source: str | None
    mail: Mail


class Give(Struct, frozen=True):
    """Give ``mail`` to an idle connection."""

    link: Link
    mail: Mail


class Close(Struct, frozen=True):
    """Say QUIT to an idle connection."""

    link: Link


class Park(Struct, frozen=True):
    """Put ``mail`` back to the broker until ``until``; ``turn``: what it is promised, 0: nothing."""

    mail: Mail
    until: float
    why: str
    turn: float = 0.0


class Expire(Struct, frozen=True):
    """The time of ``mail`` ran out while it waited."""

    mail: Mail


class Stuck(Struct, frozen=True):
    """No host is left that ``mail`` could be sent to from where it may be sent."""

    mail: Mail


class WakeAt(Struct, frozen=True):
    """Ask again at ``time``, if nothing happens before."""

    time: float


Move = Open | Give | Close | Park | Expire | Stuck | WakeAt
