"""The record of one try: what came of it, between whom, and where the time went."""

from __future__ import annotations

from typing import Any

from mailerq.attempt import Attempt, Outcome, Peer, Type, utc
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
        reasons=[text] if outcome.type is Type.RESPONSIVE else None,
        in_doubt=outcome.in_doubt,
        mx=peer.mx,
        cipher=peer.cipher,
        certificate=peer.certificate,
        duration=round(now - mail.since, 6),
        timing=_timing(mail, link, now),
        waited=waited,
    )


def _timing(mail: Mail, link: Link | None, now: float) -> dict[str, float] | None:
    """Where the time went, in seconds: ``dns``, ``queue``, and on its connection ``connect``, ``tls``, ``smtp``."""
    if link is None:
        return None
    timing = {"dns": round(mail.routed - mail.since, 6)}
    given = mail.given
    if given is None:  # the connection that was opened for it did not come about
        timing["queue"] = round(max(0.0, link.opened - mail.routed), 6)
        timing["connect"] = round(now - max(link.opened, mail.routed), 6)
        return timing
    begun = given
    if link.opened >= mail.routed and link.ready is not None:
        begun = link.opened
        client: Any = link.client
        connected = client.connected_at or link.ready
        timing["connect"] = round(connected - link.opened, 6)
        if client.tls_seconds:
            timing["tls"] = round(client.tls_seconds, 6)
    timing["queue"] = round(begun - mail.routed, 6)
    timing["smtp"] = round(now - given, 6)
    return timing
