"""What becomes of a mail's body once its fate is decided: kept in the message store, left there, or removed from it.

The contract, section 5. A store that cannot be used never loses a mail: its body then stays in the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailerq.interfaces import IMessageStore
from mailerq.mail import Mail
from mailerq.result import Kept
from mailerq.verdict import Delivered, Failed, Parked, Retry, Verdict

OWN = "mailerq-"
"""What the keys of bodies that the engine has stored itself begin with."""
LINGER = 5.0
"""Seconds between a final result and the removal of its body: a job whose acknowledgement was lost just then comes
again, and another machine, which does not know what came of it, is to find the body."""
_log = Logger()


class Rules(Struct, frozen=True):
    """``policy``: whether bodies of jobs that go back are stored (``out``, ``all``) or not (``none``). ``delete``:
    which bodies are removed after the final result: ``all``, only our ``own``, ``none``. ``ttl``: seconds that a body
    is kept beyond the end of its mail's time."""

    policy: str = "out"
    delete: str = "all"
    ttl: float = 7 * 86400.0


class Keeping:
    """Keeps and removes bodies. ``pending``: how many are being stored."""

    def __init__(self, clock: IReactorTime, store: IMessageStore, rules: Rules) -> None:
        self.rules = rules
        self.pending = 0
        self._clock = clock
        self._store = store
        self._idle: list[Deferred[None]] = []
        self._doomed: set[Any] = set()  # removals that wait
        self._failing = False

    def concerns(self, mail: Mail, verdict: Verdict) -> bool:
        """Whether its body is to be stored before the verdict is published."""
        if not mail.has_body or mail.job.problem is not None:
            return False
        if isinstance(verdict, Retry | Parked):
            return self.rules.policy != "none"
        return isinstance(verdict, Delivered | Failed) and bool(mail.job.known.keepmime)

    def keep(self, mail: Mail, verdict: Verdict, then: Callable[[Kept], None]) -> None:
        """Store its body; ``then`` is called once, with a ``Kept`` without key where that was not possible."""
        job = mail.job
        body = job.body()
        assert body is not None
        key = job.known.key or f"{OWN}{mail.identity}"
        final = isinstance(verdict, Delivered | Failed)
        expires = (self._clock.seconds() if final else max(mail.deadline, self._clock.seconds())) + self.rules.ttl
        self.pending += 1
        stored = self._store.put(key, body, expires)
        kept = stored.addCallbacks(lambda _: self._worked(key), self._could_not).addCallback(then)
        kept.addErrback(lambda failure: _log.failure("a mail could not be settled", failure))
        kept.addBoth(self._one_less)

    def fetch(self, mail: Mail, then: Callable[[bytes | None], None]) -> None:
        """Its body, for its sender; ``then`` is called once, with None where it is not to be had."""
        self.pending += 1
        got: Deferred[Any] = self._store.get(mail.job.known.key)
        got.addErrback(self._could_not_fetch).addCallback(then)
        got.addErrback(lambda failure: _log.failure("a mail could not be settled", failure))
        got.addBoth(self._one_less)

    def _could_not_fetch(self, failure: Any) -> None:
        if not failure.check(ConnectionError):
            _log.failure("a body could not be fetched for its sender", failure)
        else:
            _log.warn("a sender is told of a mail without its header, as the store is away: {why}", why=failure.value)

    def _worked(self, key: str) -> Kept:
        self._failing = False
        return Kept(True, key)

    def _could_not(self, failure: Any) -> Kept:
        if not failure.check(ConnectionError):
            _log.failure("a body could not be stored", failure)
        elif not self._failing:
            _log.warn("the message store cannot be used, bodies stay in the jobs: {why}", why=failure.value)
        self._failing = True
        return Kept(True, None)

    def _one_less(self, _: object) -> None:
        self.pending -= 1
        if not self.pending:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def settled(self, mail: Mail, verdict: Verdict) -> None:
        """The verdict is published: a body that nobody needs is removed soon."""
        key, delete = mail.job.known.key, self.rules.delete
        if not key or mail.has_body or mail.job.known.keepmime or not isinstance(verdict, Delivered | Failed):
            return
        if delete == "none" or (delete == "own" and not key.startswith(OWN)):
            return
        call: Any = None

        def remove() -> None:
            self._doomed.discard(call)
            self._store.remove(key).addErrback(self._left, key)

        call = self._clock.callLater(LINGER, remove)
        self._doomed.add(call)

    def _left(self, failure: Any, key: str) -> None:
        if not failure.check(ConnectionError):
            _log.failure("a body could not be removed from the store: {key}", failure, key=key)
        else:
            _log.warn("a body stays in the store until its time is over: {key}: {why}", key=key, why=failure.value)

    async def close(self) -> None:
        """Fires once nothing is being stored, and what waits to be removed was."""
        if self.pending:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        for call in list(self._doomed):
            call.reset(0)
        if self._doomed:
            last: Deferred[None] = Deferred()
            self._clock.callLater(0, last.callback, None)
            await last
