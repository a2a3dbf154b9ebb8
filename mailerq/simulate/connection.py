"""A connection without a socket: what ``smtp/client.py`` promises, played between a scheduler and a scripted host."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from mailerq.attempt import Outcome, Peer, State, Type
from mailerq.reply import Reply
from mailerq.simulate.remote import LOST, REFUSED, SILENT, Answer

if TYPE_CHECKING:
    from mailerq.simulate.clock import Call
    from mailerq.simulate.network import Network

_TAKEN = Outcome(Type.SUCCESS, State.ACCEPT, 250, "2.0.0", "Taken")
_NO_TLS = Outcome(Type.TLS, State.EHLO, description="the host offers no TLS, which is required")


class Phase(IntEnum):
    """Where a connection is in its life."""

    CONNECTING = 0
    SETUP = 1
    READY = 2
    CLOSING = 3
    CLOSED = 4


class SimulatedConnection:
    """See ``IConnectionOwner`` and ``SmtpClient``. All is told from timers, so never from within the owner's calls."""

    __slots__ = (
        "_following",
        "_is_in",
        "_leaving",
        "_network",
        "_phase",
        "_remote",
        "_security",
        "_source",
        "_timeouts",
        "_timer",
        "connected_at",
        "host",
        "link",
        "mail",
        "number",
        "owner",
        "peer",
        "place",
        "provider",
        "ready_at",
        "sent",
        "state",
        "tls_seconds",
    )

    def __init__(self, network: Network, owner: Any, link: Any, security: str, *, timeouts: Any, number: int) -> None:
        self.owner = owner
        self.host = link.host
        self.link: Any = link
        self.number = number
        self.mail: Any = None
        self.sent = 0
        self.connected_at: float | None = None
        self.ready_at: float | None = None
        self.tls_seconds: float | None = None
        self._network = network
        self._security = security
        self._timeouts = timeouts
        self._source: str | None = link.source
        self.peer: Peer = network.peer(link.source, link.host)
        self.place = network.place(link.host)
        self._remote = network.remote(self.place)
        self.provider = self.place.provider
        self._phase = Phase.CONNECTING
        self.state = State.CONNECT
        self._leaving = False
        self._is_in = False
        self._following: Any = None
        self._timer: Call | None = None
        self._in(network.connect_time(self._remote.provider), self._arrived)

    def __repr__(self) -> str:
        return f"<SimulatedConnection {self.number} to {self.host.address}: {self._phase.name}, {self.sent} sent>"

    @property
    def usable(self) -> bool:
        """Whether it can be given a mail, if it has none."""
        return self._phase is Phase.READY and not self._leaving

    # -- what the owner may call -------------------------------------------------------------------------------------

    def give(self, mail: Any) -> None:
        """Send ``mail``; where that cannot be, the owner is told that it is ``unsent``."""
        if not self.usable or self.mail is not None:
            self._return(mail)
            return
        self.mail = mail
        self._begin(mail)
        self._in(self._talk(), self._envelope)

    def quit(self) -> None:
        """Close after the mails that are on it."""
        if self._phase < Phase.READY:
            self.abort()
        elif self.usable:
            self._leaving = True
            if self.mail is None:
                self._quit()

    def abort(self) -> None:
        """Close at once."""
        if self._phase is Phase.CONNECTING:
            outcome = Outcome(Type.CONNECT, State.CONNECT, description=f"gave up connecting to {self.host.address}")
            self._in(0, self._fail, outcome)
        elif self._phase is Phase.SETUP:
            self._in(0, self._fail, Outcome(Type.LOST, State.EHLO, description="closed by us"))
        elif self._phase is Phase.READY:
            self._phase = Phase.CLOSING
            self._in(0, self._break, Type.LOST, "closed by us", None)

    # -- setting up --------------------------------------------------------------------------------------------------

    def _arrived(self) -> None:
        network = self._network
        self._remote = network.remote(self.place)
        answer = self._remote.connect(self._source, network.since_start())
        if answer == REFUSED:
            text = f"{self.host.address} port {self.host.port} refused the connection"
            self._fail(Outcome(Type.REFUSED, State.CONNECT, description=text))
        elif answer == SILENT:
            text = f"cannot connect to {self.host.address}: no connection in {self._timeouts.connect:g} s"
            outcome = Outcome(Type.CONNECT, State.CONNECT, description=text)
            self._in(self._timeouts.connect, self._fail, outcome)
        else:
            self._phase = Phase.SETUP
            self.connected_at = network.clock.seconds()
            self._greeted(answer)

    def _greeted(self, answer: Answer) -> None:
        if isinstance(answer, Reply):
            self._network.recorder.minutes[self.provider].turned_away[-1] += 1
            outcome = Outcome(Type.NOACCESS, State.INIT, answer.code, answer.status, answer.text)
            self._in(self._talk(), self._fail, outcome)
            return
        self._is_in = True
        self._network.recorder.minutes[self.provider].opened()
        setup = 2 * self._talk()
        if self._remote.provider.tls and self._security != "none":
            self.tls_seconds = 2 * self._talk()
            setup += self.tls_seconds
        self._in(setup, self._set_up)

    def _set_up(self) -> None:
        answer = self._remote.on_hand(self._network.since_start())
        if answer == SILENT:
            text = f"the answer to EHLO did not come within {self._timeouts.reply:g} s"
            self._in(self._timeouts.reply, self._fail, Outcome(Type.TIMEOUT, State.EHLO, description=text))
        elif answer == LOST:
            text = "the connection was lost while the answer to EHLO was awaited"
            self._fail(Outcome(Type.LOST, State.EHLO, description=text))
        elif isinstance(answer, Reply):
            self._fail(Outcome(Type.ERROR, State.EHLO, answer.code, answer.status, answer.text))
        elif self._security in ("required", "verified") and not self._remote.provider.tls:
            self._fail(_NO_TLS)
        else:
            self._phase = Phase.READY
            self.ready_at = self._network.clock.seconds()
            self.state = State.IDLE
            self.owner.ready(self)
            self._rest()

    def _fail(self, outcome: Outcome) -> None:
        self._phase = Phase.CLOSED
        self._leave()
        self.owner.failed(self, outcome)

    # -- a mail ------------------------------------------------------------------------------------------------------

    def _begin(self, mail: Any) -> None:
        self.sent += 1
        self.state = State.RCPT
        self._network.went_out(self, mail)

    def _envelope(self) -> None:
        mail = self.mail
        answer = self._remote.envelope(self._source, mail.sender, mail.recipient, self._network.since_start())
        if answer is None:
            self._write_message()
        elif not isinstance(answer, Reply):
            self._breaks(answer)
        else:
            self._network.recorder.answered(self.provider, answer)
            outcome = Outcome(Type.ERROR, State.RCPT, answer.code, answer.status, answer.text)
            if answer.code == 421:
                self._bye(outcome)
            else:
                self._finish(outcome)

    def _write_message(self) -> None:
        provider = self._remote.provider
        if provider.pipelining and not self._leaving:
            following = self.owner.next_mail(self)
            if self._phase is not Phase.READY:
                if following is not None:
                    self._return(following)
                return
            if following is not None:
                self._following = following
                self._begin(following)
        self.state = State.RECEIVED
        self.owner.message_due(self, self.mail)
        if self._phase is Phase.READY:
            self._in(self._talk() + self.mail.size * 60.0 / provider.takes, self._message)

    def _message(self) -> None:
        answer = self._remote.message(self._network.since_start())
        if answer is None:
            self._network.recorder.answered(self.provider, None)
            self._finish(_TAKEN)
        elif not isinstance(answer, Reply):
            self._breaks(answer)
        else:
            self._bye(Outcome(Type.ERROR, State.RECEIVED, answer.code, answer.status, answer.text))

    def _finish(self, outcome: Outcome) -> None:
        mail, following = self.mail, self._following
        self.mail, self._following = following, None
        self.state = State.IDLE if following is None else State.RCPT
        self.owner.finished(self, mail, outcome)
        if self._phase is not Phase.READY:
            return
        if following is not None:
            self._envelope()  # its answers came with the one before
        elif self.mail is None and self._leaving:
            self._quit()
        else:
            self._rest()

    def _return(self, mail: Any) -> None:
        """It cannot be sent here, which is told in the next turn."""
        self._network.returning[mail] = None
        self._network.clock.callLater(0, self._returned, mail)

    def _returned(self, mail: Any) -> None:
        del self._network.returning[mail]
        self.owner.unsent(self, mail)

    @property
    def mails(self) -> tuple[Any, ...]:
        """The mails that are on it."""
        return tuple(mail for mail in (self.mail, self._following) if mail is not None)

    # -- the ends ----------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """A host may not let a connection be idle for long."""
        patience = self._remote.provider.closes_idle
        if patience is not None and self.mail is None and self.usable:
            self._in(patience, self._tired)

    def _tired(self) -> None:
        self._phase = Phase.CLOSING
        text = "the host closed the connection while it was idle"
        self._gone(Outcome(Type.IDLE, State.IDLE, description=text))

    def _quit(self) -> None:
        self._phase = Phase.CLOSING
        self._in(self._talk(), self._gone, None)

    def _breaks(self, how: str) -> None:
        """The host says nothing any more, or is gone."""
        step = "the message" if self.state is State.RECEIVED else "RCPT TO"
        if how == SILENT:
            patience = self._timeouts.end if self.state is State.RECEIVED else self._timeouts.reply
            text = f"the answer to {step} did not come within {patience:g} s"
            self._in(patience, self._break, Type.TIMEOUT, text, None)
        else:
            self._break(Type.LOST, f"the connection was lost while the answer to {step} was awaited", None)

    def _bye(self, outcome: Outcome) -> None:
        self._break(outcome.type, outcome.description, outcome)

    def _break(self, kind: Type, text: str, outcome: Outcome | None) -> None:
        """The talk is over: the mail in hand ends, the one behind it was not tried."""
        self._phase = Phase.CLOSING
        mail, following = self.mail, self._following
        self.mail = self._following = None
        if mail is not None:
            doubt = self.state is State.RECEIVED
            self.owner.finished(self, mail, outcome or Outcome(kind, self.state, description=text, in_doubt=doubt))
        if following is not None:
            self.owner.unsent(self, following)
        self._in(0, self._gone, None)

    def _gone(self, outcome: Outcome | None) -> None:
        self._phase = Phase.CLOSED
        self._leave()
        self.owner.gone(self, outcome)

    def _leave(self) -> None:
        if self._is_in:
            self._is_in = False
            self._remote.leave(self._source)
            self._network.recorder.minutes[self.provider].closed()
        self._network.closed(self)

    # -- time --------------------------------------------------------------------------------------------------------

    def _talk(self) -> float:
        return self._network.talk_time(self._remote.provider)

    def _in(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """What happens next, in place of what would have."""
        timer = self._timer
        if timer is not None and timer.call is not None:
            timer.cancel()
        self._timer = self._network.clock.callLater(seconds, call, *arguments)

    def cut(self) -> None:
        """Nothing happens any more: our process is gone. The host sees the connection end."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._phase is not Phase.CLOSED:
            self._phase = Phase.CLOSED
            self._leave()
