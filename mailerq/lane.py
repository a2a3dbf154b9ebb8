"""Lanes and links: which mails may share a connection, and the connections of a site as the scheduler sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mailerq.mail import Mail
from mailerq.route import Host
from mailerq.waiting import Waiting

if TYPE_CHECKING:
    from mailerq.site import Site


class LaneKey(Struct, frozen=True):
    """What mails must have in common to share a connection. ``sources`` empty = any local address; one that stands
    there several times takes as many turns."""

    sources: tuple[str, ...] = ()
    security: str = "opportunistic"
    account: tuple[str, str] | None = None

    def __repr__(self) -> str:  # without the password
        sources = " ".join(self.sources) or "any address"
        return f"<LaneKey from {sources}, TLS {self.security}{f', as {self.account[0]}' if self.account else ''}>"


class Lane:
    """Mails that may share connections, in the order of their turns, and the connections that may take them."""

    __slots__ = ("idle", "key", "open_from", "site", "sources", "turn", "waiting")

    def __init__(self, site: Site, key: LaneKey, turn: int = 0) -> None:
        self.site = site
        self.key = key
        self.sources: tuple[str | None, ...] = key.sources or (None,)
        self.waiting = Waiting()
        self.idle: list[Link] = []
        self.open_from: dict[str | None, int] = {}  # connections by local address
        self.turn = turn  # which of several local addresses is next


class Preparing(Struct):
    """The message of ``mail`` is being made. ``ready``: it is, but the connection still carries another."""

    mail: Mail
    ready: bool = False
    making: Any = None


class Link:
    """One connection, as the scheduler sees it. ``mail`` is the one it was opened for, until it is ready;
    ``preparing`` is under way, with its mail, while the message of that one is made for it (None: it is not)."""

    __slots__ = ("client", "host", "idle_since", "lane", "mail", "opened", "preparing", "ready", "sent", "source")

    def __init__(self, lane: Lane, host: Host, source: str | None, mail: Mail, now: float) -> None:
        self.lane = lane
        self.host = host
        self.source = source
        self.mail: Mail | None = mail
        self.client: Any = None
        self.opened = now
        self.ready: float | None = None
        self.idle_since = 0.0
        self.sent = 0
        self.preparing: Preparing | None = None

    def __repr__(self) -> str:
        return f"<Link to {self.host.address}, {self.sent} sent: {self.client!r}>"
