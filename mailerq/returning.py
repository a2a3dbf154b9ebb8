"""What comes again: jobs that were in our hands when the broker was lost, or in those of a process that was killed, an
earlier life of ours or another worker of this machine. ``Deliveries`` (``delivery.py``) begins all others.

What is known of them is in ``doubles.py`` (this life), ``journal.py`` (the life before) and ``fellows.py`` (the other
workers, where there are any).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from hashlib import sha256
from typing import Any, Concatenate, ParamSpec

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailerq import verdict as fate
from mailerq.attempt import Outcome, Peer, State, Type
from mailerq.doubles import ADRIFT, Doubles
from mailerq.events import Events
from mailerq.fellows import AGAIN, Fellows, Waits
from mailerq.interfaces import IBroker, ITaken, Publication
from mailerq.job import Invalid, read
from mailerq.journal import Journal
from mailerq.journal_lines import Remembered
from mailerq.lane import Link
from mailerq.mail import Mail
from mailerq.scheduler import Scheduler
from mailerq.settings import Settings

WITHHELD = 1.0  # seconds after which a mail whose dot was withheld is tried again

_log = Logger()


P = ParamSpec("P")
Step = Callable[Concatenate[Any, Mail, P], None]


def careful(step: Step[P]) -> Step[P]:
    """A step that is called from elsewhere: what it raises is a bug of ours, and costs one mail its turn."""

    @wraps(step)
    def carefully(self: Returning, mail: Mail, /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            step(self, mail, *arguments, **named)
        except Exception:
            self.put_aside(mail.taken, mail.digest)

    return carefully


class Returning:
    """The part of ``Deliveries`` that knows what comes again. The steps of the way that it needs are named here."""

    in_hand: set[Mail]
    on_loss: Callable[[], None]
    _broker: IBroker
    _clock: IReactorTime
    _doubles: Doubles
    _events: Events
    _fellows: Fellows | None
    _journal: Journal
    _scheduler: Scheduler
    _settings: Settings
    _stopping: bool
    _undecided: set[ITaken]  # another worker may know more of these

    def _read(self, taken: ITaken, digest: bytes, came: float | None = None) -> None:
        raise NotImplementedError

    def _take(self, mail: Mail) -> None:
        raise NotImplementedError

    def _begin(self, mail: Mail) -> None:
        raise NotImplementedError

    def _end(self, mail: Mail, outcome: Outcome, peer: Peer | None = None) -> None:
        raise NotImplementedError

    def _settle(self, mail: Mail, verdict: fate.Verdict, again: bool = False) -> None:
        raise NotImplementedError

    def given_back(self, mail: Mail) -> None:
        raise NotImplementedError

    def put_aside(self, taken: ITaken, digest: bytes) -> None:
        raise NotImplementedError

    # -- a job that comes again --------------------------------------------------------------------------------------

    def _is_known(self, taken: ITaken, digest: bytes) -> bool:
        """Whether it is one that we had in hand before, in this life or the one before, and is taken care of."""
        fellows = self._fellows
        mail = self._doubles.claim(digest)
        while mail is not None and fellows is not None and not fellows.still_ours(mail):
            self._lose(mail)
            mail = self._doubles.claim(digest)
        if mail is not None:
            mail.taken = taken
            mail.came = self._clock.seconds()
            if mail.verdict is not None:
                self._settle(mail, mail.verdict, again=True)
            return True
        if self._doubles.was_settled(digest) and (fellows is None or not fellows.may_be_equal(digest)):
            self._over(taken, digest)
            return True
        if fellows is not None:
            return self._others_know(fellows, taken, digest)
        remembered = self._journal.recall(digest)
        return remembered is not None and self._resume(taken, digest, remembered)

    def _lose(self, mail: Mail) -> None:
        """Its job is another worker's, or was in between."""
        self.in_hand.discard(mail)
        self._doubles.taken_away(mail.digest)
        if mail.link is not None and mail.verdict is None:
            self._scheduler.withhold(mail, mail.link)

    def _others_know(self, fellows: Fellows, taken: ITaken, digest: bytes, waits: Waits | None = None) -> bool:
        """Whether another worker had it in hand, and what came of it is known, or soon will be."""
        now = self._clock.seconds()
        found = fellows.look(digest, now, waits)
        if isinstance(found, Waits):
            self._undecided.add(taken)
            self._scheduler.agenda.at(now + AGAIN, self._look_again, fellows, taken, digest, found)
            return True
        return found is not None and self._resume(taken, digest, found)

    def _look_again(self, fellows: Fellows, taken: ITaken, digest: bytes, waits: Waits) -> None:
        self._undecided.discard(taken)
        if taken.stale:
            return
        try:
            if not self._others_know(fellows, taken, digest, waits):
                self._read(taken, digest, waits.since)
        except Exception:
            self.put_aside(taken, digest)

    def _over(self, taken: ITaken, digest: bytes) -> None:
        """All that comes of it has been published; only the acknowledgement was lost, and may be so again."""
        self._events.doubled(digest.hex(), "this was settled, but its acknowledgement was lost")
        self._doubles.over(digest, self._clock.seconds())
        taken.settle([])

    def _resume(self, taken: ITaken, digest: bytes, remembered: Remembered) -> bool:
        """A job that was in hand when the process was killed: its final dot had been sent, or it had been decided."""
        if remembered.settled:
            self._over(taken, digest)
            return True
        job = read(taken.body, taken.encoding)
        if isinstance(job, Invalid) or job.problem:
            return False
        now = self._clock.seconds()
        mail = Mail(job, taken, digest, remembered.identity, now)
        self._take(mail)
        if remembered.verdict is None:
            self._events.doubled(mail.identity, "the process had ended after the final dot: it is in doubt")
            mail.peer = Peer(remembered.source, remembered.target, remembered.mx)
            text = "the process was ended before the answer to the message was read"
            self._end(mail, Outcome(Type.LOST, State.RECEIVED, description=text, in_doubt=True), mail.peer)
            return True
        self._events.doubled(mail.identity, "the process had ended before this was settled: published again")
        job.restore(remembered.entries)
        mail.seen = remembered.seen
        self._settle(mail, remembered.verdict, again=True)
        return True

    def _is_copy(self, taken: ITaken, digest: bytes) -> bool:
        """Whether a job that was put back to the outbox has come already."""
        fellows = self._fellows
        return self._doubles.is_copy(digest) or (fellows is not None and fellows.is_copy(digest, taken.redelivered))

    # -- a job of ours that has come to another worker ---------------------------------------------------------------

    def _look_before_the_dot(self, fellows: Fellows, mail: Mail, link: Link) -> None:
        """Whether it may be sent: after it was written down that it is, see ``Fellows.withholds``."""
        if fellows.withholds(mail):
            self._journal.settled(mail.identity)  # it is not sent
            self._scheduler.withhold(mail, link)
        elif mail.taken.stale:
            self._journal.adrift(mail.identity)

    def _not_sent(self, mail: Mail) -> None:
        """Its job had come to another worker, or an equal one had: if it was this one, we soon know that the broker was
        lost, and otherwise it is tried again."""
        self._scheduler.withheld.discard(mail)
        mail.lane = mail.link = None
        mail.forget_body()
        if mail not in self.in_hand:
            return
        if mail.taken.stale:
            self._doubles.give_up(mail)
            self._lose(mail)
        elif self._stopping:
            self.given_back(mail)
        else:
            now = self._clock.seconds()
            self._scheduler.agenda.at(now + WITHHELD, self._begin_withheld, mail, now)

    def _begin_withheld(self, mail: Mail, since: float) -> None:
        """The broker was not lost: what was said until then was said of an equal job."""
        mail.came = since
        self._begin(mail)

    def _not_decided(self, mail: Mail, verdict: fate.Verdict) -> None:
        """Its job had come to another worker, or an equal one had, before anything stood in our journal: this is not
        for us to decide."""
        self._journal.settled(mail.identity)
        if mail.taken.stale:
            self._doubles.give_up(mail)
            self._lose(mail)
        else:
            now = self._clock.seconds()
            self._scheduler.agenda.at(now + WITHHELD, self._decide_again, mail, verdict, now)

    def _decide_again(self, mail: Mail, verdict: fate.Verdict, since: float) -> None:
        if mail in self.in_hand and not mail.taken.stale:
            mail.came = since
            self._settle(mail, verdict)

    def _may_be_doubled(self, fellows: Fellows, written: Sequence[Publication]) -> None:
        """What is published once more may lie in the outbox already; whoever takes the second copy is to know."""
        for publication in written:
            if publication.queue == self._settings.queues.outbox:
                fellows.published_again(sha256(publication.body).digest()[:16])

    # -- the broker was lost -----------------------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """All that is in hand comes again (ITaker), to us or to another engine. What only waits is let go; talks go on,
        and what they come to is published when their jobs are here again."""
        _log.warn("the broker was lost with {count} jobs in hand: {reason}", count=len(self.in_hand), reason=reason)
        self._scheduler.let_go()
        waited = {mail for mail in self.in_hand if mail.link is None and mail.verdict is None}
        self.in_hand -= waited
        self._undecided.clear()
        self._journal.all_adrift()
        self.on_loss()
        for mail in self._doubles.lost(waited, self.in_hand, self._clock.seconds()):
            self._await_again(mail)

    def _await_again(self, mail: Mail) -> None:
        if not self._stopping:
            self._scheduler.agenda.at(self._clock.seconds() + ADRIFT, self._give_up, mail, mail.taken)

    def _give_up(self, mail: Mail, taken: ITaken) -> None:
        """It never came again: another engine has it."""
        if mail.taken is not taken:
            return
        if mail.verdict is None:
            self._await_again(mail)
            return
        self.in_hand.discard(mail)
        self._doubles.give_up(mail)
