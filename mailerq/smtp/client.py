"""A connection to a remote host: it writes what the tracker asks for, reads replies, keeps the deadlines.

What a reply means is decided in ``tracker.py``; what becomes of a mail, by the owner (``interfaces.IConnectionOwner``).
Twisted's own SMTP client gives the name and the place; of its states none is used, as each of them talks about one
mail at a time, takes a 421 for a refusal, quits where there is nothing to send, and leaves dots unescaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.mail.smtp import ESMTPClient
from twisted.python.failure import Failure
from zope.interface import implementer

from mailerq.attempt import Outcome, Peer, State, Type
from mailerq.reply import Reply
from mailerq.smtp import auth, tracker, wire
from mailerq.smtp.envelope import prepare
from mailerq.smtp.extensions import NONE, Extensions, parse_extensions
from mailerq.smtp.reader import Garbage, Item, Overflow, Reader, quote
from mailerq.smtp.tls import ClientTls
from mailerq.smtp.tracker import Do, Step, Talk, Tracker, answer

if TYPE_CHECKING:
    from mailerq.smtp.factory import ConnectOptions

QUIT_PATIENCE = 5.0
"""Seconds for the answer to QUIT, and for the peer to let a connection be closed."""
LONG_IDLE = 1.0
"""After as many idle seconds the socket is looked at before a mail is written to it."""


class Phase(Enum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    SETUP = "setup"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"


_OVER = (Phase.CLOSING, Phase.CLOSED)


@implementer(IHandshakeListener, IPushProducer)
class SmtpClient(ESMTPClient):
    """See ``IConnectionOwner`` for what the owner is told, and when.

    ``mail`` is the mail in hand or None; ``sent`` how many have been begun; ``extensions`` what the host offers;
    ``peer`` who is at the two ends. ``connected_at`` and ``ready_at`` are times of the reactor's clock, None before;
    ``tls_seconds`` is how long the handshake took, None in clear. ``host`` is what the factory was given.
    """

    transport: Any
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
        self._phase = Phase.CONNECTING
        self._leaving = False
        self._since: float = reactor.seconds()
        self._tracker = Tracker()
        self._reader = Reader()
        self._tls: ClientTls | None = None
        self._auth: Iterator[bytes] = iter(())
        self._farewell: Outcome | None = None
        self._slices: Iterator[bytes] | None = None
        self._paused = False
        self._deadline: float | None = None
        self._timer: Any = None
        self._timer_at = 0.0
        self._inside = 0
        self._untold: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # What the owner may call

    @property
    def usable(self) -> bool:
        """Whether it can be given a mail, if it has none."""
        return self._phase is Phase.READY and not self._leaving

    @property
    def state(self) -> State:
        """The answer that is awaited."""
        if self._phase is Phase.CONNECTING:
            return State.CONNECT
        if self._phase in _OVER:
            return State.CLOSE
        return self._tracker.state

    def give(self, mail: Any) -> None:
        """Send ``mail``. Where the connection is not usable, or has a mail, the owner is told that it is ``unsent``."""
        with self.quietly():
            if not self.usable or self.mail is not None or self._closed_by_peer():
                self._tell(self.owner.unsent, self, mail)
                return
            talk = self._tracker.current = prepare(mail, self.extensions)
            self.mail = mail
            if talk.refusal is not None:
                self._tell(self._skip, talk)
                return
            self._write(self._open(talk))
            self._await()

    def quit(self) -> None:
        """Say QUIT and close, after the mails that are on it; ``gone(connection, None)`` follows."""
        with self.quietly():
            if self._phase is not Phase.READY:
                self.abort()
                return
            self._leaving = True
            if self.mail is None:
                self._quit()

    def abort(self) -> None:
        """Close at once. A mail in hand ends ``lost``, in doubt if its message was sent; a connection that is not
        ready ends with ``failed``."""
        with self.quietly():
            if self._phase is Phase.CONNECTING:
                text = f"gave up connecting to {self.options.address}"
                self.not_connected(Outcome(Type.CONNECT, State.CONNECT, description=text))
                if self.connector is not None:
                    self.connector.disconnect()
            elif self._phase is not Phase.CLOSED:
                step = self._tracker.awaited
                if self._tracker.current is not None or self._phase is Phase.SETUP:
                    self._end(step, Type.LOST, f"closed by us while the answer to {step.says} was due", ours=True)
                else:
                    self._phase = Phase.CLOSING
                self.transport.abortConnection()

    def __repr__(self) -> str:
        options = self.options
        doing = self._phase.value if self._phase is not Phase.READY else str(self.state)
        seconds = self.reactor.seconds() - self._since
        to = f"{options.mx or ''}[{options.address}]:{options.port}"
        return f"<SmtpClient {to} {doing} for {seconds:.1f}s, {self.sent} sent>"

    # Telling the owner

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """What there is to tell the owner meanwhile is told in a turn of the reactor of its own."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Once something waits to be told, all that comes later waits behind it."""
        if not self._inside and not self._untold:
            what(*arguments)
            return
        if not self._untold:
            self.reactor.callLater(0, self._tell_all)
        self._untold.append((what, arguments))

    def _tell_all(self) -> None:
        while self._untold:
            what, arguments = self._untold[0]
            try:
                what(*arguments)
            finally:
                del self._untold[0]

    # What Twisted calls

    def not_connected(self, outcome: Outcome) -> None:
        """The TCP connection could not be made (called by the factory)."""
        if self._phase is Phase.CONNECTING:
            self._phase = Phase.CLOSED
            self._tell(self.owner.failed, self, outcome)

    def connectionMade(self) -> None:
        if self._phase is not Phase.CONNECTING:
            self.transport.abortConnection()
            return
        self._phase = Phase.SETUP
        self.connected_at = self._since = self.reactor.seconds()
        source = getattr(self.transport.getHost(), "host", None)
        self.peer = Peer(source or self.options.source, self.options.address, self.options.mx)
        self._tracker.due.append(tracker.INIT)
        self._await()

    def dataReceived(self, data: bytes) -> None:
        if self._phase in _OVER:
            return
        replies = self._reader.feed(data)
        if not replies:
            return
        due = self._tracker.due
        left = len(replies)
        for reply in replies:
            left -= 1
            if type(reply) is not Reply or not due:
                self._odd(reply)
                return
            do = self._tracker.take(reply)
            if do:
                if not due and do is not Do.CLOSE and (left or self._reader.pending):
                    self._too_much(do, reply)
                    return
                _ACTS[do](self, reply)
                if self._phase in _OVER:
                    return
        self._await()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._phase is Phase.CLOSED:
            return
        if self._phase is not Phase.CLOSING:
            step = self._tracker.awaited
            why = reason.getErrorMessage().rstrip(".")
            if self._tls is not None and step is tracker.HANDSHAKE:
                text = f"the TLS handshake failed: {self._tls.failure(reason)}"
            elif self._tracker.due:
                text = f"connection lost while the answer to {step.says} was due: {why}"
            else:
                text = f"connection closed by the host while it was idle: {why}"
            self._end(step, step.lost, text, lost=True)
        setup = self.ready_at is None
        self._phase = Phase.CLOSED
        self._slices = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not setup:
            self._tell(self.owner.gone, self, self._farewell)

    def handshakeCompleted(self) -> None:
        """TLS stands: look at the certificate, then begin anew with EHLO (RFC 3207 section 4.2)."""
        if self._phase is not Phase.SETUP or self._tls is None:
            return
        self.tls_seconds = self.reactor.seconds() - self._since
        cipher, certificate = self._tls.facts()
        self.peer = Peer(self.peer.source, self.peer.target, self.peer.mx, cipher, certificate)
        if self.options.security == "verified" and not certificate["verified"]:
            text = f"the certificate is not to be trusted: {certificate.get('problem')}"
            self._end(tracker.HANDSHAKE, Type.TLS, text, polite=True)
            return
        self._tracker.due.clear()
        self._ehlo()
        self._await()

    # Deadlines: one timer, which looks at the deadline when it fires, so that a mail costs no callLater

    def _await(self) -> None:
        """A new deadline for the answer that is due now, none where none is."""
        due = self._tracker.due
        if not due:
            self._deadline = None
            return
        step = due[0]
        timeouts = self.options.timeouts
        if step is tracker.RECEIVED or step is tracker.DOT:
            seconds = timeouts.end
        elif step is tracker.HANDSHAKE:
            seconds = timeouts.tls
        else:
            seconds = timeouts.reply
        self._patience(seconds)

    def _patience(self, seconds: float) -> None:
        now = self.reactor.seconds()
        self._deadline = deadline = now + seconds
        if self._timer is None:
            self._arm(min(seconds, self.options.timeouts.reply))
        elif deadline < self._timer_at:
            self._timer.reset(seconds)
            self._timer_at = deadline

    def _arm(self, seconds: float) -> None:
        self._timer_at = self.reactor.seconds() + seconds
        self._timer = self.reactor.callLater(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        left = self._deadline - max(self.reactor.seconds(), self._timer_at)
        if left > 0:
            self._arm(min(left, self.options.timeouts.reply))
        elif self._phase is Phase.CLOSING or self._tracker.awaited is tracker.QUIT:
            self._phase = Phase.CLOSING
            self.transport.abortConnection()
        else:
            step = self._tracker.awaited
            timeouts = self.options.timeouts
            seconds = {tracker.RECEIVED: timeouts.end, tracker.HANDSHAKE: timeouts.tls}.get(step, timeouts.reply)
            if step is tracker.SENDING:
                text = f"the host took nothing of the message for {seconds:g} s"
            else:
                text = f"no answer to {step.says} in {seconds:g} s"
            self._end(step, step.silent, text)

    # The ends

    def _end(
        self,
        step: Step,
        kind: Type,
        text: str,
        reply: Reply | Garbage | None = None,
        *,
        lost: bool = False,
        ours: bool = False,
        polite: bool = False,
    ) -> None:
        """The talk is over at ``step``: say what comes of it, and close. ``polite``: with a QUIT."""
        phase, self._phase = self._phase, Phase.CLOSING
        doubt = step is tracker.RECEIVED and not (isinstance(reply, Reply) and reply.code >= 400)
        outcome = Outcome(
            kind, step.state, reply.code if reply else None, getattr(reply, "status", None), text, in_doubt=doubt
        )
        if self._slices is not None:
            self._slices = None
            self.transport.unregisterProducer()
        if phase is Phase.SETUP:
            self._tell(self.owner.failed, self, outcome)
        elif self._tracker.current is None and step is not tracker.QUIT and not ours:
            self._farewell = Outcome(Type.IDLE, State.IDLE, outcome.code, outcome.status, text)
        self.mail = None
        for talk, fate in self._tracker.end(step, outcome, lost):
            if fate is None:
                self._tell(self.owner.unsent, self, talk.mail)
            else:
                self._tell(self.owner.finished, self, talk.mail, fate)
        if not lost and not ours:
            self._close(polite)

    def _close(self, polite: bool = False) -> None:
        """Close; a peer that does not let us gets a few seconds."""
        self._phase = Phase.CLOSING
        self._patience(QUIT_PATIENCE)
        if polite:
            self.transport.write(wire.QUIT)
        self.transport.loseConnection()

    def _quit(self) -> None:
        self._tracker.due.append(tracker.QUIT)
        self._tracker.step = tracker.QUIT
        self._leaving = True
        self._write(wire.QUIT)
        self._patience(QUIT_PATIENCE)

    def _odd(self, item: Item) -> None:
        """It is no reply, or none was due."""
        step = self._tracker.awaited
        if step is tracker.QUIT:
            self._close()
        elif isinstance(item, Overflow):
            self._end(step, Type.OVERFLOW, f"{item.text}, as the answer to {step.says}")
        elif isinstance(item, Garbage):
            kind = step.odd
            self._end(step, kind, f"no SMTP reply to {step.says}: {item.quote}", item)
        else:
            self._end(step, step.odd, f"a reply that nobody asked for: {_quoted(item)}", item)

    def _too_much(self, do: Do, reply: Reply) -> None:
        """More has come than was asked for. Where ``reply`` ended a mail, that stands, and the rest came idle."""
        step = self._tracker.step
        if do is Do.FINISH:
            self._leaving = True
            self._do_finish(reply)
            if self._phase is Phase.READY:
                text = "the host spoke while the connection was idle"
                self._farewell = Outcome(Type.IDLE, State.IDLE, description=text)
                self._close()
        elif step is tracker.STARTTLS:
            self._end(step, Type.TLS, "the host sent more before TLS began: it could be anybody's")
        else:
            self._end(step, step.odd, f"more than one reply to {step.says}, the first: {_quoted(reply)}", reply)

    # What a reply asks for, by ``Do``

    def _do_nothing(self, reply: Reply) -> None:
        """Other answers are due."""

    def _do_send(self, reply: Reply) -> None:
        talk = self._tracker.current
        step = self._tracker.step.then
        assert talk is not None and step is not None
        self._tracker.due.append(step)
        if step is tracker.RCPT:
            self._write(talk.rcpt_line)
        else:
            self._write(talk.mail_line if step is tracker.MAIL else wire.DATA)

    def _do_body(self, reply: Reply) -> None:
        talk = self._tracker.current
        assert talk is not None
        if talk.large:
            self._tracker.due.append(tracker.SENDING)
            self._slices = wire.slices(talk.body)
            self.transport.registerProducer(self, True)
            self.resumeProducing()
        else:
            self._complete(talk, wire.stuff_normal(talk.body))

    def _complete(self, talk: Talk, rest: bytes) -> None:
        """Write the end of a message, and the next mail's envelope behind it."""
        due = self._tracker.due
        following = None
        if self.extensions.pipelining and not self._leaving:
            following = self.owner.next_mail(self)
        if following is not None:
            following = self._tracker.following = prepare(following, self.extensions)
        if self._phase is not Phase.READY:
            if following is not None:
                self._tell(self.owner.unsent, self, following.mail)
            return
        due.clear()
        due.append(tracker.RECEIVED)
        self.owner.message_due(self, talk.mail)
        if self._phase is not Phase.READY:
            return
        if following is None or following.refusal is not None:
            self.transport.write(b"%b.\r\n" % rest)
        else:
            self.transport.write(b"%b.\r\n%b" % (rest, self._open(following)))

    def _do_dot(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.DOT)
        self._write(wire.END)

    def _do_finish(self, reply: Reply) -> None:
        tracked = self._tracker
        outcome = tracked.outcome
        mail = tracked.advance().mail
        current = tracked.current
        self.mail = None if current is None else current.mail
        self._tell(self.owner.finished, self, mail, outcome)
        if current is not None and current.refusal is not None and current is tracked.current and not tracked.due:
            self._skip(current)
        elif self._leaving and self.mail is None and self._phase is Phase.READY and not tracked.due:
            self._quit()

    def _skip(self, talk: Talk) -> None:
        """A mail that this host cannot get, and of which nothing was written."""
        if self._tracker.current is not talk:
            return
        self._tracker.outcome = talk.refusal
        self._do_finish(Reply(0))

    def _do_odd(self, reply: Reply) -> None:
        step = self._tracker.step
        if step is tracker.SENDING:
            code = Type.ERROR
            self._end(step, code, f"answered before it was complete: {_quoted(reply)}", reply)
        else:
            self._end(step, step.odd, f"no answer to {step.says}: {_quoted(reply)}", reply)

    def _do_bye(self, reply: Reply) -> None:
        step = self._tracker.step
        self._end(step, Type.ERROR, answer(step, reply).description, reply)

    def _do_ehlo(self, reply: Reply) -> None:
        self._ehlo()

    def _ehlo(self) -> None:
        self._tracker.due.append(tracker.EHLO)
        self._reader.lines = ()
        self._write(wire.ehlo(self.options.hostname))

    def _do_helo(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.HELO)
        self._write(wire.helo(self.options.hostname))

    def _do_offers(self, reply: Reply) -> None:
        """EHLO (or HELO) is accepted: TLS if it is wanted and not there, then AUTH if it is wanted."""
        extended = self._tracker.step is tracker.EHLO
        self.extensions = parse_extensions(self._reader.lines) if extended else NONE
        security = self.options.security
        if self._tls is None and security != "none":
            if self.extensions.starttls:
                self._tracker.due.append(tracker.STARTTLS)
                self._write(wire.STARTTLS)
                return
            if security != "opportunistic":
                self._end(tracker.STARTTLS, Type.TLS, "TLS is required, and the host does not offer it", polite=True)
                return
        if self.options.username is None:
            self._ready()
            return
        try:
            self._auth = auth.exchange(self.options, self.extensions, secure=self._tls is not None)
            self._do_challenge(reply)
        except auth.NoAuth as problem:
            self._end(tracker.AUTH, Type.ERROR, str(problem), polite=True)

    def _do_tls(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.HANDSHAKE)
        self._since = self.reactor.seconds()
        self.extensions = NONE
        try:
            self._tls = ClientTls(self.options)
            self.transport.startTLS(self._tls)
        except Exception as problem:
            self._end(tracker.HANDSHAKE, Type.TLS, f"TLS could not be begun: {type(problem).__name__}: {problem}")

    def _do_challenge(self, reply: Reply) -> None:
        line = next(self._auth, None)
        if line is None:
            self._end(tracker.AUTH, Type.ERROR, "AUTH: the host asks for more than a name and a password", reply)
            return
        self._tracker.due.append(tracker.AUTH)
        self._write(line)

    def _do_authenticated(self, reply: Reply) -> None:
        self._ready()

    def _ready(self) -> None:
        self._phase = Phase.READY
        self._tracker.step = tracker.RECEIVED
        self.ready_at = self._since = self.reactor.seconds()
        self._tell(self.owner.ready, self)

    def _do_refused(self, reply: Reply) -> None:
        step = self._tracker.step
        text = reply.text or f"{reply.code} to {step.says}, without a text"
        if step is tracker.AUTH:
            text = auth.without_secrets(text, self.options)
        elif step.row[2] is not Do.NOTHING and reply.code < 400:
            text = f"no answer to {step.says}: {_quoted(reply)}"
        self._end(step, step.refused, text, reply, polite=True)

    def _do_close(self, reply: Reply) -> None:
        self._close()

    def _do_reset(self, reply: Reply) -> None:
        step = self._tracker.step
        self._end(step, Type.ERROR, f"RSET was not accepted: {_quoted(reply)}", reply)

    # Writing

    def _open(self, talk: Talk) -> bytes:
        """The commands of ``talk`` that can be written now; their answers are due."""
        due = self._tracker.due
        talk.first = not self.sent
        self.sent += 1
        reset, self._tracker.reset_due = self._tracker.reset_due, False
        if not self.extensions.pipelining:
            due.append(tracker.RESET if reset else tracker.MAIL)
            return wire.RSET if reset else talk.mail_line
        if reset:
            due.append(tracker.RESET)
        due.extend(tracker.ENVELOPE)
        return b"%b%b%bDATA\r\n" % (wire.RSET if reset else b"", talk.mail_line, talk.rcpt_line)

    def _write(self, line: bytes) -> None:
        self._since = self.reactor.seconds()
        self.transport.write(line)

    def resumeProducing(self) -> None:
        """The host takes more of a large message."""
        self._paused = False
        slices, talk = self._slices, self._tracker.current
        if slices is None or talk is None:
            return
        self._await()
        while not self._paused:
            piece = next(slices, None)
            if piece is None:
                self._slices = None
                self.transport.unregisterProducer()
                self._complete(talk, b"")
                self._await()
                return
            self.transport.write(piece)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        """The connection is lost; connectionLost says so."""

    def _closed_by_peer(self) -> bool:
        """Whether something came to an idle connection that the reactor has not read yet: then it is left alone, and
        what came decides."""
        if self.reactor.seconds() - self._since < LONG_IDLE:
            return False
        return has_input(self.transport)


def has_input(transport: Any) -> bool:
    """Whether bytes, or the end, wait in the socket of ``transport``; False where it has none."""
    import socket

    peek = getattr(getattr(transport, "socket", None), "recv", None)
    if peek is None:
        return False
    try:
        peek(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _quoted(item: Item) -> str:
    if isinstance(item, Reply):
        return quote(f"{item.code} {item.status + ' ' if item.status else ''}{item.text}".rstrip())
    return item.quote if isinstance(item, Garbage) else item.text


_ACTS: tuple[Callable[[SmtpClient, Reply], None], ...] = tuple(
    getattr(SmtpClient, f"_do_{do.name.lower()}") for do in Do
)
