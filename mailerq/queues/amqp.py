"""RabbitMQ as a broker: ``IBroker`` over AMQP 0-9-1.

One connection, one main channel for taking, publishing and settling; declarations and questions go over channels of
their own, because the broker closes the channel of a question it does not like. When the connection is lost all that
is in hand is stale and comes again over the next one; connecting goes on for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from twisted.logger import Logger
from zope.interface import implementer

from mailerq.interfaces import BrokerRefused, IBroker, ITaken, ITaker, Publication, QueueState
from mailerq.queues.amqp_beside import AmqpBeside
from mailerq.queues.amqp_consumer import AmqpConsumer, reason_of
from mailerq.queues.amqp_endpoint import endpoint_for
from mailerq.queues.amqp_link import MAIN, Link, LinkFactory, LinkLost, Refusal
from mailerq.queues.amqp_queues import AmqpQueues, NotAsWished
from mailerq.queues.amqp_session import Session
from mailerq.queues.amqp_taken import AmqpTaken, Batch, call
from mailerq.queues.amqp_url import AmqpAddress, parse_address
from mailerq.queues.delays import HOLD

LOGIN_DEADLINE = 20.0  # TCP and TLS and login, all together
SETUP_DEADLINE = 120.0  # the declarations
QUIT_DEADLINE = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 20.0  # between two rounds through the addresses
STEADY = 10.0  # seconds after which a connection counts as good
GET_AT_ONCE = 100

log = Logger()


@implementer(IBroker)
class AmqpBroker(Service):
    """``settings`` has ``broker`` (addresses, ca, heartbeat) and ``queues``; ``random`` spreads the reconnections.

    What is particular here: a message with a due time is given up to ``delays.HOLD`` seconds early, and the taker holds
    the rest. A settlement for a queue that does not exist, is full, or must not be declared waits, is tried again and
    logged until it can be made; only what is for an impossible name (empty, above 255 bytes) is dropped, and logged.
    After ``done(True)`` a message can come again all the same, if the link is lost before the broker has read the
    acknowledgement: AMQP does not confirm those.

    ``endpoint`` makes the endpoint of an address; tests give another.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Any,
        random: Random,
        endpoint: Callable[[Any, AmqpAddress, str | None], Any] = endpoint_for,
    ) -> None:
        self.connected = False
        self.transactional = False
        self.early = HOLD
        self._reactor = reactor
        self._settings = settings
        self._random = random
        self._endpoint = endpoint
        self._addresses: list[AmqpAddress] = []
        self._queues = AmqpQueues(settings.queues)
        self._session: Session | None = None
        self._opening: Link | None = None
        self._waiting: list[Deferred[None]] = []  # of ready()
        self._refused: BrokerRefused | None = None
        self._worked = False  # once it did: nothing is refused any more
        self._failures = 0
        self._turn = 0  # whose turn it is among the addresses
        self._since = 0.0
        self._timer: Any = None
        self._steps: Deferred[None] | None = None  # connecting, under way
        self._told = False  # the outage is logged
        self._consumer = AmqpConsumer(reactor, self._queues)
        self._beside = AmqpBeside(reactor, self._queues)
        self._drains: list[Deferred[None]] = []

    # -- the service

    def startService(self) -> None:
        """Connect, and go on trying."""
        super().startService()  # type: ignore[no-untyped-call]
        self._refused = None
        try:
            self._addresses = [parse_address(url) for url in self._settings.broker.addresses]
            if not self._addresses:
                raise ValueError("no address of a broker is configured")
        except ValueError as problem:
            self._refuse(BrokerRefused(f"broker: {problem}"))
            return
        self._connect()

    def stopService(self) -> Deferred[None]:
        """Close the connection in order; what is in hand goes back to the queue."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._consumer.stop()
        for waiting in self._take_waiting():
            waiting.errback(BrokerRefused("the broker was stopped"))
        link, self._opening = self._opening, None
        if self._steps is not None:
            self._steps.cancel()
        session = self._session
        if session is None:
            return succeed(None) if link is None else Deferred.fromCoroutine(link.quit(0))
        session.link.flush()
        quit = Deferred.fromCoroutine(session.link.quit(QUIT_DEADLINE))
        self._forget(session)
        return quit

    def ready(self) -> Deferred[None]:
        """Fires once the broker can be used; fails with BrokerRefused."""
        if self._refused is not None:
            return fail(self._refused)
        if self.connected:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget_waiting)
        self._waiting.append(waiting)
        return waiting

    def _forget_waiting(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _take_waiting(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    # -- connecting

    def _connect(self) -> None:
        """Try the next address."""
        self._timer = None
        address = self._addresses[self._turn % len(self._addresses)]
        self._steps = Deferred.fromCoroutine(self._open(address))
        self._steps.addErrback(self._failed, address)

    async def _open(self, address: AmqpAddress) -> None:
        session = Session(self._reactor, self._settings.queues, self)
        endpoint = self._endpoint(self._reactor, address, self._settings.broker.ca)
        heartbeat = self._settings.broker.heartbeat
        factory = LinkFactory(lambda: Link(self._reactor, heartbeat, session))
        link: Link = await endpoint.connect(factory).addTimeout(LOGIN_DEADLINE, self._reactor)
        session.link = self._opening = link
        try:
            login = Deferred.fromCoroutine(link.login(address.user, address.password, address.vhost))
            await login.addTimeout(LOGIN_DEADLINE, self._reactor)
            setup = Deferred.fromCoroutine(self._set_up(session))
            await setup.addTimeout(SETUP_DEADLINE, self._reactor)
        except BaseException:
            link.abort("it could not be used")
            raise
        finally:
            self._opening = None
        if link.closed:
            raise LinkLost("the connection was closed")
        self._usable(session, address)

    async def _set_up(self, session: Session) -> None:
        """Declare the configured queues."""
        for name in self._queues.configured:
            try:
                await self._queues.declare(session.link, name)
            except NotAsWished as difference:
                text = f"the queue {name!r} cannot be declared: {difference}"
                if not self._worked:
                    raise BrokerRefused(
                        f"{text}. Where it exists with other arguments, delete it, make queues.type, durable and"
                        " max-priority fit, or set queues.declare: false to use it as it is"
                    ) from None
                log.error("{text}; it is used as it is", text=text)
            session.declared.add(name)

    def _usable(self, session: Session, address: AmqpAddress) -> None:
        self._session = session
        self._steps = None
        self.connected = self._worked = True
        self._since = self._reactor.seconds()
        log.info("the broker {address} is {there}", address=str(address), there="back" if self._told else "there")
        self._told = False
        self._consumer.begin(session)
        self._beside.begin(session)
        for waiting in self._take_waiting():
            waiting.callback(None)

    def _failed(self, failure: Any, address: AmqpAddress) -> None:
        """This address is of no use now: the next one, or the same later."""
        self._steps = None
        if not self.running:
            return
        problem = failure.value
        if not self._worked:
            if isinstance(problem, Refusal):
                problem = _as_refused(problem, address)
            if isinstance(problem, BrokerRefused):
                self._refuse(problem)
                return
        self._tell(address, failure)
        self._turn += 1
        self._again(self._failures + 1)

    def _again(self, failures: int) -> None:
        """Connect later; at once where another address of the round is left."""
        self._failures = failures
        rounds, place = divmod(failures, len(self._addresses))
        pause = 0.0
        if not place:
            pause = min(FIRST_PAUSE * 1.7 ** min(rounds, 30), LONGEST_PAUSE) * (0.5 + self._random.random())
        self._timer = self._reactor.callLater(pause, self._connect)

    def _tell(self, address: AmqpAddress, failure: Any) -> None:
        """Once an outage."""
        if not self._told:
            self._told = True
            log.error(
                "the broker {address} cannot be used: {why}; trying on",
                address=str(address),
                why=reason_of(failure.value),
            )

    def _refuse(self, problem: BrokerRefused) -> None:
        self._refused = problem
        for waiting in self._take_waiting():
            waiting.errback(problem)

    # -- what a session tells (SessionOwner)

    def taken(self, taken: AmqpTaken) -> None:
        """A delivery, for the taker."""
        self._consumer.taken(taken)

    def declare(self, session: Session, queue: str) -> None:
        """A queue that was not seen yet."""
        Deferred.fromCoroutine(self._declare(session, queue)).addErrback(self._undeclared, session, queue)

    async def _declare(self, session: Session, queue: str) -> None:
        await self._queues.use(session.link, queue)
        session.declared_now(queue)

    def _undeclared(self, failure: Any, session: Session, queue: str) -> None:
        problem = failure.value
        if not session.link.closed:
            never = isinstance(problem, ValueError)
            why = f"the queue {queue[:80]!r} cannot be declared: {problem}"
            # In another turn: nobody may be told before settle() has returned.
            self._reactor.callLater(0, session.undeclarable, queue, why, never=never)

    def emptied(self) -> None:
        """Nothing is under way."""
        if self._drains and self._session is not None:
            self._session.link.flush_soon()
            drains, self._drains = self._drains, []
            for drain in drains:
                self._reactor.callLater(0, _fire, drain)

    def queue_gone(self, session: Session, tag: str) -> None:
        """Declare and consume again."""
        if session is self._session:
            if tag == self._consumer.tag:
                self._consumer.queue_gone()
            else:
                self._beside.gone(tag)

    def crowded(self, session: Session) -> None:
        """It is time to look at how much is in hand."""
        if session is self._session:
            self._consumer.crowded()

    def emptier(self, session: Session) -> None:
        """Less is in hand than before."""
        if session is self._session:
            self._consumer.emptier()

    def blocked(self, session: Session, reason: str | None) -> None:
        """Take nothing while the results could not be published."""
        if session.ended:
            return
        if reason is None:
            log.info("the broker takes publications again")
            if not self._consumer.paused:
                session.release()
        else:
            log.warn("the broker takes no publications: {reason}; no jobs are taken", reason=reason)
            if session.aside is None:
                session.put_aside()

    def lost(self, session: Session, reason: str) -> None:
        """The link has ended: everything is stale, and we connect again."""
        if session is not self._session:
            return
        if not self._told:
            self._told = True
            log.error("the broker was lost: {reason}; connecting again", reason=reason)
        self._forget(session, reason)
        if self.running:
            steady = self._reactor.seconds() - self._since > STEADY
            self._again(0 if steady else self._failures + len(self._addresses))

    def _forget(self, session: Session, reason: str | None = None) -> None:
        """Nothing of this session counts any more."""
        self._session = None
        self.connected = False
        told: list[AmqpTaken | Batch] = session.end()
        self._consumer.end(reason)
        self._beside.end()
        for one in told:
            one.lost()
        drains, self._drains = self._drains, []
        for drain in drains:
            _fire(drain)

    # -- taking

    def consume(self, queue: str, taker: ITaker, window: int) -> None:
        """Take from ``queue`` now and after each reconnection."""
        self._consumer.consume(queue, taker, window)

    def pause(self) -> None:
        """Cancel the consumer. What is still on its way to us goes back."""
        self._consumer.pause()
        self._beside.pause()

    def resume(self) -> None:
        """Consume again."""
        self._consumer.resume()
        self._beside.resume()

    def consume_beside(self, queues: Sequence[str], window: int) -> None:
        """Take from these queues, too, and no others (``beside.py``), at most ``window`` messages from all of them."""
        self._beside.consume(queues, window)

    def get(self, queue: str, count: int) -> Deferred[list[ITaken]]:
        """basic.get, many at once."""
        if self._session is None:
            return fail(LinkLost("the broker is not connected"))
        return Deferred.fromCoroutine(self._get(self._session, queue, count))

    async def _get(self, session: Session, queue: str, count: int) -> list[ITaken]:
        found: list[ITaken] = []
        if not await self._queues.exists(session.link, queue):
            return found
        main = session.link.channels[MAIN]
        while len(found) < count:
            asked = min(count - len(found), GET_AT_ONCE)
            calls = [main.basic_get(queue=queue).addCallback(_keep, session, found) for _ in range(asked)]
            try:
                full = await gatherResults(calls, consumeErrors=True)
            except BaseException as problem:
                for taken in found:
                    taken.give_back()
                raise (_problem(problem.subFailure) if isinstance(problem, FirstError) else problem) from None
            if not all(full):
                break
        return found

    # -- the rest

    def publish(self, publications: Sequence[Publication], done: Callable[[bool], None]) -> None:
        """Publish and await the confirms."""
        if self._session is None:
            self._reactor.callLater(0, call, done, False)
        else:
            self._session.publish(publications, done)

    def states(self, queues: Sequence[str]) -> Deferred[list[QueueState]]:
        """What lies in each queue."""
        if self._session is None:
            return fail(LinkLost("the broker is not connected"))
        return Deferred.fromCoroutine(self._states(self._session.link, queues))

    async def _states(self, link: Link, queues: Sequence[str]) -> list[QueueState]:
        states = [await self._queues.state(link, name) for name in queues]
        return [state for state in states if state is not None]

    def drain(self) -> Deferred[None]:
        """Take nothing more, and wait for the confirms of what is under way."""
        self.pause()
        if self._session is None or not self._session.under_way:
            return succeed(None)
        drain: Deferred[None] = Deferred()
        self._drains.append(drain)
        return drain


def _keep(answer: Any, session: Session, found: list[ITaken]) -> bool:
    """What basic.get brought; False if the queue was empty."""
    if answer.content is None:
        return False
    taken = session.keep(answer.delivery_tag, answer.redelivered, *answer.content)
    if taken is not None:
        found.append(taken)
    return True


def _fire(drain: Deferred[None]) -> None:
    if not drain.called:
        drain.callback(None)


def _as_refused(refusal: Refusal, address: AmqpAddress) -> Exception:
    """What is in vain to try again. A limit of connections is not."""
    if refusal.code == 403:
        return BrokerRefused(f"the broker {address} refuses the user or the password: {refusal.text}")
    if refusal.code == 530 and "limit" not in refusal.text:
        return BrokerRefused(f"the broker {address} refuses the vhost {address.vhost!r}: {refusal.text}")
    return refusal


def _problem(failure: Any) -> BaseException:
    problem: BaseException = failure.value
    return problem
