"""The commands' access to RabbitMQ: the engine's own broker class, run by a reactor for as long as a command takes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from mailerq.commands import Failed
from mailerq.commands.access import Access, Held
from mailerq.commands.in_reactor import in_reactor
from mailerq.interfaces import BrokerRefused, IBroker, ITaken, Publication, QueueState

T = TypeVar("T")

CONNECT = 15.0  # seconds until a broker that does not answer is given up
GRACE = 2.0  # and until one is that has refused, or any other address of a cluster
ANSWER = 60.0  # until an answer is


def with_amqp(settings: Any, body: Callable[[Access], Coroutine[Any, Any, T]]) -> T:
    """Connect, run ``body``, close. Raises what it raises, and ``Failed``."""
    from mailerq.queues import make_broker

    return in_reactor(lambda reactor: _run(reactor, make_broker(reactor, settings, Random()), body))


async def _run(reactor: Any, broker: Any, body: Callable[[Access], Coroutine[Any, Any, T]]) -> T:
    reasons: list[str] = []
    broker.startService()
    ready = broker.ready()
    patience = reactor.callLater(CONNECT, ready.cancel)

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            reasons.append(formatEvent(event))
            if patience.active():
                patience.reset(GRACE)

    globalLogPublisher.addObserver(observe)
    try:
        await ready
        patience.cancel()
        return await body(AmqpAccess(reactor, broker))
    except BrokerRefused as error:
        raise Failed(str(error)) from None
    except (CancelledError, TimeoutError, ConnectionError) as error:
        text = "" if isinstance(error, CancelledError | TimeoutError) else str(error)
        why = reasons[-1] if reasons else text or "no answer"
        raise Failed(f"RabbitMQ: {why.removesuffix('; trying on')}") from None
    finally:
        if patience.active():
            patience.cancel()
        globalLogPublisher.removeObserver(observe)
        stopped = broker.stopService()
        if stopped is not None:
            await stopped.addTimeout(CONNECT, reactor).addErrback(lambda failure: None)


class AmqpAccess:
    """``Access`` over ``IBroker``."""

    certain = False

    def __init__(self, reactor: Any, broker: IBroker) -> None:
        self._reactor = reactor
        self._broker = broker

    async def put(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Confirmed when it returns."""
        await self._done(lambda done: self._broker.publish([Publication(queue, body) for body in bodies], done))

    async def _done(self, begin: Callable[[Callable[[bool], None]], None]) -> None:
        deferred: Deferred[bool] = Deferred()
        begin(deferred.callback)
        if not await deferred.addTimeout(ANSWER, self._reactor):
            raise ConnectionError("the broker was lost, or refused it")

    async def take(self, queue: str, count: int) -> list[Held]:
        """Up to ``count``."""
        taken = await self._broker.get(queue, count).addTimeout(ANSWER, self._reactor)
        return [Held(one.body, one.encoding, one) for one in taken]

    async def settle(self, taken: Sequence[Held]) -> None:
        """Acknowledged when it returns."""
        settlements = [Deferred.fromCoroutine(self._settle(held.token)) for held in taken]
        try:
            await gatherResults(settlements, consumeErrors=True)
        except Exception:
            raise ConnectionError("the broker was lost; what was printed last may come again") from None

    async def _settle(self, taken: ITaken) -> None:
        await self._done(lambda done: taken.settle([], done))

    async def give_back(self, taken: Sequence[Held]) -> None:
        """Not acknowledged."""
        for held in taken:
            held.token.give_back()

    async def peek(self, queue: str) -> AsyncIterator[Held]:
        """All that is ready is in hand until the command ends: RabbitMQ knows no other way."""
        while taken := await self.take(queue, 100):
            for held in taken:
                yield held

    async def states(self, names: Sequence[str]) -> list[QueueState]:
        """From the broker."""
        return await self._broker.states(names).addTimeout(ANSWER, self._reactor)

    async def blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """In a thread that nobody has to wait for at the end."""
        deferred: Deferred[T] = Deferred()

        def work() -> None:
            try:
                result = function(*arguments)
            except BaseException:
                self._reactor.callFromThread(deferred.errback, Failure())
            else:
                self._reactor.callFromThread(deferred.callback, result)

        threading.Thread(target=work, daemon=True).start()
        return await deferred

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await deferLater(self._reactor, seconds)
