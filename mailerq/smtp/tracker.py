"""Where a talk stands, and what each reply means there.

A host's reply does not say what it answers; only the order does (RFC 2920 section 3.1). So the tracker holds one
deque of steps, a step for every answer that is due. The first of them *is* the state: it is the answer that is
awaited, the state that a result names, and the row of the table below in which the next reply is looked up. Nothing
else decides, no flag and no number of bytes. When the connection ends, for whatever reason, the first step says how
far the mail in hand came, and so whether it may be sent again without doubt: only where the answer to the final dot
was due (``RECEIVED``) nobody knows.

At most two mails are on a connection. ``current`` is the one whose answers come first; ``following`` has been written
behind its message. A mail that was refused while answers to its
other commands were still due carries its refusal until those have come. If the host answers 354 although it refused
the sender or the recipient, the message is one dot, and the answer to that does not count (RFC 2920 section 3.1).

Pure: no transport, no clock. ``client.py`` writes what a ``Do`` asks for and adds the steps it has written.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any

from mailerq.attempt import Outcome, State, Type
from mailerq.reply import Reply


class Do(IntEnum):
    """What is to be done after a reply. NOTHING is false."""

    NOTHING = 0
    SEND = 1  # the next command of the mail in hand
    BODY = 2  # its message
    DOT = 3  # a message of nothing, as the mail was refused
    FINISH = 4  # the mail has its outcome: Tracker.outcome
    ODD = 5  # not a reply that SMTP allows here: close
    BYE = 6  # the host ends the connection (421)
    EHLO = 7
    HELO = 8
    OFFERS = 9  # the answer to EHLO (or HELO) is there
    TLS = 10
    AUTHENTICATED = 11
    CHALLENGE = 12
    REFUSED = 13  # the host will not have us: Step.refused says of what type that is
    CLOSE = 14
    RESET = 15  # RSET was not accepted: close


class Step:
    """One answer that is due.

    ``row``: what to do on 421, 1xx, 2xx, 3xx, 4xx, 5xx. ``lost``, ``silent``, ``odd``, ``refused``: the type of the
    outcome if the connection is lost, no answer comes in time, what comes is no answer, or it is a refusal.
    ``says`` names it in descriptions, ``due`` what is awaited; ``then`` is the step to be sent after it.
    """

    __slots__ = ("due", "lost", "odd", "refused", "row", "says", "silent", "state", "then")

    def __init__(
        self,
        state: State,
        says: str,
        row: tuple[Do, Do, Do, Do, Do, Do],
        types: tuple[Type, Type, Type, Type],
        then: Step | None,
    ) -> None:
        self.state = state
        self.says = says
        self.due = says if says.startswith("the TLS") or says == "the greeting" else f"the answer to {says}"
        self.row = row
        self.lost, self.silent, self.odd, self.refused = types
        self.then = then

    def __repr__(self) -> str:
        return f"<Step {self.state}>"


_FINISH, _ODD, _BYE, _NO, _QUIT, _RESET = Do.FINISH, Do.ODD, Do.BYE, Do.REFUSED, Do.CLOSE, Do.RESET
_SUCCESS, _ACCEPT = Type.SUCCESS, State.ACCEPT  # an enum's members cost more to reach than a name does
_NOTHING, _SEND, _BODY = Do.NOTHING, Do.SEND, Do.BODY
_WALL = (Type.NOACCESS,) * 4
_NAMED = (Type.LOST, Type.TIMEOUT, Type.ERROR, Type.NOACCESS)
_TLS = (Type.TLS,) * 4
_TALK = (Type.LOST, Type.TIMEOUT, Type.ERROR, Type.ERROR)

# fmt: off
_TABLE = {
    # awaited               421      1xx     2xx               3xx           4xx      5xx
    "the greeting":        (_NO,     _NO,    Do.EHLO,          _NO,          _NO,     _NO),
    "EHLO":                (_BYE,    _ODD,   Do.OFFERS,        _ODD,         Do.HELO, Do.HELO),
    "HELO":                (_BYE,    _ODD,   Do.OFFERS,        _ODD,         _NO,     _NO),
    "STARTTLS":            (_BYE,    _NO,    Do.TLS,           _NO,          _NO,     _NO),
    "the TLS handshake":   (_NO,     _NO,    _NO,              _NO,          _NO,     _NO),
    "AUTH":                (_BYE,    _ODD,   Do.AUTHENTICATED, Do.CHALLENGE, _NO,     _NO),
    "RSET":                (_RESET,  _RESET, Do.SEND,          _RESET,       _RESET,  _RESET),
    "MAIL FROM":           (_BYE,    _ODD,   Do.SEND,          _ODD,         _FINISH, _FINISH),
    "RCPT TO":             (_BYE,    _ODD,   Do.SEND,          _ODD,         _FINISH, _FINISH),
    "DATA":                (_BYE,    _ODD,   _ODD,             Do.BODY,      _FINISH, _FINISH),
    # a message whose final dot is not written yet: no answer is due, so none can be right
    "a part of a message": (_BYE,    _ODD,   _ODD,             _ODD,         _ODD,    _ODD),
    "the message":         (_BYE,    _ODD,   _FINISH,          _ODD,         _FINISH, _FINISH),
    # the lone dot of a refused mail: its answer ends it, whatever it is
    "an empty message":    (_BYE,    _ODD,   _FINISH,          _ODD,         _FINISH, _FINISH),
    "QUIT":                (_QUIT,   _QUIT,  _QUIT,            _QUIT,        _QUIT,   _QUIT),
}
# fmt: on


def _step(state: State, says: str, types: tuple[Type, Type, Type, Type] = _TALK, then: Step | None = None) -> Step:
    return Step(state, says, _TABLE[says], types, then)


INIT = _step(State.INIT, "the greeting", _WALL)
EHLO = _step(State.EHLO, "EHLO", _NAMED)
HELO = _step(State.HELO, "HELO", _NAMED)
STARTTLS = _step(State.STARTTLS, "STARTTLS", _TLS)
HANDSHAKE = _step(State.STARTTLS, "the TLS handshake", _TLS)
AUTH = _step(State.AUTH, "AUTH")
DATA = _step(State.DATA, "DATA")
RCPT = _step(State.RCPT, "RCPT TO", then=DATA)
MAIL = _step(State.MAIL, "MAIL FROM", then=RCPT)
RESET = _step(State.RESET, "RSET", then=MAIL)
SENDING = _step(State.DATA, "a part of a message")
RECEIVED = _step(State.RECEIVED, "the message")
DOT = _step(State.RECEIVED, "an empty message")
QUIT = _step(State.CLOSE, "QUIT")

ENVELOPE = (MAIL, RCPT, DATA)
"""What is due after a pipelined envelope."""


class Talk:
    """One mail on the wire: the lines to be written for it, and its refusal if it has one.

    ``large``: ``body`` is as it was given, and is to be written in slices; otherwise its line ends are CRLF.
    ``first``: no mail was on the connection before it. A talk that was made with a ``refusal`` cannot be sent to this
    host at all, and has no lines.
    """

    __slots__ = ("body", "first", "large", "mail", "mail_line", "rcpt_line", "refusal")

    def __init__(self, mail: Any, mail_line: bytes, rcpt_line: bytes, body: bytes, large: bool) -> None:
        self.mail = mail
        self.mail_line = mail_line
        self.rcpt_line = rcpt_line
        self.body = body
        self.large = large
        self.refusal: Outcome | None = None
        self.first = False


class Tracker:
    """The steps that are due and the mails they belong to.

    ``reset_due``: the last mail left a transaction open, which RSET must end before the next MAIL. ``step`` is the
    step that the last reply answered; ``outcome`` what came of ``current`` when ``take`` said FINISH.
    """

    __slots__ = ("current", "due", "following", "outcome", "reset_due", "step")

    def __init__(self) -> None:
        self.due: deque[Step] = deque()
        self.current: Talk | None = None
        self.following: Talk | None = None
        self.reset_due = False
        self.step: Step = INIT
        self.outcome: Outcome | None = None

    @property
    def state(self) -> State:
        """The answer that is awaited; ``idle`` where none is."""
        if self.due:
            return self.due[0].state
        return State.IDLE if self.current is None else State.DATA

    @property
    def awaited(self) -> Step:
        """The step whose answer is awaited; what comes between two steps belongs to the one before."""
        return self.due[0] if self.due else self.step

    def take(self, reply: Reply) -> Do:
        """What ``reply``, the answer to the first step that is due, asks for. At least one step must be due."""
        code = reply.code
        step = self.step = self.due.popleft()
        do = step.row[0 if code == 421 else code // 100]
        if do is _SEND:
            return _NOTHING if self.due else do
        if do is _FINISH:
            return self._finish(step, reply)
        if do is _BODY and self.current is not None and self.current.refusal is not None:
            return Do.DOT
        return do

    def _finish(self, step: Step, reply: Reply) -> Do:
        """A reply that decides about the current mail; it is over unless answers to its other commands are due."""
        talk = self.current
        assert talk is not None
        if step is RECEIVED:
            self.outcome = answer(step, reply)
            return _FINISH
        if talk.refusal is None:
            talk.refusal = answer(step, reply)
        if step is not DOT:
            if self.due:
                return Do.NOTHING
            self.reset_due = True
        self.outcome = talk.refusal
        return Do.FINISH

    def advance(self) -> Talk:
        """The current mail is over: it is returned, and the following one, if any, is the current."""
        talk = self.current
        assert talk is not None
        self.current, self.following = self.following, None
        return talk

    def end(self, step: Step, outcome: Outcome, lost: bool = False) -> list[tuple[Talk, Outcome | None]]:
        """The connection is over at ``step``, ``outcome`` being what is said of the current mail: all mails on it,
        each with its own outcome, or None for one that was not tried.

        A refusal that the host gave counts. A mail whose RSET failed was not tried. Nor was one before which the
        connection had carried others, if it was ``lost`` without an answer: many hosts close after a mail or a
        refusal, and the next one may be on its way already.
        """
        ends: list[tuple[Talk, Outcome | None]] = []
        if self.current is not None:
            untried = step is RESET or (lost and step is MAIL and not self.current.first)
            ends.append((self.current, self.current.refusal or (None if untried else outcome)))
        if self.following is not None:
            ends.append((self.following, None))
        self.due.clear()
        self.current = self.following = None
        return ends


def answer(step: Step, reply: Reply) -> Outcome:
    """What a 2xx, 4xx or 5xx makes of a mail."""
    if reply.code < 300:
        return Outcome(_SUCCESS, _ACCEPT, reply.code, reply.status, reply.text)
    text = reply.text or f"{reply.code} to {step.says}, without a text"
    return Outcome(Type.ERROR, step.state, reply.code, reply.status, text)
