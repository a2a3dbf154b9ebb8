"""How a mail is settled once its fate is decided: its body stored where that is asked for, its sender told, all
published and acknowledged together. A part of ``Deliveries``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.logger import Logger

from mailerq import verdict as fate
from mailerq.content.keeping import Keeping
from mailerq.dsn.notices import Notice, Policy, bounce, notice_of
from mailerq.interfaces import ITaken, Publication
from mailerq.mail import Mail
from mailerq.result import IN_STORE, NOT_KEPT, Kept, compressed, publications
from mailerq.returning import Returning, careful

_log = Logger()


class Settling(Returning):
    """``_settle`` is where it begins, ``_settled`` where it ends."""

    _keeping: Keeping | None
    _dsn: Policy

    def _settle(self, mail: Mail, verdict: fate.Verdict, again: bool = False) -> None:
        mail.verdict = verdict
        if self._fellows is not None and mail not in self.in_hand:
            return  # it is another worker's
        dotted = self._fellows is None or self._journal.knows(mail.identity)
        self._journal.decided(mail.identity, mail.digest, verdict, mail.seen, mail.job.added)
        if not dotted and self._fellows is not None and self._fellows.withholds(mail):
            self._not_decided(mail, verdict)
            return
        if mail.taken.stale:  # it comes again, and is settled then
            self._journal.adrift(mail.identity)
            return
        keeping = self._keeping
        if keeping is not None and keeping.concerns(mail, verdict):
            keeping.keep(mail, verdict, partial(self._kept, mail, mail.taken, verdict, again))
            return
        kept = NOT_KEPT if keeping is None else IN_STORE
        if mail.dsn is None:
            self._put_out(mail, verdict, again, kept)
        else:
            self._publish(mail, verdict, again, kept)

    def _still_ours(self, mail: Mail, taken: ITaken) -> bool:
        """Whether what took a while is of use yet: the broker may have been lost, and the mail settled by its coming
        again."""
        if mail.taken is not taken:
            return False
        if taken.stale:
            self._journal.adrift(mail.identity)
            return False
        return True

    @careful
    def _kept(self, mail: Mail, taken: ITaken, verdict: fate.Verdict, again: bool, kept: Kept) -> None:
        """Its body was stored, which took a while."""
        if self._still_ours(mail, taken):
            self._publish(mail, verdict, again, kept)

    def _publish(self, mail: Mail, verdict: fate.Verdict, again: bool, kept: Kept) -> None:
        notice = None if mail.dsn is None else notice_of(mail.job, verdict, mail.dsn, self._dsn, mail.seen)
        if notice is None:
            self._put_out(mail, verdict, again, kept)
            return
        put_out = partial(self._put_out, mail, verdict, again, kept)
        if self._keeping is not None and not mail.has_body and mail.job.known.key:
            self._keeping.fetch(mail, partial(self._told, mail, mail.taken, notice, put_out))
        else:
            put_out(self._bounce(mail, notice, mail.job.body()))

    @careful
    def _told(
        self, mail: Mail, taken: ITaken, notice: Notice, put_out: Callable[..., None], message: bytes | None
    ) -> None:
        """The message that its sender is told about was fetched, which took a while."""
        if self._still_ours(mail, taken):
            put_out(self._bounce(mail, notice, message))

    def _bounce(self, mail: Mail, notice: Notice, message: bytes | None) -> Publication | None:
        """What its sender is told. A bug in that must not keep the result back."""
        try:
            return bounce(notice, mail.job, message, self._dsn, identity=mail.identity, seen=mail.seen)
        except Exception:
            _log.failure("a sender could not be told of {mail}", mail=mail)
            return None

    def _put_out(
        self, mail: Mail, verdict: fate.Verdict, again: bool, kept: Kept, telling: Publication | None = None
    ) -> None:
        """``telling``: what its sender is told, which is published together with the rest."""
        extra = mail.reaction.set if mail.reaction is not None else {}
        names = self._settings.queues
        told = telling is not None
        written = publications(mail.job, verdict, names, mail.identity, mail.seen, extra=extra, kept=kept, told=told)
        if telling is not None:
            written.append(telling)
        if names.compress != "none":
            written = compressed(written)
        if again and self._fellows is not None and not self._broker.transactional:
            self._may_be_doubled(self._fellows, written)
        mail.taken.settle(written, partial(self._settled, mail, mail.taken))

    def _settled(self, mail: Mail, taken: ITaken, done: bool) -> None:
        if done:
            self.in_hand.discard(mail)
            if self._keeping is not None and mail.verdict is not None:
                self._keeping.settled(mail, mail.verdict)
            if self._broker.transactional:
                self._journal.settled(mail.identity)
            else:
                equal = self._doubles.settled(mail.digest, self._clock.seconds())
                self._journal.acknowledged(mail.identity, equal)
        elif mail.taken is taken and self._doubles.drift(mail):
            self._journal.adrift(mail.identity)
            self._await_again(mail)
