"""An open connection and the mails that are sent over it.

What a reply means is decided in ``tracker.py``; what becomes of a mail, by the owner (``interfaces.IConnectionOwner``).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailerq.attempt import Outcome, State, Type
from mailerq.reply import Reply
from mailerq.smtp import tracker, wire
from mailerq.smtp.connection import QUIT_PATIENCE, READY, Phase, quoted
from mailerq.smtp.envelope import prepare
from mailerq.smtp.opening import Opening
from mailerq.smtp.tracker import Do, Step, Talk, answer

LONG_IDLE = 1.0
"""After as many idle seconds the socket is looked at before a mail is written to it."""


@implementer(IPushProducer)
class SmtpClient(Opening):
    """See ``IConnectionOwner`` for what the owner is told, and when.

    ``mail`` is the mail in hand or None; ``sent`` how many have been begun; ``extensions`` what the host offers;
    ``peer`` who is at the two ends. ``connected_at`` and ``ready_at`` are times of the reactor's clock, None before;
    ``tls_seconds`` is how long the handshake took, None in clear. ``host`` is what the factory was given.
    """

    _slices: Iterator[bytes] | None = None
    _paused = False

    # What the owner may call

    def give(self, mail: Any) -> None:
        """Send ``mail``. Where the connection is not usable, or has a mail, the owner is told that it is ``unsent``."""
        self.voice.inside += 1
        try:
            if not self.usable or self.mail is not None or self._spoken_to():
                self.voice.tell(self.owner.unsent, self, mail)
                return
            talk = self._tracker.current = prepare(mail, self.extensions)
            self.mail = mail
            if talk.refusal is not None:
                self.voice.tell(self._skip, talk)
                return
            self._write(self._open(talk))
            self._await()
        finally:
            self.voice.inside -= 1

    def quit(self) -> None:
        """Say QUIT and close, after the mails that are on it; ``gone(connection, None)`` follows."""
        if self._phase in (Phase.CONNECTING, Phase.SETUP):
            self.abort()
        elif self.usable:
            self._leaving = True
            if self.mail is None:
                self._quit()

    def abort(self) -> None:
        """Close at once. A mail in hand ends ``lost``, in doubt if its message was sent; a connection that is not
        ready ends with ``failed``."""
        self.voice.inside += 1
        try:
            if self._phase is Phase.CONNECTING:
                text = f"gave up connecting to {self.options.address}"
                self.not_connected(Outcome(Type.CONNECT, State.CONNECT, description=text))
                if self.connector is not None:
                    self.connector.disconnect()
            elif self._phase is not Phase.CLOSED:
                step = self._tracker.awaited
                if self._tracker.current is not None or self._phase is Phase.SETUP:
                    self._end(step, Type.LOST, f"closed by us while {step.due} was awaited", ours=True)
                self._phase = Phase.CLOSING
                self.transport.abortConnection()
        finally:
            self.voice.inside -= 1

    # What a reply asks for, by ``Do``

    def do_nothing(self, reply: Reply) -> None:
        """Other answers are due."""

    def do_send(self, reply: Reply) -> None:
        talk = self._tracker.current
        step = self._tracker.step.then
        assert talk is not None and step is not None
        self._tracker.due.append(step)
        if step is tracker.RCPT:
            self._write(talk.rcpt_line)
        else:
            self._write(talk.mail_line if step is tracker.MAIL else wire.DATA)

    def do_body(self, reply: Reply) -> None:
        talk = self._tracker.current
        assert talk is not None
        if talk.large:
            self._tracker.due.append(tracker.SENDING)
            self._slices = wire.slices(talk.body)
            if self._outlet is not None:
                self._outlet.hold()
            self.transport.registerProducer(self, True)
            self.resumeProducing()
        else:
            self._complete(talk, wire.stuff_normal(talk.body))

    def _complete(self, talk: Talk, rest: bytes) -> None:
        """Write the end of a message, and the next mail's envelope behind it."""
        due = self._tracker.due
        following = None
        if self.extensions.pipelining and not self._leaving:
            mail = self.owner.next_mail(self)
            if mail is not None:
                if self._phase is not READY:
                    self.voice.tell(self.owner.unsent, self, mail)
                    return
                following = self._tracker.following = prepare(mail, self.extensions)
        if self._phase is not READY:
            return
        due.clear()
        due.append(tracker.RECEIVED)
        self.owner.message_due(self, talk.mail)
        if self._phase is not READY:
            return
        if following is None or following.refusal is not None:
            self._write(b"%b.\r\n" % rest)
        else:
            self._write(b"%b.\r\n%b" % (rest, self._open(following)))

    def do_dot(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.DOT)
        self._write(wire.END)

    def do_finish(self, reply: Reply) -> None:
        tracked = self._tracker
        outcome = tracked.outcome
        mail = tracked.advance().mail
        current = tracked.current
        self.mail = None if current is None else current.mail
        self.voice.tell(self.owner.finished, self, mail, outcome)
        if current is not None and current.refusal is not None and not tracked.due:
            self._skip(current)
        elif self._leaving and self.mail is None and self._phase is READY and not tracked.due:
            self._quit()

    def _skip(self, talk: Talk) -> None:
        """A mail that this host cannot get, and of which nothing was written."""
        if self._tracker.current is talk:
            self._tracker.outcome = talk.refusal
            self.do_finish(_NO_REPLY)

    def do_odd(self, reply: Reply) -> None:
        step = self._tracker.step
        what = "an answer before it was complete" if step is tracker.SENDING else f"this does not answer {step.says}"
        self._end(step, step.odd, f"{what}: {quoted(reply)}", reply)

    def do_bye(self, reply: Reply) -> None:
        step = self._tracker.step
        self._end(step, Type.ERROR, answer(step, reply).description, reply)

    def do_close(self, reply: Reply) -> None:
        self._close()

    def do_reset(self, reply: Reply) -> None:
        self._end(self._tracker.step, Type.ERROR, f"RSET was not accepted: {quoted(reply)}", reply)

    # Writing

    def _open(self, talk: Talk) -> bytes:
        """The commands of ``talk`` that can be written now; their answers are due."""
        tracked = self._tracker
        talk.first = not self.sent
        self.sent += 1
        reset, tracked.reset_due = tracked.reset_due, False
        if not self.extensions.pipelining:
            tracked.due.append(tracker.RESET if reset else tracker.MAIL)
            return wire.RSET if reset else talk.mail_line
        if reset:
            tracked.due.append(tracker.RESET)
        tracked.due += tracker.ENVELOPE
        return b"%b%b%bDATA\r\n" % (wire.RSET if reset else b"", talk.mail_line, talk.rcpt_line)

    def _quit(self) -> None:
        self._tracker.due.append(tracker.QUIT)
        self._write(wire.QUIT)
        self._await()

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
                self._stop_slices()
                self._complete(talk, b"")
                self._await()
                return
            self.transport.write(piece)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        """The connection is lost; connectionLost says so."""

    def _stop_slices(self) -> None:
        if self._slices is not None:
            self._slices = None
            self.transport.unregisterProducer()
            if self._outlet is not None:
                self._outlet.free()

    def _end(self, step: Step, kind: Type, text: str, reply: Reply | None = None, **how: bool) -> None:
        self._stop_slices()
        super()._end(step, kind, text, reply, **how)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._slices = None
        super().connectionLost(reason)

    def _spoken_to(self) -> bool:
        """Whether something came to an idle connection that the reactor has not read yet, which is most often the end:
        then it is not used any more, and what came decides; if that is nothing, we close."""
        if self.reactor.seconds() - self._since < LONG_IDLE or not has_input(self.transport):
            return False
        self._leaving = True
        self._deadline.within(QUIT_PATIENCE)
        return True


_NO_REPLY = Reply(0)
SmtpClient.acts = tuple(getattr(SmtpClient, f"do_{do.name.lower()}") for do in Do)


def has_input(transport: Any) -> bool:
    """Whether bytes, or the end, wait in the socket of ``transport``; False where it has none."""
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
