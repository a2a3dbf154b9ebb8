"""The way of a mail, from the outbox to its result.

Read the methods of ``Deliveries`` from top to bottom: a message is *taken*, *read* as a job, *routed* to its hosts,
*waits* for its turn and is talked about (``scheduler.py``), has *ended*, is *decided* upon (``verdict.py``), written
down (``result.py``) and *settled* at the broker. At the end stand the two ways back: the broker was lost, we stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from hashlib import sha256
from typing import Concatenate, ParamSpec

import msgspec
from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailerq import verdict as fate
from mailerq.attempt import Outcome, Peer, State, Type, utc
from mailerq.doubles import ADRIFT, Doubles
from mailerq.elsewhere import LATER, Elsewhere
from mailerq.events import Events
from mailerq.fellows import AGAIN, Fellows, Waits
from mailerq.interfaces import IBroker, ITaken, ITaker, Publication
from mailerq.job import Invalid, read
from mailerq.job import Smarthost as JobSmarthost
from mailerq.journal import Journal
from mailerq.journal_lines import Remembered
from mailerq.lane import LaneKey, Link
from mailerq.local import LocalAddresses
from mailerq.mail import Mail
from mailerq.record import record
from mailerq.resolver import Resolver
from mailerq.responses import SUCCESS, Reaction
from mailerq.result import publications, refused
from mailerq.retry import deadline
from mailerq.route import NoHosts, NullMx, Route
from mailerq.scheduler import Scheduler
from mailerq.settings import Settings

WITHHELD = 1.0  # seconds after which a mail whose dot was withheld is tried again
POISON = 3  # so often a job may break our own code before it is put aside

_IN_CLEAR = {"optional": "none"}
_SUCCESS = Type.SUCCESS
_log = Logger()
P = ParamSpec("P")
Step = Callable[Concatenate["Deliveries", Mail, P], None]


def _careful(step: Step[P]) -> Step[P]:
    """A step that is called from elsewhere: what it raises is a bug of ours, and costs one mail its turn."""

    @wraps(step)
    def carefully(self: Deliveries, mail: Mail, /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            step(self, mail, *arguments, **named)
        except Exception:
            self.put_aside(mail.taken, mail.digest)

    return carefully


@implementer(ITaker)
class Deliveries:
    """All mails in our hands."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        *,
        broker: IBroker,
        resolver: Resolver,
        scheduler: Scheduler,
        journal: Journal,
        events: Events,
        local: LocalAddresses,
        fellows: Fellows | None = None,
    ) -> None:
        self.in_hand: set[Mail] = set()
        self._clock = clock
        self._settings = settings
        self._broker = broker
        self._resolver = resolver
        self._scheduler = scheduler
        self._journal = journal
        self._events = events
        self._local = local
        self._doubles = Doubles(broker.transactional)
        self._fellows = fellows
        self._undecided: set[ITaken] = set()  # another worker may know more of these
        self._broke: dict[bytes, int] = {}
        self._stopping = False
        self._usual = _usual_key(settings)
        self.on_loss: Callable[[], None] = lambda: None
        self.elsewhere: Elsewhere | None = None  # where other machines take jobs for their local addresses
        scheduler.way = self

    # -- taken -------------------------------------------------------------------------------------------------------

    def taken(self, taken: ITaken) -> None:
        """A message of the outbox (ITaker)."""
        digest = sha256(taken.body).digest()[:16]
        try:
            if not (taken.redelivered and self._is_known(taken, digest)):
                self._read(taken, digest)
        except Exception:
            self.put_aside(taken, digest)

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

    def _take(self, mail: Mail) -> None:
        """It is in our hands."""
        self.in_hand.add(mail)
        if self._doubles.taken(mail):
            self._journal.equal(mail.digest)

    # -- read --------------------------------------------------------------------------------------------------------

    def _read(self, taken: ITaken, digest: bytes, came: float | None = None) -> None:
        job = read(taken.body, taken.encoding)
        if isinstance(job, Invalid):
            names = self._settings.queues
            self._events.invalid(job.why, len(taken.body), names.invalid is not None, taken.body)
            taken.settle(refused(taken.body, taken.encoding, job, names))
            return
        if job.seen_id and self._is_copy(taken, digest):
            self._events.doubled(job.seen_id, "it went back to the outbox twice")
            taken.settle([])
            return
        now = self._scheduler.now()
        mail = Mail(job, taken, digest, job.seen_id or self._journal.new_identity(), now)
        if came is not None:
            mail.came = came
        self._take(mail)
        job.refuse_own_queue(self._settings.queues.outbox)
        outcome = fate.unusable(job)
        if outcome is not None:
            self._end(mail, outcome)
        elif job.nextattempt is not None and job.nextattempt > now:
            self._wait_until(mail, job.nextattempt, now)
        else:
            self._try(mail, now)

    def _is_copy(self, taken: ITaken, digest: bytes) -> bool:
        """Whether a job that was put back to the outbox has come already."""
        fellows = self._fellows
        return self._doubles.is_copy(digest) or (fellows is not None and fellows.is_copy(digest, taken.redelivered))

    def _wait_until(self, mail: Mail, time: float, now: float) -> None:
        """Not before ``time``: a short wait is ours, a long one the broker's. Its expiry is not slept through."""
        if mail.job.maxdelivertime is not None:
            time = min(time, mail.job.maxdelivertime + 1)
        if time - now <= max(self._settings.delivery.hold, self._broker.early + 1):  # whole seconds are written
            mail.blocked_by = "nextattempt"
            self._scheduler.agenda.at(time, self._begin, mail)
            return
        seen = None if mail.job.seen is None else mail.seen  # its 24 hours begin when it may first be delivered
        self._park(mail, time, "nextattempt", seen)

    # -- routed ------------------------------------------------------------------------------------------------------

    @_careful
    def _begin(self, mail: Mail) -> None:
        """The wait is over."""
        if mail in self.in_hand:
            now = self._scheduler.now()
            mail.begin_again(now)
            self._try(mail, now)

    def _try(self, mail: Mail, now: float) -> None:
        """A try begins, unless the job's time has run out."""
        job, policy = mail.job, self._settings.delivery
        mail.deadline = deadline(job, policy.max_delivery_time, mail.seen)
        outcome = fate.expired(job, policy, now) if job.attempts or now > mail.deadline else None
        if outcome is None and job.is_responsive:
            outcome = Outcome(Type.RESPONSIVE, description="responsive messages are not supported by this version")
        if outcome is not None:
            self._end(mail, outcome)
            return
        smarthost = self._smarthost(mail)
        if smarthost is not None:
            found = self._resolver.cached_host(smarthost[0], smarthost[1])
        else:
            found = self._resolver.cached(job.domain)
        if found is not None:
            self._found(mail, found)
        elif smarthost is not None:
            self._resolver.hosts_of(smarthost[0], smarthost[1], partial(self._routed, mail))
        else:
            self._resolver.lookup(job.domain, partial(self._routed, mail))

    def _smarthost(self, mail: Mail) -> tuple[str, int, str, str] | None:
        """Host, port, user and password of where to deliver instead of to the MX, if anywhere."""
        own, ours = mail.job.known.smarthost, self._settings.smarthost
        if own:  # UNSET is false
            assert isinstance(own, JobSmarthost)
            return own.hostname or own.name or "", int(own.port), own.username or "", own.password or ""
        return None if ours is None else (ours.hostname, ours.port, ours.username or "", ours.password or "")

    @_careful
    def _routed(self, mail: Mail, found: Route | NoHosts | NullMx) -> None:
        """They were looked up, which took a while."""
        if mail in self.in_hand:
            mail.routed = self._scheduler.now()
            self._found(mail, found)

    def _found(self, mail: Mail, found: Route | NoHosts | NullMx) -> None:
        """Its hosts are known, or that there are none."""
        if isinstance(found, Route):
            key = self._lane_key(mail, found)
            if isinstance(key, Outcome):
                self._cannot_leave(mail, key)
            else:
                self._scheduler.add(mail, found, key)
        elif isinstance(found, NullMx):
            text = f"{mail.job.domain} accepts no mail (null MX)"
            self._end(mail, Outcome(Type.ERROR, None, 556, "5.1.10", text))
        else:
            mail.sure = found.sure
            self._end(mail, Outcome(Type.NOHOSTS, description=found.why))

    # -- waits, is given to a connection, is talked about: see scheduler.py -----------------------------------------

    def _lane_key(self, mail: Mail, route: Route) -> LaneKey | Outcome:
        """From where, how and as whom it is to be sent; or why that cannot be."""
        known = mail.job.known
        mail.manner = self._scheduler.terms.manner_of(mail, route)
        if (
            self._usual is not None
            and mail.manner is None
            and known.security is UNSET
            and known.ips is UNSET
            and not known.pool
            and not known.smarthost
        ):
            return self._usual
        sources = self._sources(mail)
        if isinstance(sources, Outcome):
            return sources
        security = (mail.manner and mail.manner.tls) or self._settings.smtp.tls
        if known.security is not UNSET:
            security = _IN_CLEAR.get(known.security, known.security)
        smarthost = self._smarthost(mail)
        account = smarthost[2:] if smarthost is not None and smarthost[2] else None
        return LaneKey(sources, security, account)

    def _sources(self, mail: Mail) -> tuple[str, ...] | Outcome:
        """The local addresses that it may leave from (none: any), or why there is none. Where a host asked it to come
        again (greylisting), it comes from the same one."""
        sources = self._sources_asked_for(mail)
        if isinstance(sources, Outcome):
            return sources
        usable = tuple(source for source in sources if self._local.has(source))
        if sources and not usable:
            asked = ", ".join(sources)
            return Outcome(Type.BIND, description=f"none of the local addresses asked for is on this host: {asked}")
        sticky = mail.job.sticky_source
        return (sticky,) if sticky is not None and sticky in usable else usable

    def _sources_asked_for(self, mail: Mail) -> Sequence[str] | Outcome:
        """The local addresses that it may leave from, wherever they are."""
        known = mail.job.known
        if known.ips is not UNSET:
            if not known.ips:
                return Outcome(Type.BIND, description="ips is empty: there is no local address to send from")
            return known.ips
        if known.pool:
            if known.pool not in self._settings.pools:
                text = f"the job cannot be used: pool: there is no pool named {known.pool!r}"
                return Outcome(Type.ERROR, description=text)
            return self._settings.pools[known.pool]
        return self._settings.smtp.ips

    def _cannot_leave(self, mail: Mail, outcome: Outcome) -> None:
        """None of its local addresses is here; but another machine may have one."""
        asked = self._sources_asked_for(mail)
        if self.elsewhere is None or outcome.type is not Type.BIND or isinstance(asked, Outcome):
            self._end(mail, outcome)
            return
        mail.blocked_by = "local addresses of another machine"
        self.elsewhere.find(asked, partial(self._found_elsewhere, mail, outcome))

    @_careful
    def _found_elsewhere(self, mail: Mail, outcome: Outcome, queue: str | None, later: bool) -> None:
        """Another machine has a local address that it may leave from; or none has."""
        if mail not in self.in_hand:
            return
        now = self._clock.seconds()
        if queue is not None:
            self._hand_over(mail, queue, now)
        elif later:
            self._park(mail, now + LATER, "local addresses", mail.seen)
        else:
            self._end(mail, outcome)

    def _hand_over(self, mail: Mail, queue: str, now: float) -> None:
        """Its attempts and its first pick-up go with it."""
        at = float(int(now))
        if mail.job.nextattempt is not None:  # byte for byte the same, it would be taken for its own copy
            at = max(at, mail.job.nextattempt + 1)
        self._events.parked(mail, at, f"a local address of another machine, to {queue}")
        self._settle(mail, fate.Parked(at, mail.seen, mail.turn, queue))

    def message_due(self, mail: Mail, link: Link) -> None:
        """Written down before its final dot goes out: after a crash it is known to be in doubt."""
        if self._fellows is not None and mail not in self.in_hand:
            self._scheduler.withhold(mail, link)
            return
        peer: Peer = link.client.peer
        self._journal.dot(mail.identity, mail.digest, peer.source, peer.target, peer.mx)
        if self._fellows is not None and self._fellows.withholds(mail):
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

    # -- ended -------------------------------------------------------------------------------------------------------

    @_careful
    def ended(self, mail: Mail, outcome: Outcome, link: Link | None) -> None:
        """The scheduler is done with it: an attempt was made."""
        if self._scheduler.withheld and mail in self._scheduler.withheld:
            self._not_sent(mail)
            return
        self._end(mail, outcome, mail.peer if link is None else link.client.peer, link)

    @_careful
    def expired(self, mail: Mail) -> None:
        """Its time ran out while it waited."""
        outcome = fate.expired(mail.job, self._settings.delivery, self._scheduler.now())
        late = Outcome(Type.EXPIRED, description=f"was to be delivered before {utc(mail.deadline)}")
        self._end(mail, outcome or late)

    def idle(self, mail: Mail, outcome: Outcome, link: Link) -> bool:
        """The idle connection it would have had is gone: noted, no attempt. False: once too often, it has left."""
        outcome = fate.settle_idle(mail.job, outcome)
        if outcome.type is not Type.IDLE:
            mail.lane = None
            self._end(mail, outcome, link.client.peer)
            return False
        self._append(mail, outcome, link.client.peer, None, self._scheduler.now())
        return True

    def _append(self, mail: Mail, outcome: Outcome, peer: Peer | None, link: Link | None, now: float) -> None:
        if peer is not None and peer.source is None and peer.target is not None:  # no connection came about
            peer = msgspec.structs.replace(peer, source=self._local.towards(peer.target))
        attempt = record(mail, outcome, peer, link, now, bounce_class=self._reaction(mail, outcome).bounce_class)
        mail.job.append(attempt)
        self._events.attempt(mail, attempt)

    def _reaction(self, mail: Mail, outcome: Outcome) -> Reaction:
        """What an outcome leads to, by the rules for answers."""
        if outcome.type is _SUCCESS:
            mail.reaction = SUCCESS
        elif mail.reaction is None or mail.reacted_to is not outcome:
            mail.reaction = self._scheduler.reactions.responses.reaction(outcome, mail.job.domain, None, None)
            mail.reacted_to = outcome
        return mail.reaction

    # -- decided, written down, settled ------------------------------------------------------------------------------

    def _end(self, mail: Mail, outcome: Outcome, peer: Peer | None = None, link: Link | None = None) -> None:
        mail.link = mail.lane = None
        mail.forget_body()
        now = self._scheduler.now()
        self._append(mail, outcome, peer, link, now)
        verdict = fate.decide(
            mail.job,
            outcome,
            self._settings.delivery,
            now,
            sure=mail.sure,
            reaction=mail.reaction,
            schedule=mail.manner.retry_interval if mail.manner is not None else None,
        )
        self._events.decided(mail, verdict)
        self._settle(mail, verdict)

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
        extra = mail.reaction.set if mail.reaction is not None else {}
        written = publications(mail.job, verdict, self._settings.queues, mail.identity, mail.seen, extra=extra)
        if again and self._fellows is not None and not self._broker.transactional:
            self._may_be_doubled(self._fellows, written)
        mail.taken.settle(written, partial(self._settled, mail, mail.taken))

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

    def _settled(self, mail: Mail, taken: ITaken, done: bool) -> None:
        if done:
            self.in_hand.discard(mail)
            if self._broker.transactional:
                self._journal.settled(mail.identity)
            else:
                equal = self._doubles.settled(mail.digest, self._clock.seconds())
                self._journal.acknowledged(mail.identity, equal)
        elif mail.taken is taken and self._doubles.drift(mail):
            self._journal.adrift(mail.identity)
            self._await_again(mail)

    # -- parked ------------------------------------------------------------------------------------------------------

    @_careful
    def parked(self, mail: Mail, until: float, why: str) -> None:
        """It has to wait for longer than we hold jobs in hand: the broker keeps it. No attempt is counted."""
        self._park(mail, min(until, mail.deadline + 1), why, mail.seen)

    def _park(self, mail: Mail, until: float, why: str, seen: float | None) -> None:
        job = mail.job
        if job.seen_id and job.nextattempt is not None:  # byte for byte the same, it would be taken for its own copy
            until = max(until, job.nextattempt + 1)
        self._events.parked(mail, until, why)
        self._settle(mail, fate.Parked(until, seen, mail.turn))

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

    # -- a bug of ours -----------------------------------------------------------------------------------------------

    def put_aside(self, taken: ITaken, digest: bytes) -> None:
        """Our own code broke on it: it is given back, and the third time put into the invalid queue."""
        times = self._broke[digest] = self._broke.get(digest, 0) + 1
        _log.failure("a job could not be worked on (time {times}): {body!r}", times=times, body=taken.body[:2000])
        self.in_hand -= {mail for mail in self.in_hand if mail.taken is taken}
        self._doubles.given_back(digest)
        if taken.stale:
            return
        if times < POISON:
            taken.give_back()
            return
        del self._broke[digest]
        why = Invalid("it broke the engine three times; the log says how")
        taken.settle(refused(taken.body, taken.encoding, why, self._settings.queues))

    # -- stopping ----------------------------------------------------------------------------------------------------

    def given_back(self, mail: Mail) -> None:
        """It was not tried, and we stop: anybody may take it."""
        mail.lane = mail.link = None
        if mail.job.added:  # it was idle on the way, and that is to be known
            self._settle(mail, fate.Parked(self._clock.seconds(), mail.seen))
            return
        self.in_hand.discard(mail)
        self._doubles.given_back(mail.digest)
        if not mail.taken.stale:
            mail.taken.give_back()

    async def stop(self) -> None:
        """Take nothing new, finish what is on the wire, give the rest back, settle."""
        self._stopping = True
        self._broker.pause()
        drained = self._scheduler.drain(self._settings.delivery.drain)
        for mail in list(self.in_hand):
            if mail.lane is None and mail.link is None and mail.verdict is None:
                self.given_back(mail)
        for taken in self._undecided:
            if not taken.stale:
                taken.give_back()
        await drained
        await self._broker.drain()
        self._journal.close(self._broker.connected)

    def reload(self, settings: Settings) -> None:
        """Other limits, times and pools hold from now on."""
        self._settings = settings
        self._usual = _usual_key(settings)

    def __repr__(self) -> str:
        adrift = len(self._doubles)
        return f"<Deliveries: {len(self.in_hand)} in hand, {adrift} of them wait for the broker to give them again>"


def _usual_key(settings: Settings) -> LaneKey | None:
    """From where, how and as whom a mail is sent of which nothing is said; None: it has to be looked at each time."""
    if settings.smtp.ips or settings.smarthost is not None:
        return None
    return LaneKey((), settings.smtp.tls)
