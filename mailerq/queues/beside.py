"""Queues beside the outbox: one for each local address of a machine, for jobs that only that machine can send.

Pure. What is not taken from such a queue for ``PATIENCE`` goes back to the outbox, so that the jobs of a machine that
is no more are looked at again.
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

PATIENCE = 600.0
"""Seconds for which a job waits for a machine that does not take it."""


def queue_of(outbox: str, address: str) -> str:
    """The name of the queue of a local address, however it is written."""
    with suppress(ValueError):  # what is no address, nobody has
        address = ip_address(address).compressed
    return f"{outbox}.ip-{address}"


def is_beside(outbox: str, queue: str) -> bool:
    """Whether that is the name of such a queue."""
    return queue.startswith(f"{outbox}.ip-")
