"""Paths: over which local address and to which host a connection may be opened for a mail, or what keeps it.

Pure; asked by ``site.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailerq.allowance import NEVER
from mailerq.budget import CONNECT_RATES, MESSAGE_RATES, Budget, named

if TYPE_CHECKING:
    from mailerq.lane import Lane
    from mailerq.mail import Mail
    from mailerq.route import Host
    from mailerq.site import Round, Site

PATIENCE = 0.1  # seconds the first in a lane waits before one more connection is opened for its sake
MESSAGES_A_CONNECTION = 10  # so many mails wait for each connection before one more is opened at once


class Obstacles:
    """What keeps a connection from being opened: until when a pace (``late``), until when offline hosts (``back``),
    until when a pause (``paused``), whether an event is waited for. ``soon``: one will be, as soon as those that are
    being set up are, or the mail has waited for a moment."""

    __slots__ = ("back", "event", "late", "paused", "pausing", "soon")

    def __init__(self) -> None:
        self.back = self.late = self.paused = NEVER
        self.event = self.soon = False
        self.pausing = ""


class Wish:
    """A connection from ``source`` is wanted for ``mail``, the first of ``lane``."""

    __slots__ = ("lane", "mail", "source")

    def __init__(self, lane: Lane, mail: Mail, source: str | None) -> None:
        self.lane = lane
        self.mail = mail
        self.source = source


def find_host(site: Site, wish: Wish, around: Round, found: Obstacles) -> Host | None:
    """The first host in the order of this try that a connection may be opened to now; else what is waited for is noted
    in ``found``."""
    mail, source = wish.mail, wish.source
    if _is_paused(site, mail, source, around, found):
        return None
    budget = site.budget(source)
    at = may_open_at(site, wish, budget, around, found)
    if at is None or at > around.now:
        found.event |= at is None
        found.late = min(found.late, at or NEVER)
        return None
    most = budget.of("ip_max_connections")
    refused = len(site.census.refused)
    for host in around.world.order(site.route):
        address = host.address
        if address in mail.tried or not same_family(source, address):
            continue
        until = around.world.offline_until(address, source)
        at, why = _due(site, wish, budget, address, around.now)
        if until > around.now:
            found.back = min(found.back, until)
        elif any(site.census.is_full_at(value, source, address) for value in most):
            found.event = True
            mail.blocked_by = "ip-max-connections"
        elif at > around.now:
            found.late = min(found.late, at)
            mail.blocked_by = why
        else:
            del site.census.refused[refused:]  # the others are not needed
            return host
    return None


def _is_paused(site: Site, mail: Mail, source: str | None, around: Round, found: Obstacles) -> bool:
    pause = site.allowance.pause_from(source, mail, around.now)
    if pause is None:
        return False
    found.paused = min(found.paused, pause.end)
    found.pausing = pause.told
    return True


def may_open_at(site: Site, wish: Wish, budget: Budget, around: Round, found: Obstacles) -> float | None:
    """When one more connection may be opened, to whatever host; None: only an event can tell."""
    lane, mail, source = wish.lane, wish.mail, wish.source
    if around.world.room() <= len(around.opened):
        site.waits_for_room = True
        mail.blocked_by = "smtp.max-connections"
        return None
    full = _is_full(site, lane, source, budget)
    if full:
        mail.blocked_by = full
        found.soon |= full.startswith("max-starting")
        return None
    at = _window_opens(site, wish, budget, around.now)
    if at is None or at > around.now:
        found.soon |= site.allowance.window(source).ceiling is None  # it grows with what is delivered
        return at
    latest, why = _due(site, wish, budget, None, around.now)
    last = around.now if around.opened else site.last_start()
    for name, pace in budget.paces(MESSAGE_RATES[:1], None):
        if last + pace.interval > latest:  # each of those that start will want its turn
            latest, why = last + pace.interval, name
    if why:
        mail.blocked_by = why
    mine = lane.open_from.get(source, 0) // lane.sources.count(source)  # who has more turns has more connections
    enough = mine * budget.number("connection_min_messages", MESSAGES_A_CONNECTION)
    if mine and len(lane.waiting) <= enough and not mail.tried:
        found.soon |= latest <= around.now < mail.routed + PATIENCE
        latest = max(latest, mail.routed + PATIENCE)
    return latest


def _due(site: Site, wish: Wish, budget: Budget, address: str | None, now: float) -> tuple[float, str]:
    """When the paces allow one more connection, and the limit that allows it last. It is opened a little before its
    mail may go, or each would be late by the time that it takes to set up."""
    at, why = budget.next_time(CONNECT_RATES, address, now)
    if budget.paced:
        due, because = budget.next_time(MESSAGE_RATES, address, now)
        if not any(link.source == wish.source for link in wish.lane.idle):
            due -= min(site.set_up, 2 * budget.number("connection_max_idle", 1.0))
        if due > at:
            at, why = due, because
    return at, why


def _is_full(site: Site, lane: Lane, source: str | None, budget: Budget) -> str:
    """The limit on connections that is reached; '' if none is."""
    for value in budget.of("max_connections"):
        if site.census.is_full(value, source):
            site.is_full_for(lane)
            return named("max_connections", value)
    for value in budget.of("max_starting"):
        if site.census.is_busy(value, source):
            return named("max_starting", value)
    return ""


def _window_opens(site: Site, wish: Wish, budget: Budget, now: float) -> float | None:
    """When the number of connections that a site is believed to bear allows one more; None: only an event can tell."""
    window = site.allowance.window(wish.source)
    allowed = window.allowed(budget.number("max_connections"), now)
    if site.census.open_from.get(wish.source, 0) < allowed:
        return now
    wish.mail.blocked_by = "growing connections"
    site.is_full_for(wish.lane)
    return window.next_change(now)


def same_family(source: str | None, address: str) -> bool:
    """Whether a connection from ``source`` (None: any) to ``address`` can be."""
    return source is None or (":" in source) == (":" in address)
