"""The seams: what a queue, a message store and a resolver promise to those who use them.

Everything behind a seam can be exchanged; ``tests/contracts.py`` holds each kind to what is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailerq.attempt import Outcome


class Publication(msgspec.Struct, frozen=True):
    """One message to be put on a queue.

    ``due`` (epoch seconds): not to be given to a consumer of the queue before; None = at once. Only the outbox is
    delayed. ``message_id`` is the same for both copies where a broker may get one twice. ``headers`` hold strings and
    integers. ``priority`` is ignored by queues without priorities. ``encoding`` is ``gzip`` for a compressed body.
    """

    queue: str
    body: bytes
    due: float | None = None
    message_id: str | None = None
    headers: Mapping[str, Any] | None = None
    priority: int | None = None
    encoding: str | None = None


class QueueState(msgspec.Struct, frozen=True):
    """What lies in a queue. None = this broker cannot tell. ``oldest`` is the age of the oldest in seconds."""

    name: str
    ready: int
    waiting: int | None = None
    in_hand: int | None = None
    oldest: float | None = None


class ITaken(Interface):
    """A message in our hands that the broker still holds: it comes again unless it is settled."""

    body: bytes = Attribute("What was published, byte for byte.")
    encoding: str | None = Attribute("The content encoding it was published with (``gzip``), or None.")
    redelivered: bool = Attribute("Whether it may have been in somebody's hands before.")
    stale: bool = Attribute("True once the broker was lost since: it comes again, and cannot be settled any more.")

    def settle(publications: Sequence[Publication], done: Callable[[bool], None] | None = None) -> None:
        """Publish all, wait until the broker has confirmed all, then acknowledge. Never raises.

        ``done(True)``: it is over, the message does not come again. ``done(False)``: the broker was lost on the way (or
        refused a publication): the message comes again as another Taken; any of the publications may have been made.
        ``done`` is called once, never before ``settle`` has returned.
        """

    def give_back() -> None:
        """Leave it to the queue, unchanged, for anybody, at once. Only for stopping: never a means of waiting."""


class ITaker(Interface):
    """Who takes the jobs of the outbox."""

    def taken(taken: ITaken) -> None:
        """A message has come. Must not raise."""

    def lost(reason: str) -> None:
        """The broker is gone. All that was taken and not settled is stale; it comes again once the broker is back."""


class IBroker(Interface):
    """Durable queues. A Twisted service besides: ``startService`` connects, and goes on trying."""

    connected: bool = Attribute("Whether the broker can be used now.")
    transactional: bool = Attribute("Whether a settlement that is done cannot be undone by a crash right after it.")
    early: float = Attribute("A message may come so many seconds before its due time; whoever takes it holds it.")

    def ready() -> Deferred[None]:
        """Fires once the broker can be used (queues declared, publishing possible); fails with BrokerRefused where
        trying again is in vain (wrong password, queue of another kind, file in use), and then nothing more is tried."""

    def consume(queue: str, taker: ITaker, window: int) -> None:
        """Take from ``queue``, at most ``window`` messages in hand, in order of priority, then age; now and after each
        reconnection. May be called before the broker is ready. One consumer per broker object."""

    def consume_beside(queues: Sequence[str], window: int) -> None:
        """Take from these queues, too, and from no others: where several machines have one outbox, and each has a queue
        for each of its local addresses. A broker of one machine has no such queues, and does nothing."""

    def pause() -> None:
        """Take nothing new until ``resume``. What is in hand stays."""

    def resume() -> None:
        """Take again."""

    def publish(publications: Sequence[Publication], done: Callable[[bool], None]) -> None:
        """Put messages on queues without having taken one; ``done(True)`` when all are confirmed, ``done(False)`` when
        that is not known (lost) or was refused. Called once, never before ``publish`` has returned. Never raises."""

    def get(queue: str, count: int) -> Deferred[list[ITaken]]:
        """Up to ``count`` messages that are ready now; an empty list when there are none."""

    def states(queues: Sequence[str]) -> Deferred[list[QueueState]]:
        """How many lie in each queue; a queue that does not exist is left out."""

    def drain() -> Deferred[None]:
        """Stop taking; fires when all settlements and publications under way are confirmed, or the broker is lost.
        ``stopService`` closes; what is still in hand goes back."""


class BrokerRefused(Exception):
    """The broker cannot be used, and trying again would be in vain. The text says why and what to do."""


class IMessageStore(Interface):
    """Bodies by key. A Twisted service besides. Where it cannot be reached, each Deferred fails with ConnectionError,
    within the time-out it was made with, whose text names the store without a password."""

    batch: int = Attribute("Most bodies that one ``sweep`` removes.")

    def get(key: str) -> Deferred[bytes | None]:
        """The body; None: it is not there (or its time is over). A key is any text that is not empty. Fails with
        ContentError where a body is there that cannot be used: damaged, or too large once it is unpacked."""

    def put(key: str, body: bytes, expires: float | None) -> Deferred[None]:
        """Keep a body, in place of what was there; fires once a crash cannot lose it. ``expires`` (epoch seconds): when
        ``sweep`` may remove it; None: never."""

    def remove(key: str) -> Deferred[None]:
        """Forget a body; none there is fine."""

    def sweep(now: float) -> Deferred[int]:
        """Remove bodies whose time is over, a bounded number at a time; how many were removed."""


class IMail(Interface):
    """What a connection needs to know of a mail."""

    sender: str = Attribute("MAIL FROM without brackets, ASCII or UTF-8; empty for the null reverse-path.")
    recipient: str = Attribute("RCPT TO without brackets, ASCII or UTF-8.")
    body: bytes = Attribute("The message as the job has it: line ends of any kind, not stuffed.")
    dsn: Any = Attribute("What the host is asked to tell the sender (``dsn.asked.Asked``), or None.")


class IConnectionOwner(Interface):
    """Who gives mails to connections. Nothing it is told may raise; it is never called from within a call to it.

    ``connection`` is an ``smtp.client.SmtpClient``; each factory makes one and ends with exactly one ``failed`` (never
    became ready) or one ``gone`` (after it was ``ready``).
    """

    def ready(connection: Any) -> None:
        """Greeting, EHLO, TLS and AUTH are done: the connection can be given its first mail (``connection.give(mail)``)
        or be told to ``quit``. Called once."""

    def failed(connection: Any, outcome: Outcome) -> None:
        """The connection never became ready: connect, greeting, EHLO, TLS or AUTH failed. ``connection.peer`` says
        between whom."""

    def next_mail(connection: Any) -> Any:
        """On a host with PIPELINING, asked as the body of a mail is about to be written: a mail (IMail) whose MAIL,
        RCPT and DATA go out in the same write, or None."""

    def message_due(connection: Any, mail: Any) -> None:
        """Called directly before the write that holds the final dot of ``mail``, its state being ``received``."""

    def finished(connection: Any, mail: Any, outcome: Outcome) -> None:
        """The talk about ``mail`` is over. If ``connection.usable`` and ``connection.mail`` is None, another may be
        given at once or later; if ``connection.mail`` is a mail that ``next_mail`` returned, it is on its way already;
        if not ``usable``, ``gone`` follows."""

    def unsent(connection: Any, mail: Any) -> None:
        """``mail``, which was given or which ``next_mail`` returned, was not tried: the connection ended with the mail
        before it, or was not usable. It is as if it had never been given."""

    def gone(connection: Any, outcome: Outcome | None) -> None:
        """The connection is closed. ``outcome`` (type ``idle``) if the peer closed it or spoke while it was idle; None
        where we closed it, or where ``finished`` has told all."""
