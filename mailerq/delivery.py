"""The way of a mail, from the outbox to its result.

Read the methods of ``Deliveries`` from top to bottom: a message is *taken*, *read* as a job, *routed* to its hosts,
*waits* for its turn and is talked about (``scheduler.py``), has *ended*, is *decided* upon (``verdict.py``), written
down (``result.py``) and *settled* at the broker. At the end stands the way back, where we stop. What comes again,
because the broker or a process was lost, is in ``returning.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256

import msgspec
from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailerq import verdict as fate
from mailerq.attempt import Outcome, Peer, Type, utc
from mailerq.content.keeping import Keeping
from mailerq.content.verp_rules import make_senders
from mailerq.doubles import Doubles
from mailerq.dsn.notices import asked_of, policy_of
from mailerq.elsewhere import LATER, Elsewhere
from mailerq.events import Events
from mailerq.fellows import Fellows
from mailerq.interfaces import IBroker, ITaken, ITaker
from mailerq.job import Invalid, read
from mailerq.journal import Journal
from mailerq.lane import LaneKey, Link
from mailerq.local import LocalAddresses
from mailerq.mail import Mail
from mailerq.properties import Smarthost as JobSmarthost
from mailerq.record import record
from mailerq.resolver import Resolver
from mailerq.responses import SUCCESS, Reaction
from mailerq.result import refused
from mailerq.retry import deadline
from mailerq.returning import careful
from mailerq.route import NoHosts, NullMx, Route
from mailerq.scheduler import Scheduler
from mailerq.settings import Settings
from mailerq.settling import Settling

POISON = 3  # so often a job may break our own code before it is put aside

_IN_CLEAR = {"optional": "none"}
_SUCCESS = Type.SUCCESS
_log = Logger()


@implementer(ITaker)
class Deliveries(Settling):
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
        keeping: Keeping | None = None,
        our_name: str = "localhost",
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
        self._keeping = keeping
        self._our_name = our_name
        self._dsn = policy_of(settings, our_name)
        self._dsn_asks = self._dsn.asks
        self._undecided = set()
        self._broke: dict[bytes, int] = {}
        self._stopping = False
        self._usual = _usual_key(settings)
        self._senders = make_senders(settings.verp)
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

    def _take(self, mail: Mail) -> None:
        """It is in our hands."""
        self.in_hand.add(mail)
        if self._dsn_asks or mail.job.dsn is not None:
            mail.dsn = asked_of(mail.job, self._dsn)
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

    @careful
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
        if outcome is not None:
            self._end(mail, outcome)
            return
        if self._senders is not None:
            try:
                mail.sender = self._senders.sender(job)
            except ValueError as error:
                self._end(mail, Outcome(Type.ERROR, description=f"the job cannot be used: {error}"))
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

    @careful
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

    @careful
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
        fellows = self._fellows
        if fellows is not None and mail not in self.in_hand:
            self._scheduler.withhold(mail, link)
            return
        peer: Peer = link.client.peer
        self._journal.dot(mail.identity, mail.digest, peer.source, peer.target, peer.mx)
        if fellows is not None:
            self._look_before_the_dot(fellows, mail, link)

    # -- ended -------------------------------------------------------------------------------------------------------

    @careful
    def ended(self, mail: Mail, outcome: Outcome, link: Link | None) -> None:
        """The scheduler is done with it: an attempt was made."""
        if self._scheduler.withheld and mail in self._scheduler.withheld:
            self._not_sent(mail)
            return
        self._end(mail, outcome, mail.peer if link is None else link.client.peer, link)

    @careful
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

    # -- parked ------------------------------------------------------------------------------------------------------

    @careful
    def parked(self, mail: Mail, until: float, why: str) -> None:
        """It has to wait for longer than we hold jobs in hand: the broker keeps it. No attempt is counted."""
        self._park(mail, min(until, mail.deadline + 1), why, mail.seen)

    def _park(self, mail: Mail, until: float, why: str, seen: float | None) -> None:
        job = mail.job
        if job.seen_id and job.nextattempt is not None:  # byte for byte the same, it would be taken for its own copy
            until = max(until, job.nextattempt + 1)
        self._events.parked(mail, until, why)
        self._settle(mail, fate.Parked(until, seen, mail.turn))

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
        if self._keeping is not None:
            await self._keeping.close()
        await self._broker.drain()
        if self._keeping is not None:
            await self._keeping.close()  # of what was settled meanwhile, too
        self._journal.close(self._broker.connected)

    def reload(self, settings: Settings) -> None:
        """Other limits, times and pools hold from now on."""
        self._settings = settings
        self._usual = _usual_key(settings)
        self._senders = make_senders(settings.verp)
        self._dsn = policy_of(settings, self._our_name)
        self._dsn_asks = self._dsn.asks

    def __repr__(self) -> str:
        adrift = len(self._doubles)
        return f"<Deliveries: {len(self.in_hand)} in hand, {adrift} of them wait for the broker to give them again>"


def _usual_key(settings: Settings) -> LaneKey | None:
    """From where, how and as whom a mail is sent of which nothing is said; None: it has to be looked at each time."""
    if settings.smtp.ips or settings.smarthost is not None:
        return None
    return LaneKey((), settings.smtp.tls)
