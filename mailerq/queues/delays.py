"""Which delay queue a message takes on its way to its due time.

Pure. A delay queue has one time to live for all that lies in it, so nothing blocks behind its head; the way to a far
due time is made of several legs.
"""

from __future__ import annotations

from mailerq.interfaces import Publication

HOLD = 5.0
"""What is due within so many seconds is not delayed by the broker: who takes it holds it."""

SLACK = 1.0
"""So much later than asked is still in time; else what is due in ten minutes would miss the leg of ten minutes by the
milliseconds it takes to get there."""

DUE_HEADER = "x-due"
"""The header that carries the due time, an integer: milliseconds of the epoch."""

_LEGS = ((21600, "6h"), (3600, "1h"), (600, "10m"), (120, "2m"), (30, "30s"), (5, "5s"))


def delay_queues(outbox: str) -> dict[str, int]:
    """Names of the delay queues of ``outbox``, each with its delay in milliseconds."""
    return {f"{outbox}.delay.{name}": seconds * 1000 for seconds, name in _LEGS}


def next_leg(outbox: str, remaining: float) -> str | None:
    """The queue with the longest delay that ends in time (``SLACK`` late at most); None: what is left can be held."""
    if remaining > HOLD:
        for seconds, name in _LEGS:
            if seconds <= remaining + SLACK:
                return f"{outbox}.delay.{name}"
    return None


def due_header(publication: Publication) -> dict[str, int]:
    """The header that tells ``publication.due`` to whoever gets it."""
    return {DUE_HEADER: int((publication.due or 0) * 1000)}
