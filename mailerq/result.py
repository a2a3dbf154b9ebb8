"""What is written down of a job: the results that users read, and the job as it goes back for a later try.

Never publishes; it makes Publications.
"""

from __future__ import annotations

from collections.abc import Mapping
from gzip import compress
from types import MappingProxyType
from typing import Protocol

import msgspec

from mailerq.attempt import utc
from mailerq.interfaces import Publication
from mailerq.job import Invalid, Job, write_seen
from mailerq.verdict import Again, Delivered, Parked, Retry, Verdict

LEVEL = 6  # of gzip: more costs much and gains little
_USED_UP = ("nextattempt", "delayed")
_OURS = ("seen",)
_text = msgspec.json.Encoder().encode


class QueueNames(Protocol):
    """The configured queues; None = off."""

    @property
    def outbox(self) -> str: ...
    @property
    def results(self) -> str | None: ...
    @property
    def success(self) -> str | None: ...
    @property
    def failure(self) -> str | None: ...
    @property
    def retry(self) -> str | None: ...
    @property
    def invalid(self) -> str | None: ...
    @property
    def results_include_retries(self) -> bool: ...


class Written(msgspec.Struct, frozen=True):
    """The queues that the copies of a result go to."""

    results: str | None
    success: str | None
    failure: str | None
    retry: str | None


class Kept(msgspec.Struct, frozen=True):
    """``store``: there is a message store; ``key``: the body of this job was put there, by that key."""

    store: bool = False
    key: str | None = None


NOT_KEPT = Kept()
IN_STORE = Kept(True)


def queues_of(job: Job, names: QueueNames) -> Written:
    """The job's own queues if it names any, else the configured ones."""
    own = job.known.queues
    if own is msgspec.UNSET:
        return Written(names.results, names.success, names.failure, names.retry)
    return Written(own.results, own.success, own.failure or own.failures, own.retry)


def publications(
    job: Job,
    verdict: Verdict,
    names: QueueNames,
    identity: str,
    seen: float,
    *,
    extra: Mapping[str, bytes] = MappingProxyType({}),
    kept: Kept = NOT_KEPT,
    told: bool = False,
) -> list[Publication]:
    """All that is published once a fate is decided; the attempt that led to it is the last entry of the job already.

    ``identity`` and the number of entries make the ``message-id``, which both copies of a result have if it is
    published twice, and no other result has. ``seen`` is the first pick-up, which travels with a retry. ``extra`` are
    properties (JSON) that a rule puts on the result. ``kept`` says what of the body is in the message store, ``told``
    that the sender is told, together with this, that the mail is late.
    """
    if isinstance(verdict, Again):
        return []
    if isinstance(verdict, Parked):
        seen_too = None if verdict.seen is None else write_seen(verdict.seen, identity, verdict.turn, job.told)
        queue = verdict.queue or names.outbox
        return [_back(job, queue, verdict.at, identity, seen_too, kept=kept, delayed=not verdict.queue)]
    queues = queues_of(job, names)
    if isinstance(verdict, Retry):
        seen_too = write_seen(seen, identity, told=told or job.told)
        back = _back(job, names.outbox, verdict.at, identity, seen_too, kept=kept)
        copy = _result(job, {**extra, "nextattempt": next_attempt(verdict.at)}, kept, final=False)
        included = queues.results if names.results_include_retries else None
        return [back, *_copies(copy, (queues.retry, included), _message_id(job, identity))]
    outcome = queues.success if isinstance(verdict, Delivered) else queues.failure
    if queues.results is None and outcome is None:
        return []
    return _copies(_result(job, dict(extra), kept), (queues.results, outcome), _message_id(job, identity))


def compressed(written: list[Publication]) -> list[Publication]:
    """The same, with gzip. Equal bodies stay equal: there is no time in it."""
    return [
        msgspec.structs.replace(one, body=compress(one.body, LEVEL, mtime=0), encoding="gzip")
        if one.encoding is None
        else one
        for one in written
    ]


def refused(body: bytes, encoding: str | None, why: Invalid, names: QueueNames) -> list[Publication]:
    """A body that is no job, byte for byte; the reason in the header ``reason``."""
    if names.invalid is None:
        return []
    return [Publication(names.invalid, body, headers={"reason": why.why}, encoding=encoding)]


def next_attempt(at: float) -> bytes:
    """``nextattempt`` as JSON. The time is rounded up to the whole second."""
    return b'{"time":"%s"}' % utc(-int(-at // 1)).encode()


def _back(
    job: Job, queue: str, due: float, identity: str, seen: bytes | None, *, kept: Kept, delayed: bool = True
) -> Publication:
    changes = {"nextattempt": next_attempt(due)}
    without: tuple[str, ...] = ("delayed",)
    if kept.key is not None:
        changes["key"] = _text(kept.key)
        without += ("mime",)
    if seen is not None:
        changes["seen"] = seen
    priority = job.known.priority
    return Publication(
        queue,
        job.written(without=without, changes=changes),
        # as it stands in the job: nobody gets it much earlier than that
        due=float(-int(-due // 1)) if delayed else None,
        message_id=_message_id(job, identity),
        priority=priority if isinstance(priority, int) else None,
    )


def _result(job: Job, changes: dict[str, bytes], kept: Kept, final: bool = True) -> bytes:
    if job.domain:
        changes["domain"] = _text(job.domain)
    without: tuple[str, ...] = _OURS + _USED_UP
    keep = bool(job.known.keepmime)
    if not keep or kept.key is not None:
        without += ("mime",)
    if kept.key is not None and (keep or not final):
        changes["key"] = _text(kept.key)
    elif kept.store and final and not keep:
        without += ("key",)
    return job.written(without=without, changes=changes)


def _message_id(job: Job, identity: str) -> str:
    return f"{identity}.{job.entries}"


def _copies(body: bytes, queues: tuple[str | None, ...], message_id: str) -> list[Publication]:
    return [Publication(queue, body, message_id=message_id) for queue in queues if queue is not None]
