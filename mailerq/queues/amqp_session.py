"""What is under way over one connection: deliveries in hand, publications without a confirm, settlements.

The hot path. It lives as long as its link; what was under way when the link ends comes again over the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from mailerq.interfaces import Publication
from mailerq.queues import delays, frames
from mailerq.queues.amqp_link import MAIN, Link, LinkUser
from mailerq.queues.amqp_properties import Properties, message_id
from mailerq.queues.amqp_taken import AmqpTaken, Batch, Done, Entry, Owner, call

_UNROUTED_MOST = 3  # tries after which a bare publication for a queue that is not there is refused
_AGAIN_MOST = 30.0  # seconds between two tries of a publication that the broker does not take
_KEEP_DECLARED = 20_000  # queue names that are known to exist
_NEVER = 1 << 62
_KEEP_ENCODED = 4096  # queue names of which the frame is kept

log = Logger()


class SessionOwner(Protocol):
    """Who has the session."""

    def taken(self, taken: AmqpTaken) -> None:
        """A delivery for the taker."""

    def declare(self, session: Session, queue: str) -> None:
        """Declare a queue; ``session.declared_now`` or ``session.undeclarable`` has to follow."""

    def emptied(self) -> None:
        """Nothing is under way any more."""

    def queue_gone(self, session: Session, tag: str) -> None:
        """The queue that the consumer of that tag takes from was deleted."""

    def crowded(self, session: Session) -> None:
        """What ``watch`` asked for has come about."""

    def emptier(self, session: Session) -> None:
        """Less is in hand than before."""

    def blocked(self, session: Session, reason: str | None) -> None:
        """The broker reads nothing from us; None: again."""

    def lost(self, session: Session, reason: str) -> None:
        """The link has ended."""


class Session(LinkUser):
    """One link's work. ``aside`` is None while the taker wants deliveries."""

    def __init__(self, reactor: Any, queues: Any, owner: SessionOwner) -> None:
        self.reactor = reactor
        self.link: Link = None  # type: ignore[assignment]  # given right after
        self.batches: set[Batch] = set()
        self.under_way = 0  # settlements and batches
        self.declared: set[str] = set()
        self.consumers = DeferredLock()  # a prefetch and the consumer that it is for belong together
        self.aside: deque[AmqpTaken] | None = None  # deliveries that came while nothing is to be taken
        self.ended = False
        self.last = 0  # the last delivery: the first has the number 1
        self.came = 0  # bytes of all deliveries
        self._left = 0  # and of those that are not in hand any more
        self._owner = owner
        self._may_declare: bool = queues.declare
        self._outbox: str = queues.outbox
        self._most: int = queues.max_unconfirmed
        self._properties = Properties(bool(queues.persistent))
        self._outstanding: dict[int, AmqpTaken] = {}
        self._acks: list[int] = []
        self._direct: list[AmqpTaken] = []  # settled, with nothing to publish
        self._lowest = 1  # no delivery below is outstanding
        self._look_at, self._most_bytes, self._wants_room = _NEVER, _NEVER, False  # see ``watch``
        self._sequence = 0
        self._first = 1  # no publication below is unconfirmed
        self._unconfirmed: dict[int, Entry] = {}
        self._returned: set[int] = set()
        self._backlog: deque[Entry] = deque()
        self._undeclared: dict[str, list[Entry]] = {}
        self._later: dict[Entry, Any] = {}  # tried again when the timer fires
        self._blocked = False
        self._pressed = False
        self._open = True  # whether bytes may be written: neither blocked nor pressed
        self._methods: dict[str, bytes] = {}

    # -- deliveries

    @property
    def in_hand(self) -> int:
        """How many deliveries are not settled."""
        return len(self._outstanding)

    @property
    def size(self) -> int:
        """Bytes of their bodies."""
        return self.came - self._left

    def watch(self, look_at: int, most_bytes: int, wants_room: bool) -> None:
        """Tell the owner (``crowded``) of deliveries from the number ``look_at`` on and of those that make more than
        ``most_bytes``; with ``wants_room`` also of those that are settled (``emptier``)."""
        self._look_at, self._most_bytes, self._wants_room = look_at, most_bytes, wants_room

    def delivered(self, tag: int, redelivered: int, properties: bytes, body: bytes) -> None:
        """basic.deliver."""
        taken = self._outstanding[tag] = AmqpTaken(self, tag, redelivered == 1, properties, body)
        self.last = tag
        self.came += len(body)
        if tag >= self._look_at or self.came - self._left > self._most_bytes:
            self._owner.crowded(self)
        if b"x-due" in properties and self._pass_on(taken):
            return
        if self.aside is not None:
            self.aside.append(taken)
            return
        self._owner.taken(taken)

    def keep(self, tag: int, redelivered: int, properties: bytes, body: bytes) -> AmqpTaken | None:
        """What basic.get gave; None if it is not due yet and goes to the next delay queue."""
        taken = self._outstanding[tag] = AmqpTaken(self, tag, redelivered == 1, properties, body)
        self.last = tag
        self.came += len(body)
        return None if b"x-due" in properties and self._pass_on(taken) else taken

    def _pass_on(self, taken: AmqpTaken) -> bool:
        """Publish what is due later to its next leg; whether that was done."""
        properties = taken.properties()
        headers = properties.get("headers") or {}
        due = headers.get(delays.DUE_HEADER)
        if not isinstance(due, int):
            return False
        leg = delays.next_leg(self._outbox, due / 1000 - self.reactor.seconds())
        if leg is None:
            return False
        raw = self._properties.passed_on(properties, due)
        taken.settled = True
        taken.left = 1
        self.under_way += 1
        self._post(Entry(leg, raw, taken.body, taken))
        return True

    def settle(self, taken: AmqpTaken, publications: Sequence[Publication]) -> None:
        """Publish all and acknowledge when all are confirmed."""
        self.under_way += 1
        if not publications:
            self._direct.append(taken)
            self.link.flush_soon()
            return
        taken.left = len(publications)
        self._publish(publications, taken)

    def give_back(self, tag: int) -> None:
        """Requeue one delivery."""
        taken = self._outstanding.pop(tag, None)
        if taken is not None:
            self._left += len(taken.body)
            if self._wants_room:
                self._owner.emptier(self)
            self.link.send(frames.reject_frame(MAIN, tag))

    def give_back_aside(self) -> None:
        """Requeue what came while nothing was to be taken."""
        while self.aside:
            self.aside.popleft().give_back()

    def put_aside(self) -> None:
        """From now on nothing comes to the taker."""
        if self.aside is None:
            self.aside = deque()

    def release(self) -> None:
        """Give what was put aside to the taker, and all that comes from now on."""
        aside, self.aside = self.aside, None
        for taken in aside or ():
            if not taken.stale:
                self._owner.taken(taken)

    def acknowledge(self, tag: int) -> None:
        """The delivery is settled; the frame goes out with this turn's write."""
        taken = self._outstanding.pop(tag, None)
        if taken is not None:
            self._left += len(taken.body)
            if self._wants_room:
                self._owner.emptier(self)
            if not self._acks:
                self.link.flush_soon()
            self._acks.append(tag)
        self.under_way -= 1

    def before_flush(self) -> None:
        """Write the acknowledgements of this turn: one for all up to the oldest in hand, one each for those above."""
        if self._direct:
            direct, self._direct = self._direct, []
            for taken in direct:
                taken.over()
            if not self.under_way:
                self._owner.emptied()
        if not self._acks:
            return
        acks, self._acks = self._acks, []
        outstanding, lowest, last = self._outstanding, self._lowest, self.last
        while lowest <= last and lowest not in outstanding:
            lowest += 1
        self._lowest = lowest
        below = 0
        for tag in acks:
            if tag < lowest:
                below = max(below, tag)
            else:
                self.link.send(frames.ack_frame(MAIN, tag, False))
        if below:
            self.link.send(frames.ack_frame(MAIN, below, True))

    # -- publications

    def publish(self, publications: Sequence[Publication], done: Done) -> None:
        """Publish all; ``done`` when all are confirmed."""
        if not publications:
            self.reactor.callLater(0, call, done, True)
            return
        batch = Batch(self, len(publications), done)
        self.batches.add(batch)
        self.under_way += 1
        self._publish(publications, batch)

    def _publish(self, publications: Sequence[Publication], owner: Owner) -> None:
        """Encode and post. The copies of a result differ in nothing but their queue: they are encoded once."""
        before = entry = None
        for publication in publications:
            if entry is not None and before is not None and _alike(publication, before):
                entry = Entry(publication.queue, entry.properties, entry.body, owner, entry.content)
            else:
                queue, headers = publication.queue, publication.headers
                if publication.due is not None and queue == self._outbox:
                    headers = {**(headers or {}), **delays.due_header(publication)}
                    queue = delays.next_leg(queue, publication.due - self.reactor.seconds()) or queue
                entry = Entry(queue, self._properties.written(publication, headers), publication.body, owner)
            before = publication
            self._post(entry)

    def _post(self, entry: Entry) -> None:
        """Write it now, or queue it: behind what waits already, and until its queue is declared."""
        if self.ended:
            return  # told with all the rest
        if self._open and not self._backlog and len(self._unconfirmed) < self._most and entry.queue in self.declared:
            self._write(entry)
            return
        self._backlog.append(entry)
        self.pump()

    def pump(self) -> None:
        """Write what waits, as far as it may be written."""
        while self._backlog and self._open and len(self._unconfirmed) < self._most:
            entry = self._backlog.popleft()
            if entry.queue in self.declared:
                self._write(entry)
            elif entry.queue in self._undeclared:
                self._undeclared[entry.queue].append(entry)
            else:
                self._undeclared[entry.queue] = [entry]
                self._owner.declare(self, entry.queue)

    def _write(self, entry: Entry) -> None:
        method = self._methods.get(entry.queue)
        if method is None:
            if len(self._methods) >= _KEEP_ENCODED:
                self._methods.clear()
            method = self._methods[entry.queue] = frames.publish_method(MAIN, entry.queue)
        self._sequence += 1
        self._unconfirmed[self._sequence] = entry
        content = entry.content
        if content is None:
            content = entry.content = frames.content_frames(MAIN, entry.properties, entry.body, self.link.frame_max)
        self.link.send_all((method, *content), len(entry.body) + 200)

    def declared_now(self, queue: str) -> None:
        """The queue is there: what waited for it goes out first."""
        if len(self.declared) >= _KEEP_DECLARED:  # jobs may name any number
            self.declared.clear()
        self.declared.add(queue)
        self._backlog.extendleft(reversed(self._undeclared.pop(queue, [])))
        self.pump()

    def undeclarable(self, queue: str, why: str, *, never: bool = False) -> None:
        """The queue cannot be declared. ``never``: its name is none; what was for it is dropped, there is no other
        place for it."""
        entries = self._undeclared.pop(queue, [])
        for entry in entries:
            if never:
                log.error("a publication was dropped: {why}", why=why)
                self._dropped(entry)
            else:
                self._again(entry, why)

    # -- confirms

    def confirmed(self, tag: int, multiple: int) -> None:
        """basic.ack."""
        pop, returned = self._unconfirmed.pop, self._returned
        last = min(tag, self._sequence) or self._sequence
        for number in range(self._first if multiple else last, last + 1):
            entry = pop(number, None)
            if entry is None:
                continue
            if returned and number in returned:
                returned.discard(number)
                self._unrouted(entry)
                continue
            owner = entry.owner
            owner.left -= 1
            if not owner.left:
                owner.over()
        if multiple:
            self._first = last + 1
        if self._backlog:
            self.pump()
        if not self.under_way:
            self._owner.emptied()

    def _dropped(self, entry: Entry) -> None:
        """It counts as confirmed: there is no place for it."""
        entry.owner.left -= 1
        if not entry.owner.left:
            entry.owner.over()
        if not self.under_way:
            self._owner.emptied()

    def refused(self, tag: int, multiple: int) -> None:
        """basic.nack: the queue is full, or the broker failed inside."""
        for number in range(self._first if multiple else tag, tag + 1):
            entry = self._unconfirmed.pop(number, None)
            if entry is not None:
                self._returned.discard(number)
                self._again(entry, "the broker refused it (basic.nack)")

    def returned(self, queue: str, text: str, properties: bytes, body: bytes) -> None:
        """basic.return, which comes before the confirm of the same publication: remember that it is none.

        A return does not say which publication it means, so it is found by all that it carries; equal ones are
        interchangeable.
        """
        for number, entry in self._unconfirmed.items():
            if (
                entry.queue == queue
                and entry.body == body
                and number not in self._returned
                and message_id(entry.properties) == message_id(properties)
            ):
                self._returned.add(number)
                return
        self.link.abort(f"the broker returned a message for {queue!r} that was not sent ({text})")

    def _unrouted(self, entry: Entry) -> None:
        """There is no such queue (any more)."""
        self.declared.discard(entry.queue)
        if (not self._may_declare or entry.tries >= _UNROUTED_MOST) and not entry.owner.unrouted():
            if not self.under_way:
                self._owner.emptied()
            return
        if entry.tries or not self._may_declare:
            self._again(entry, f"the queue {entry.queue!r} does not exist")
            return
        entry.tries += 1
        log.warn("the queue {queue!r} is gone: it is declared again", queue=entry.queue)
        self._post(entry)

    def _again(self, entry: Entry, why: str) -> None:
        """Try it again, later and later."""
        entry.tries += 1
        if entry.tries in (1, 2) or not entry.tries % 20:
            log.error(
                "a publication to {queue!r} did not succeed: {why}; it is tried again", queue=entry.queue, why=why
            )
        delay = min(0.5 * 2 ** min(entry.tries, 10), _AGAIN_MOST)
        self._later[entry] = self.reactor.callLater(delay, self._try_again, entry)

    def _try_again(self, entry: Entry) -> None:
        del self._later[entry]
        self._post(entry)

    # -- flow

    def blocked(self, reason: str | None) -> None:
        """The broker reads nothing: write no publication; the rest waits in the transport."""
        self._blocked = reason is not None
        self._owner.blocked(self, reason)
        self._flow()

    def cancelled(self, tag: str) -> None:
        """basic.cancel."""
        self._owner.queue_gone(self, tag)

    def link_lost(self, reason: str) -> None:
        """The owner calls ``end``."""
        self._owner.lost(self, reason)

    def flow(self, free: bool) -> None:
        """The transport has enough to write, or not."""
        self._pressed = not free
        self._flow()

    def _flow(self) -> None:
        self._open = not (self._blocked or self._pressed)
        if self._open:
            self.pump()

    def end(self) -> list[AmqpTaken | Batch]:
        """The link has ended: all that is in hand is stale. Returns who has to be told ``lost()``."""
        self.ended = True
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
        told: list[AmqpTaken | Batch] = [*self._outstanding.values(), *self.batches]
        for taken in self._outstanding.values():
            taken.stale = True
        for pile in (self._outstanding, self._unconfirmed, self._backlog, self._undeclared, self.batches, self._acks):
            pile.clear()
        self._direct.clear()
        self.aside = deque(maxlen=0)  # what still comes is for nobody
        self.under_way = 0
        return told


def _alike(one: Publication, other: Publication) -> bool:
    """Whether they differ in their queue at most."""
    return (
        one.body is other.body
        and one.message_id is other.message_id
        and one.headers is other.headers
        and one.due is None
        and other.due is None
        and one.priority == other.priority
        and one.encoding == other.encoding
    )
