"""What becomes of a job after an attempt: all failure policy in one place.

The table of the contract, as code. Never does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec import UNSET, Struct

from mailerq.attempt import Outcome, Type, utc
from mailerq.job import Job
from mailerq.retry import attempt_limit, deadline, lengthened, next_try

IDLES_IN_A_ROW = 3  # after so many, the next counts as ``lost``


class Policy(Protocol):
    """What of the configuration decides (``delivery``)."""

    @property
    def max_attempts(self) -> int: ...
    @property
    def max_delivery_time(self) -> float: ...
    @property
    def retry_interval(self) -> Sequence[float]: ...
    @property
    def in_doubt(self) -> str: ...
    @property
    def nohosts(self) -> str: ...


class Delivered(Struct, frozen=True):
    """The host took it. Final."""


class Failed(Struct, frozen=True):
    """It will not be tried again. Final."""


class Retry(Struct, frozen=True):
    """It is tried again at ``at`` (whole epoch seconds)."""

    at: float


class Parked(Struct, frozen=True):
    """No attempt was made: it waits at the broker until ``at``. ``seen`` is the first pick-up that travels with it;
    None where its time has not begun yet. ``turn``: what it was promised, which may be later than it asks; 0: none.
    ``queue``: where to, if it is not the outbox: another machine is to have it."""

    at: float
    seen: float | None
    turn: float = 0.0
    queue: str = ""


class Again(Struct, frozen=True):
    """It goes at once over another connection; this was no attempt."""


Verdict = Delivered | Failed | Retry | Parked | Again
DELIVERED, FAILED, AGAIN = Delivered(), Failed(), Again()

_SAID = frozenset({Type.ERROR, Type.NOACCESS})  # what a host has answered
_ALWAYS_FINAL = frozenset({Type.BIND, Type.NODATA, Type.EXPIRED})


def expired(job: Job, policy: Policy, now: float) -> Outcome | None:
    """Why the job may not be tried at all, if so. Looked at when it is read, and before each try."""
    limit = deadline(job, policy.max_delivery_time, now)
    if now > limit:
        return Outcome(Type.EXPIRED, description=f"was to be delivered before {utc(limit)}")
    most = attempt_limit(job, policy.max_attempts)
    if most and job.attempts >= most:
        return Outcome(Type.EXPIRED, description=f"{job.attempts} attempts were made, {most} are allowed")
    return None


def unusable(job: Job) -> Outcome | None:
    """Why the job cannot be used, if so: ``error`` without code and state, for nothing was connected."""
    if job.problem is not None:
        return Outcome(Type.ERROR, description=f"the job cannot be used: {job.problem}")
    return None


def settle_idle(job: Job, outcome: Outcome) -> Outcome:
    """An ``idle`` as it is to be recorded: after three in a row it is ``lost``."""
    if outcome.type is Type.IDLE and job.idles >= IDLES_IN_A_ROW:
        return Outcome(Type.LOST, outcome.state, outcome.code, outcome.status, outcome.description)
    return outcome


class Advice(Protocol):
    """What a rule for answers says of the job (``responses.py``); None: nothing."""

    @property
    def fail(self) -> bool | None: ...
    @property
    def retry_in(self) -> float | None: ...
    @property
    def hint(self) -> float | None: ...
    @property
    def sticky(self) -> bool: ...


def decide(
    job: Job,
    outcome: Outcome,
    policy: Policy,
    now: float,
    *,
    sure: bool = False,
    reaction: Advice | None = None,
    schedule: Sequence[float] | None = None,
) -> Verdict:
    """The fate of a job to which ``outcome`` has just been appended. ``sure``: a ``nohosts`` that DNS is certain of;
    ``reaction``: what the host's answer leads to; ``schedule``: the delays for its domain, if it has its own.

    A rule may make anything final, and what a host has said not final; attempts and time are limited all the same."""
    if outcome.type is Type.SUCCESS:
        return DELIVERED
    if outcome.type is Type.IDLE:
        return AGAIN
    told = None if reaction is None else reaction.fail
    if told is False and outcome.state is not None and outcome.type in _SAID:
        final = False
    else:
        final = told is True or _is_final(outcome, policy, sure)
    if final:
        return FAILED
    own = job.known.retries
    delays = own if own is not UNSET else schedule or policy.retry_interval
    return _retry_or_early_end(job, outcome, policy, now, partial(_due, job, delays, reaction))


def _is_final(outcome: Outcome, policy: Policy, sure: bool) -> bool:
    if outcome.type in _ALWAYS_FINAL:
        return True
    if outcome.type is Type.ERROR:
        no_host_was_asked = outcome.state is None and outcome.code is None
        return no_host_was_asked or (outcome.code is not None and 500 <= outcome.code <= 599)
    if outcome.type is Type.NOHOSTS:
        return sure and policy.nohosts == "fail"
    if outcome.type is Type.RESPONSIVE:
        return not outcome.passing
    return outcome.in_doubt and policy.in_doubt == "fail"


def _retry_or_early_end(
    job: Job, outcome: Outcome, policy: Policy, now: float, due: Callable[[float, float], float]
) -> Verdict:
    most = attempt_limit(job, policy.max_attempts)
    if most and job.attempts >= most:
        return FAILED
    limit = deadline(job, policy.max_delivery_time, now)
    if outcome.in_doubt and policy.in_doubt == "hold":
        return Retry(float(int(limit)) + 1.0)  # a person may look at it until it expires
    at = float(-int(-due(now, limit) // 1))  # the job carries whole seconds
    return FAILED if at > limit else Retry(at)


def _due(job: Job, delays: Sequence[float], reaction: Advice | None, now: float, limit: float) -> float:
    """When it is tried next. A rule's ``retry_in`` answers what the host said, so it goes before all schedules, the
    job's own, too. But a job that is greylisted once more must not use up its attempts within half an hour."""
    at = next_try(job.attempts, delays, now)
    if reaction is None:
        return at
    if reaction.retry_in is not None:
        ruled = now + reaction.retry_in
        at = max(at, ruled) if reaction.sticky and job.was_greylisted else ruled
    return lengthened(at, reaction.hint, now, limit)
