"""The record of one try: what came of it, between whom, and where the time went."""

from __future__ import annotations

from typing import Any

from mailerq.attempt import Attempt, Outcome, Peer, Type, utc
from mailerq.dsn.words import NOTHING
from mailerq.lane import Link
from mailerq.mail import Mail


def record(
    mail: Mail, outcome: Outcome, peer: Peer | None, link: Link | None, now: float, *, bounce_class: str | None = None
) -> Attempt:
    """The record of what came of a try."""
    peer = Peer() if peer is None or outcome.type is Type.BIND else peer
    text = outcome.description
    waited = None
    if mail.given is not None and mail.blocked_by and mail.given - mail.routed > 0.001:
        waited = {"seconds": round(mail.given - mail.routed, 3), "limit": mail.blocked_by}
    return Attempt(
        mail.job.entry_number(),
        outcome.type,
        utc(now),
        source=peer.source,
        target=peer.target,
        code=outcome.code,
        status=outcome.status,
        bounce_class=bounce_class or None,
        description=text if text or outcome.type is not Type.SUCCESS else None,
        state=None if outcome.type is Type.BIND else outcome.state,
        reasons=list(outcome.reasons or (text,)) if outcome.type is Type.RESPONSIVE else None,
        in_doubt=outcome.in_doubt,
        dsn=mail.dsn is not None and mail.dsn.notify != NOTHING and outcome.type is Type.SUCCESS and _tells(link),
        mx=peer.mx,
        cipher=peer.cipher,
        certificate=peer.certificate,
        duration=_rounded(now - mail.since),
        timing=_timing(mail, link, now),
        waited=waited,
    )


def _tells(link: Link | None) -> bool:
    """Whether the host tells senders what becomes of their mail."""
    return link is not None and bool(link.client.extensions.dsn)


def _timing(mail: Mail, link: Link | None, now: float) -> dict[str, float] | None:
    """Where the time went, in seconds: ``dns``, ``queue``, and on its connection ``connect``, ``tls``, ``smtp``."""
    if link is None:
        return None
    timing = {"dns": _rounded(mail.routed - mail.since)}
    given = mail.given
    if given is None:  # the connection that was opened for it did not come about
        timing["queue"] = _rounded(max(0.0, link.opened - mail.routed))
        timing["connect"] = _rounded(now - max(link.opened, mail.routed))
        return timing
    begun = given
    if link.opened >= mail.routed and link.ready is not None:
        begun = link.opened
        client: Any = link.client
        connected = client.connected_at or link.ready
        timing["connect"] = _rounded(connected - link.opened)
        if client.tls_seconds:
            timing["tls"] = _rounded(client.tls_seconds)
    timing["queue"] = _rounded(begun - mail.routed)
    timing["smtp"] = _rounded(now - given)
    return timing


def _rounded(seconds: float) -> float:
    """To microseconds, in a fifth of the time that ``round`` takes."""
    return int(seconds * 1e6 + 0.5) / 1e6
