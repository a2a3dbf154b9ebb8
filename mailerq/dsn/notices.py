"""When the sender of a mail is told what became of it, and the job that tells it. Pure.

A bounce is never about a bounce: mail with the null reverse-path has nobody who could be told, and a bounce is such
mail. The same job with the same entries makes the same bounce, byte for byte: no clock is asked, so that one that is
published again after a crash is known to be the same.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from mailerq.attempt import Type
from mailerq.dsn.asked import Asked
from mailerq.dsn.described import header_of, is_described
from mailerq.dsn.report import DELAYED, FAILED, RELAYED, Report, write
from mailerq.dsn.statuses import status_of
from mailerq.dsn.words import DELAY, FAILURE, FULL, NOTHING, SUCCESS
from mailerq.interfaces import Publication
from mailerq.job import Job, parse_time, write_seen
from mailerq.retry import deadline
from mailerq.settings import Settings
from mailerq.verdict import Delivered, Failed, Retry, Verdict

_NAME = re.compile(r"[A-Za-z0-9.-]{1,64}")
_encode = msgspec.json.Encoder().encode


class Last(Struct):
    """What of the last entry of a job is told."""

    attempt: int = 1
    type: str = ""
    time: str = ""
    target: str | None = msgspec.field(default=None, name="to")
    code: int | None = None
    status: str | None = None
    description: str = ""
    mx: str | None = None
    dsn: bool = False


class Notice(Struct, frozen=True):
    """What is to be told: ``action`` is that of RFC 3464 section 2.3.3; ``queue``: where the bounce goes."""

    action: str
    asked: Asked
    last: Last
    tried: float
    queue: str


class Policy(Struct, frozen=True):
    """What the configuration says. ``outbox``: whose own bounces carry a mark, so that none is sent twice."""

    notify: tuple[str, ...]
    ret: str
    mta: str
    author: str
    delay_after: float
    queue: str | None
    outbox: str
    max_delivery_time: float

    @property
    def asks(self) -> bool:
        """Whether jobs that say nothing are asked for."""
        return self.notify != NOTHING


def policy_of(settings: Settings, our_name: str) -> Policy:
    """``our_name``: that of this host."""
    rules, names = settings.dsn, settings.queues
    mta = rules.mta or settings.smtp.hostname or our_name
    return Policy(
        notify=rules.notify,
        ret=rules.ret,
        mta=mta,
        author=rules.from_ or f"Mail Delivery System <mailer-daemon@{mta}>",
        delay_after=rules.delay_after,
        queue=names.dsn,
        outbox=names.outbox,
        max_delivery_time=settings.delivery.max_delivery_time,
    )


def asked_of(job: Job, policy: Policy) -> Asked | None:
    """What the job asks for, what it does not say being as configured. None: nothing."""
    own = job.dsn
    if own is None:
        if not policy.asks or not job.known.envelope or job.problem is not None:
            return None
        return Asked(policy.notify, policy.ret)
    notify = own.notify or (policy.notify if policy.asks and job.known.envelope else ())
    return msgspec.structs.replace(own, notify=notify, ret=own.ret or policy.ret)


def notice_of(job: Job, verdict: Verdict, asked: Asked, policy: Policy, seen: float) -> Notice | None:
    """What the sender is to be told because of ``verdict``, if anything. The attempt that led to it is the last entry
    of the job; ``seen`` is the first pick-up."""
    wanted = _wanted(verdict)
    if wanted not in asked.notify or not job.known.envelope or job.problem is not None or not job.added:
        return None
    own = job.known.queues
    queue = policy.queue if own is UNSET else own.dsn
    if queue is None or len(job.known.envelope) > 320:  # that is no address of a person (RFC 5321 section 4.5.3.1)
        return None
    last = msgspec.json.decode(job.added[-1], type=Last)
    tried = parse_time("time", last.time)
    if wanted == SUCCESS and last.dsn:  # its host tells
        return None
    if wanted == DELAY and (job.told or tried - seen < policy.delay_after):
        return None
    return Notice({SUCCESS: RELAYED, DELAY: DELAYED}.get(wanted, FAILED), asked, last, tried, queue)


def _wanted(verdict: Verdict) -> str:
    if isinstance(verdict, Delivered):
        return SUCCESS
    if isinstance(verdict, Failed):
        return FAILURE
    return DELAY if isinstance(verdict, Retry) else ""


def bounce(
    notice: Notice, job: Job, message: bytes | None, policy: Policy, *, identity: str, seen: float
) -> Publication:
    """The job that tells it. ``message``: the mail it is about, or the description of it, None where that is not at
    hand; ``identity``: that of the job it is about."""
    report = _report(notice, job, policy, identity, seen)
    full = notice.asked.ret == FULL and notice.action == FAILED  # (RFC 3461 section 4.3)
    if message is not None and is_described(message):
        message, full = header_of(message), False
    about: dict[str, Any] = {"action": notice.action, "recipient": report.recipient}
    if report.envid:
        about["envid"] = report.envid
    properties: dict[str, Any] = {
        "envelope": "",
        "recipient": report.to,
        "mime": write(report, message, full),
        "bounce": about,
    }
    if notice.queue == policy.outbox:  # a second copy of it is known by that
        properties["seen"] = msgspec.Raw(write_seen(0, report.identity))
    return Publication(notice.queue, _encode(properties), message_id=f"{report.identity}.{notice.action}")


def _identity(name: str) -> str:
    """A name that may stand anywhere, whoever has chosen it."""
    return name if _NAME.fullmatch(name) else sha256(name.encode()).hexdigest()[:32]


def _said(job: Job, last: Last) -> str:
    """What the host said, or what happened. That time is over does not say why: what was said before that does."""
    if last.type != Type.EXPIRED:
        return last.description or ("" if last.code is not None else last.type)
    try:
        before = msgspec.json.decode(job.pieces.get("results", b"[]"), type=list[Last])
        before += [msgspec.json.decode(entry, type=Last) for entry in job.added[:-1]]
    except msgspec.MsgspecError:  # entries that somebody else has written
        return last.description
    tried = next((one for one in reversed(before) if one.type not in (Type.IDLE, Type.EXPIRED)), None)
    if tried is None:
        return last.description
    answer = f"{tried.code} {tried.description}" if tried.code is not None else tried.description or tried.type
    return f"{last.description}; the last attempt: {answer}"


def _report(notice: Notice, job: Job, policy: Policy, identity: str, seen: float) -> Report:
    asked, last, recipient = notice.asked, notice.last, job.known.recipient or ""
    mta = asked.mta or policy.mta
    return Report(
        action=notice.action,
        identity=_identity(f"{identity}.{job.entries}.dsn"),
        to=job.known.envelope or "",
        author=asked.sender or policy.author,
        mta=mta,
        recipient=recipient,
        original=asked.orcpt or f"{'rfc822' if recipient.isascii() else 'utf-8'};{recipient}",
        envid=asked.envid,
        status=status_of(notice.action, last.type, last.code, last.status),
        code=last.code,
        said=_said(job, last),
        host=last.mx or last.target or "",
        arrived=seen,
        tried=notice.tried,
        attempts=last.attempt,
        until=deadline(job, policy.max_delivery_time, seen) if notice.action == DELAYED else None,
    )
