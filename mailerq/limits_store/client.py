"""The connection to Redis: asks for all shares of one engine at once, each half second and when something is wanted."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from random import Random
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from mailerq.limits_store.address import StoreAddress
from mailerq.shares.exchange import read_answer
from mailerq.shares.member import LEASE, Member

PERIOD = 0.5  # seconds between two questions
SOON = 0.01  # so much later something is asked for that is wanted, with all that is wanted until then,
GAP = 0.05  # but so much after the question before
DEADLINE = 2.0  # of an answer, of a connection
GONE = 3.0  # seconds without an answer: the store is gone
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.5  # between two attempts to connect: well below ``member.GRACE``
LEAVING = 1.0  # seconds that a stop waits for what is given back

_log = Logger()


def endpoint_for(reactor: Any, address: StoreAddress) -> Any:
    """Where the store is; with TLS the host's name is verified."""
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=DEADLINE)
    return wrapClientTLS(optionsForClientTLS(address.host), endpoint) if address.tls else endpoint


def redis_protocol() -> Any:
    """A connection of txredisapi that tells ``on_lost`` when it is gone. The module is imported where it is used."""
    import txredisapi  # type: ignore[import-untyped]

    class Connection(txredisapi.RedisProtocol):  # type: ignore[misc]
        on_lost: Callable[[Any], None] = staticmethod(lambda reason: None)

        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(reason)
            self.on_lost(reason)

    return Connection(charset="utf-8")


class LimitsStore(Service):
    """Carries what a member says and is told. Connecting goes on for ever; an outage is said once, and its end.

    ``endpoint`` makes the endpoint of an address and ``protocol`` a connection; tests give others. ``on_members`` is
    told when other members are known.
    """

    def __init__(
        self,
        reactor: Any,
        address: StoreAddress,
        member: Member,
        dice: Random,
        *,
        endpoint: Callable[[Any, StoreAddress], Any] = endpoint_for,
        protocol: Callable[[], Any] = redis_protocol,
        on_members: Callable[[list[str]], None] = lambda members: None,
    ) -> None:
        self.member = member
        self._reactor = reactor
        self._address = address
        self._dice = dice
        self._endpoint = endpoint
        self._new_protocol = protocol
        self._on_members = on_members
        self._script = files("mailerq.limits_store").joinpath("shares.lua").read_text(encoding="utf-8")
        self._protocol: Any = None
        self._connecting: Deferred[Any] | None = None
        self._timer: Any = None
        self._asking = False
        self._woken = False
        self._asked_at = self._answered_at = self._full_at = 0.0
        self._failures = 0
        self._told = False  # the outage is logged
        self._why = "no answer"

    # -- the service -------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Connect, and go on trying."""
        super().startService()  # type: ignore[no-untyped-call]
        self._answered_at = self._reactor.seconds()
        self.member.on_wake = self.wake
        self._connect()

    def stopService(self) -> Deferred[Any]:
        """Give everything back, so that nobody waits for it, and close."""
        super().stopService()  # type: ignore[no-untyped-call]
        self.member.on_wake = lambda: None
        self._cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        protocol = self._protocol
        if protocol is None:
            return succeed(None)
        leaving = self._send(protocol, leave=True).addTimeout(LEAVING, self._reactor)
        return leaving.addBoth(lambda _: self._drop())

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _drop(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.on_lost = lambda reason: None
            protocol.transport.abortConnection()

    # -- connecting --------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._timer = None
        opening: Deferred[Any] = Deferred.fromCoroutine(self._open())
        self._connecting = opening.addTimeout(2 * DEADLINE, self._reactor)
        self._connecting.addErrback(self._failed)

    async def _open(self) -> None:
        address = self._address
        factory = Factory.forProtocol(self._new_protocol)
        factory.noisy = False
        protocol = await self._endpoint(self._reactor, address).connect(factory)
        try:
            if address.password is not None:
                await protocol.auth(address.password, address.user)
            if address.db:
                await protocol.select(address.db)
        except BaseException:
            protocol.transport.abortConnection()
            raise
        self._connecting = None
        self._protocol = protocol
        protocol.on_lost = self._lost
        self._ask()

    def _lost(self, reason: Any) -> None:
        if self._protocol is not None and not self._asking:
            self._failed(reason)

    def _failed(self, failure: Any) -> None:
        """No answer, or a useless one: connect anew, a little later each time."""
        self._connecting = None
        self._cancel()
        self._drop()
        self.member.missed()
        if not self.running:
            return
        self._why = str(failure.value) or type(failure.value).__name__
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * (0.5 + self._dice.random() / 2)
        self._failures += 1
        self._look()
        self._timer = self._reactor.callLater(pause, self._connect)

    def _look(self) -> None:
        """Whether the store has been gone for too long, and for how long."""
        silent = self._reactor.seconds() - self._answered_at
        if silent >= GONE and not self._told:
            self._told = True
            _log.error(
                "the limits store {address} is gone: {why}; going on with the shares that there are",
                address=str(self._address),
                why=self._why,
            )
        if silent >= LEASE:
            self.member.lost()

    # -- asking ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is wanted, or given back: ask soon."""
        self._woken = True
        if self._protocol is not None and not self._asking:
            self._at(max(self._reactor.seconds() + SOON, self._asked_at + GAP))

    def _at(self, time: float) -> None:
        """Ask at that time, if not before."""
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= time:
                return
            timer.cancel()
        self._timer = self._reactor.callLater(max(0.0, time - self._reactor.seconds()), self._ask)

    def _ask(self) -> None:
        self._cancel()
        if self._protocol is None or self._asking:
            return
        self._asking = True
        self._woken = False
        asking = self._send(self._protocol).addTimeout(DEADLINE, self._reactor)
        asking.addCallback(self._answered).addErrback(self._unanswered)

    def _send(self, protocol: Any, *, leave: bool = False) -> Deferred[Any]:
        now = self._asked_at = self._reactor.seconds()
        full = now >= self._full_at - SOON
        if full:
            self._full_at = now + PERIOD
        question, names = self.member.question(now, full=full, leave=leave)
        keys = ["mailerq:members", "mailerq:since", *(f"mailerq:limit:{name}" for name in names)]
        answer: Deferred[Any] = protocol.eval(self._script, keys, [msgspec.json.encode(question).decode()])
        return answer

    def _answered(self, text: Any) -> None:
        answer = read_answer(text)
        self._asking = False
        now = self._answered_at = self._reactor.seconds()
        self._failures = 0
        if self._told:
            self._told = False
            _log.info("the limits store {address} is back", address=str(self._address))
        before = self.member.members
        self.member.answered(answer, now)
        if self.member.members != before:
            self._on_members(self.member.members)
        if self.running:
            self._at(min(self._full_at, max(now + SOON, self._asked_at + GAP)) if self._woken else self._full_at)

    def _unanswered(self, failure: Any) -> None:
        self._asking = False
        self._failed(failure)

    def __repr__(self) -> str:
        there = "gone" if self._told else "there" if self._protocol is not None else "connecting"
        return f"<LimitsStore {self._address}, {there}: {self.member!r}>"
