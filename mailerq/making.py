"""Messages that are made before they are sent: while one is made, its connection waits, or carries the mail before it.
A part of ``Scheduler``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mailerq.attempt import Outcome, State, Type
from mailerq.content.contents import Contents
from mailerq.lane import Lane, Link, Preparing
from mailerq.mail import Mail

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from mailerq.scheduler import Way


class Making:
    """``_with_message`` is where a mail comes in. The steps of the scheduler that are needed are named here."""

    contents: Contents | None
    way: Way
    withheld: set[Mail]
    _drained: Deferred[None] | None

    def now(self) -> float:
        """The time."""
        raise NotImplementedError

    def _pick(self, link: Link, now: float) -> Mail | None:
        raise NotImplementedError

    def _take_next(self, link: Link, now: float) -> Mail | None:
        raise NotImplementedError

    def _carry_on(self, link: Link, mail: Mail | None, now: float) -> None:
        raise NotImplementedError

    def _put_back(self, lane: Lane, mail: Mail) -> None:
        raise NotImplementedError

    def _with_message(self, link: Link, mail: Mail, now: float) -> Mail | None:
        """``mail``, if its message is there, or the first after it of which that is so, if those before could not be
        made. None: there is none, or its message is being made, which ``link.preparing`` says."""
        found: Mail | None = mail
        contents = self.contents
        while found is not None:
            found.lane = None
            found.link = link
            found.given = now
            if contents is None or (found.plain and not contents.always):
                link.sent += 1
                return found
            preparing = link.preparing = Preparing(found)
            making = contents.make(found, link.client.extensions.eightbit, partial(self._made, link, preparing))
            if link.preparing is preparing:
                preparing.making = making
                return self._prepared(link)
            found = self._pick(link, now)
        return None

    def _prepared(self, link: Link) -> Mail | None:
        """The mail whose message was made while the connection had another."""
        preparing = link.preparing
        if preparing is None or not preparing.ready:
            return None
        link.preparing = None
        link.sent += 1
        return preparing.mail

    def _made(self, link: Link, preparing: Preparing, outcome: Outcome | float | None) -> None:
        """A message was made, or cannot be, or not yet; its connection may be free, or busy with the mail before."""
        at_once, mail, now = preparing.making is None, preparing.mail, self.now()
        if outcome is None and now <= mail.deadline:
            preparing.ready = True
        else:
            link.preparing = None
            self._not_made(link, mail, outcome, now)
        if not at_once and link.client.usable and link.client.mail is None:
            self._carry_on(link, self._take_next(link, now), now)

    def _not_made(self, link: Link, mail: Mail, outcome: Outcome | float | None, now: float) -> None:
        mail.forget_body()
        if outcome is None:
            mail.link = None
            self.way.expired(mail)
        elif isinstance(outcome, Outcome):
            connected = outcome.type is not Type.ERROR  # else it is the job that cannot be used, wherever it goes
            self.way.ended(mail, outcome, link if connected else None)
        else:
            mail.link = None
            self.way.parked(mail, now + outcome, mail.blocked_by)

    def _stop_preparing(self, link: Link) -> Mail | None:
        """The mail whose message is being made for a connection, or was: it will not be sent over this one."""
        preparing, link.preparing = link.preparing, None
        if preparing is None:
            return None
        if preparing.making is not None:
            preparing.making.cancel()
        preparing.mail.link = preparing.mail.given = None
        preparing.mail.forget_body()
        return preparing.mail

    def _leave_unprepared(self, link: Link) -> None:
        """The connection went while the message of its next mail was being made."""
        mail = self._stop_preparing(link)
        assert mail is not None
        if mail in self.withheld:
            text = "closed by us while the message was being made"
            self.way.ended(mail, Outcome(Type.LOST, State.IDLE, description=text), link)
        elif self._drained is not None:
            self.way.given_back(mail)
        else:
            self._put_back(link.lane, mail)

    def _give_unprepared_back(self, link: Link) -> None:
        mail = self._stop_preparing(link)
        if mail is not None:
            self.way.given_back(mail)
        if link.client.mail is None:
            link.client.quit()
