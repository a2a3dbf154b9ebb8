"""Makes the message of a mail: its body fetched, what it needs gathered, the steps of the chain taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailerq.attempt import Outcome, State, Type
from mailerq.content.chain import Chain, take
from mailerq.content.step import ContentError, IContentStep, IGatheringStep, Occasion
from mailerq.interfaces import IMessageStore
from mailerq.mail import Mail

Ready = Callable[[Outcome | float | None], None]
"""What becomes of a making: None: ``mail.body`` is the message; an Outcome: why there is none; a number: nothing can be
said yet, ask again in so many seconds."""

Run = Callable[..., Deferred[Any]]
"""``run(function, *arguments)`` in a thread."""

_NO_STORE = Outcome(Type.NODATA, State.DATA, description="there is no message store, so nothing is found by the key")
_BUG = Outcome(Type.RESPONSIVE, State.DATA, description="the message could not be made; the log says how", passing=True)
_log = Logger()


class Contents:
    """``run``: runs a slow step in a thread. ``store`` None: there is none; ``store_retry``: seconds after which a body
    is asked for again where the store cannot be reached."""

    def __init__(
        self,
        clock: IReactorTime,
        chain: Chain,
        run: Run,
        store: IMessageStore | None = None,
        store_retry: float = 120.0,
    ) -> None:
        self.chain = chain
        self.store = store
        self.store_retry = store_retry
        self._store_is_down = False
        self._clock = clock
        self._run = run

    @property
    def always(self) -> bool:
        """Whether a mail may have to be made though its job asks for nothing."""
        return self.chain.always

    def make(self, mail: Mail, eight_bit: bool, ready: Ready) -> Deferred[Any]:
        """Make ``mail.body`` for a host; then ``ready`` is called, once, maybe before this returns. Cancel what is
        returned to give up: ``ready`` is not called then."""
        made = Deferred.fromCoroutine(self._make(mail, eight_bit))
        made.addCallbacks(ready, self._failed, errbackArgs=(ready,))
        made.addErrback(lambda failure: _log.failure("a mail could not go on", failure))
        return made

    def _failed(self, failure: Failure, ready: Ready) -> None:
        if failure.check(CancelledError):
            return
        _log.failure("a message could not be made", failure)
        ready(_BUG)

    async def _make(self, mail: Mail, eight_bit: bool) -> Outcome | float | None:
        body = await self._body(mail)
        if not isinstance(body, bytes):
            return body
        job = mail.job
        described = job.is_responsive or (not mail.has_body and body.lstrip()[:1] == b"{")
        steps = self.chain.steps_for(job, described)
        try:
            occasion = Occasion(self._clock.seconds(), eight_bit, await self._gather(steps, body, mail))
            if any(step.slow for step in steps):
                body = await self._run(take, steps, body, job, occasion)
            else:
                body = take(steps, body, job, occasion)
        except ContentError as error:
            return _outcome(error)
        mail.made(body)
        return None

    async def _body(self, mail: Mail) -> bytes | Outcome | float:
        """The body as the job or the store has it."""
        if mail.has_body:
            return mail.job.described() if mail.job.is_responsive else mail.body
        if self.store is None:
            return _NO_STORE
        key = mail.job.known.key
        try:
            body: bytes | None = await self.store.get(key)
        except ConnectionError as error:
            mail.blocked_by = "the message store"
            if not self._store_is_down:
                _log.warn("the message store cannot be used, mails wait: {error}", error=error)
            self._store_is_down = True
            return self.store_retry
        except ContentError as error:
            return _outcome(error)
        if self._store_is_down:
            _log.info("the message store can be used again")
        self._store_is_down = False
        if body is None:
            return Outcome(Type.NODATA, State.DATA, description=f"nothing is found in the store by the key {key!r}")
        return body

    async def _gather(self, steps: Sequence[IContentStep], body: bytes, mail: Mail) -> dict[str, Any]:
        found = {}
        for step in steps:
            if IGatheringStep.providedBy(step):
                found[step.name] = await step.gather(body, mail.job)
        return found


def _outcome(error: ContentError) -> Outcome:
    if error.type is Type.ERROR:
        return Outcome(Type.ERROR, description=f"the job cannot be used: {error.what}")
    return Outcome(error.type, State.DATA, description=error.what, reasons=error.reasons, passing=error.passing)
