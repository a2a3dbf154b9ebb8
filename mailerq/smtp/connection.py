"""A connection to a remote host, whatever is said over it: reads replies, keeps the deadlines, ends.

Twisted's own SMTP client gives the name and the place; of its states none is used, as each of them talks about one
mail at a time, takes a 421 for a refusal, quits where there is nothing to send, and leaves dots unescaped.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.mail.smtp import ESMTPClient
from twisted.python.failure import Failure

from mailerq.attempt import Outcome, Peer, State, Type
from mailerq.reply import Reply
from mailerq.smtp import tracker, wire
from mailerq.smtp.auth import without_secrets
from mailerq.smtp.deadline import Deadline
from mailerq.smtp.extensions import NONE, Extensions
from mailerq.smtp.outlet import Outlet, outlet
from mailerq.smtp.reader import Garbage, Item, Overflow, Reader, quote
from mailerq.smtp.tls import ClientTls
from mailerq.smtp.tls_layer import TlsOutlet
from mailerq.smtp.tracker import Do, Step, Tracker
from mailerq.smtp.voice import Voice

if TYPE_CHECKING:
    from mailerq.smtp.factory import ConnectOptions

QUIT_PATIENCE = 5.0
"""Seconds for the answer to QUIT, and for the peer to let a connection be closed."""


class Phase(Enum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    SETUP = "setup"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"


READY, CLOSING, CLOSED = Phase.READY, Phase.CLOSING, Phase.CLOSED  # names cost less to reach than members of an enum
OVER = (CLOSING, CLOSED)


class Connection(ESMTPClient):
    """What ``SmtpClient`` is built on; its docstring names the attributes."""

    transport: Any
    acts: ClassVar[tuple[Callable[[Any, Reply], None], ...]]  # what to do for each Do
    __setattr__ = object.__setattr__  # the base class's own, in Python, costs more than a message may

    def __init__(self, reactor: Any, owner: Any, options: ConnectOptions, host: Any = None) -> None:
        super().__init__(None, None, options.hostname.encode("ascii", "ignore"))  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.owner = owner
        self.options = options
        self.host = host
        self.connector: Any = None
        self.mail: Any = None
        self.sent = 0
        self.extensions: Extensions = NONE
        self.peer = Peer(options.source, options.address, options.mx)
        self.connected_at: float | None = None
        self.ready_at: float | None = None
        self.tls_seconds: float | None = None
        self.voice = Voice(reactor)
        self._phase = Phase.CONNECTING
        self._leaving = False
        self._since: float = reactor.seconds()
        self._tracker = Tracker()
        self._reader = Reader()
        self._tls: ClientTls | None = None
        self._outlet: Outlet | TlsOutlet | None = None
        self._farewell: Outcome | None = None
        self._deadline = Deadline(reactor, options.timeouts.reply, self._expired)

    @property
    def usable(self) -> bool:
        """Whether it can be given a mail, if it has none."""
        return self._phase is READY and not self._leaving

    @property
    def state(self) -> State:
        """The answer that is awaited."""
        if self._phase is Phase.CONNECTING:
            return State.CONNECT
        if self._phase in OVER:
            return State.CLOSE
        return self._tracker.state

    def __repr__(self) -> str:
        options = self.options
        doing = self._phase.value if self._phase is not Phase.READY else str(self.state)
        seconds = self.reactor.seconds() - self._since
        to = f"{options.mx or ''}[{options.address}]:{options.port}"
        return f"<SmtpClient {to} {doing} for {seconds:.1f}s, {self.sent} sent>"

    # What Twisted calls

    def not_connected(self, outcome: Outcome) -> None:
        """The TCP connection could not be made (called by the factory)."""
        if self._phase is Phase.CONNECTING:
            self._phase = Phase.CLOSED
            self.voice.tell(self.owner.failed, self, outcome)

    def connectionMade(self) -> None:
        if self._tls is not None:  # a layer was put between us and the transport
            return
        if self._phase is not Phase.CONNECTING:
            self.transport.abortConnection()
            return
        self._phase = Phase.SETUP
        self._outlet = outlet(self.transport)
        self.connected_at = self.reactor.seconds()
        # The end of a message must not wait in the kernel for the acknowledgement of what was before it (RFC 896).
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        source = getattr(self.transport.getHost(), "host", None)
        self.peer = Peer(source or self.options.source, self.options.address, self.options.mx)
        self._tracker.due.append(tracker.INIT)
        self._await()

    def dataReceived(self, data: bytes) -> None:
        if self._phase in OVER:
            return
        reader, tracked = self._reader, self._tracker
        replies = reader.feed(data)
        if not replies:
            return
        due, take = tracked.due, tracked.take
        left = len(replies)
        for reply in replies:
            left -= 1
            if type(reply) is not Reply or not due:
                self._odd(reply)
                return
            do = take(reply)
            if do:
                if not due and (left or reader.pending) and do is not Do.CLOSE:
                    self._too_much(do, reply)
                    return
                self.acts[do](self, reply)
                if self._phase in OVER:
                    return
        self._await()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._phase is Phase.CLOSED:
            return
        if self._phase is not Phase.CLOSING:
            step = self._tracker.awaited
            if self._tls is not None and step is tracker.HANDSHAKE:
                text = f"the TLS handshake failed: {self._tls.failure(reason)}"
            else:
                when = f"{step.due} was awaited" if self._tracker.due else "it was idle"
                if reason.check(ConnectionDone):
                    text = f"the host closed the connection while {when}"
                else:
                    text = f"the connection was lost while {when}: {reason.getErrorMessage().rstrip('.')}"
            self._end(step, step.lost, text, lost=True)
        self._phase = Phase.CLOSED
        self._deadline.cancel()
        self._outlet = None
        if self._tls is not None:
            self._tls.forget()
        if self.ready_at is not None:
            self.voice.tell(self.owner.gone, self, self._farewell)

    # Deadlines

    def _await(self) -> None:
        """A new deadline for the answer that is due now, none where none is."""
        due = self._tracker.due
        if due:
            step = due[0]
            seconds = self.options.timeouts.end if step is tracker.RECEIVED else self._patience(step)
            self._since = self._deadline.within(seconds)
        else:
            self._deadline.none()
            self._since = self.reactor.seconds()

    def _patience(self, step: Step) -> float:
        timeouts = self.options.timeouts
        if step is tracker.RECEIVED or step is tracker.DOT:
            return timeouts.end
        if step is tracker.HANDSHAKE:
            return timeouts.tls
        return QUIT_PATIENCE if step is tracker.QUIT else timeouts.reply

    def _expired(self) -> None:
        step = self._tracker.awaited
        if self._phase is Phase.CLOSING or step is tracker.QUIT:
            self._phase = Phase.CLOSING
            self.transport.abortConnection()
            return
        if not self._tracker.due:  # what waited in the socket of an idle connection was nothing for us
            self._close(polite=True)
            return
        seconds = f"{self._patience(step):g} s"
        if step is tracker.SENDING:
            text = f"the host took nothing of the message for {seconds}"
        else:
            text = f"{step.due} {'was not done' if step is tracker.HANDSHAKE else 'did not come'} within {seconds}"
        self._end(step, step.silent, text)

    # The ends

    def _end(
        self,
        step: Step,
        kind: Type,
        text: str,
        reply: Reply | None = None,
        *,
        lost: bool = False,
        ours: bool = False,
        polite: bool = False,
    ) -> None:
        """The talk is over at ``step``: say what comes of it, and close. ``polite``: with a QUIT."""
        phase, self._phase = self._phase, Phase.CLOSING
        if step is tracker.AUTH:
            text = without_secrets(text, self.options)
        doubt = step is tracker.RECEIVED and not (reply and reply.code >= 400)
        code, status = (reply.code, reply.status) if reply else (None, None)
        outcome = Outcome(kind, step.state, code, status, text, in_doubt=doubt)
        if phase is Phase.SETUP:
            self.voice.tell(self.owner.failed, self, outcome)
        elif self._tracker.current is None and step is not tracker.QUIT and not ours:
            self._farewell = Outcome(Type.IDLE, State.IDLE, code, status, text)
        self.mail = None
        for talk, fate in self._tracker.end(step, outcome, lost):
            if fate is None:
                self.voice.tell(self.owner.unsent, self, talk.mail)
            else:
                self.voice.tell(self.owner.finished, self, talk.mail, fate)
        if not lost and not ours:
            self._close(polite)

    def _close(self, polite: bool = False) -> None:
        """Close; a peer that does not let us gets a few seconds."""
        self._phase = Phase.CLOSING
        self._deadline.within(QUIT_PATIENCE)
        if polite:
            self._write(wire.QUIT)
        self.transport.loseConnection()

    def _odd(self, item: Item) -> None:
        """It is no reply, or none was due."""
        step = self._tracker.awaited
        asked = bool(self._tracker.due)
        where = f"as {step.due}" if asked else "while the connection was idle"
        if step is tracker.QUIT:
            self._close()
        elif isinstance(item, Overflow):
            self._end(step, Type.OVERFLOW, f"{item.text}, {where}")
        elif isinstance(item, Garbage):
            self._end(step, step.odd, f"no SMTP reply, {where}: {item.quote}")
        else:
            self._end(step, step.odd, f"a reply that nobody asked for, {where}: {quoted(item)}", item)

    def _too_much(self, do: Do, reply: Reply) -> None:
        """More has come than was asked for. Where ``reply`` ended a mail, that stands, and the rest came idle."""
        step = self._tracker.step
        if do is Do.FINISH:
            self._leaving = True
            self.acts[do](self, reply)
            if self._phase is Phase.READY:
                text = "the host spoke while the connection was idle"
                self._farewell = Outcome(Type.IDLE, State.IDLE, description=text)
                self._close()
        elif step is tracker.STARTTLS:
            self._end(step, Type.TLS, "the host sent more before TLS began: it could be anybody's")
        else:
            self._end(step, step.odd, f"more than one reply as {step.due}, the first: {quoted(reply)}", reply)

    def _write(self, line: bytes) -> None:
        if self._outlet is None:
            self.transport.write(line)
        else:
            self._outlet.write(line)


def quoted(reply: Reply) -> str:
    """A reply as it may stand in a description."""
    return quote(f"{reply.code} {reply.status + ' ' if reply.status else ''}{reply.text}".rstrip())
