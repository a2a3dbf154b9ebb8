"""When a job is tried again, and until when it may be tried."""

from __future__ import annotations

from collections.abc import Sequence

from mailerq.job import Job


def next_try(attempts: int, schedule: Sequence[float], now: float) -> float:
    """The time of the next attempt after ``attempts`` were made (1 or more); the last delay repeats."""
    return now + schedule[min(attempts, len(schedule)) - 1]


def lengthened(at: float, hint: float | None, now: float, limit: float) -> float:
    """The time of an attempt that a host asked to wait for ``hint`` seconds with: later than ``at``, never earlier. A
    wait that the job would not outlive (``limit``) is not believed."""
    return at if hint is None or not at < now + hint <= limit else now + hint


def deadline(job: Job, max_delivery_time: float, now: float) -> float:
    """The time after which the job may not be delivered: its own, or counted from the first pick-up."""
    if job.maxdelivertime is not None:
        return job.maxdelivertime
    return (now if job.seen is None else job.seen) + max_delivery_time


def attempt_limit(job: Job, default: int) -> int:
    """How many attempts the job may have; 0 = no limit."""
    return job.known.maxattempts if isinstance(job.known.maxattempts, int) else default
