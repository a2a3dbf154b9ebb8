"""What each seam promises, written once as tests; a backend's own test file adds the few lines that make one.

The tests wait in real time or on a ``Clock``, as the backend's hooks have it, so one text serves all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailerq.interfaces import IBroker, ITaken, ITaker, Publication, QueueState


@implementer(ITaker)
class Taker:
    """Keeps what it is given; settles nothing by itself."""

    def __init__(self) -> None:
        self.jobs: list[ITaken] = []
        self.reasons: list[str] = []

    def taken(self, taken: ITaken) -> None:
        """Keep it."""
        self.jobs.append(taken)

    def lost(self, reason: str) -> None:
        """Keep why."""
        self.reasons.append(reason)

    @property
    def bodies(self) -> list[bytes]:
        """What has come, in order."""
        return [taken.body for taken in self.jobs]


class BrokerHooks:
    """What a backend gives, and what its tests use. A mixin of ``twisted.trial.unittest.TestCase``.

    ``tearDown`` has to close what ``make_broker`` and ``crash`` have made.
    """

    outbox = "outbox"
    results = "results"
    failure = "failure"
    nowhere = "no-such-queue"
    knows_waiting = True  # whether states() tells waiting, in_hand and oldest

    async def make_broker(self, max_priority: int | None = None) -> Any:
        """A broker on empty queues, not started."""
        raise NotImplementedError

    async def crash(self, broker: Any) -> Any:
        """Kill the process that holds ``broker``, as far as that can be played; a new broker, not started, on what is
        left."""
        raise NotImplementedError

    async def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        raise NotImplementedError

    async def now(self) -> float:
        """The broker's time, epoch seconds."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], Any]) -> None:
        """Come back when ``condition()`` is true; fail if it does not become so soon."""
        raise NotImplementedError

    async def idle(self) -> None:
        """Give what must not happen the time to happen."""
        raise NotImplementedError

    async def started(self, max_priority: int | None = None) -> Any:
        """A broker that can be used."""
        broker = await self.make_broker(max_priority)
        await self.start(broker)
        return broker

    async def start(self, broker: Any) -> None:
        """Start it and wait until it is ready."""
        broker.startService()
        await broker.ready()

    async def stop(self, broker: Any) -> None:
        """Stop the service and wait for it."""
        stopped = broker.stopService()
        if stopped is not None:
            await stopped

    async def put(self, broker: Any, *bodies: bytes, queue: str | None = None, **more: Any) -> None:
        """Publish the bodies on ``queue`` (the outbox) and wait for the confirmation."""
        answers: list[bool] = []
        name = queue or self.outbox
        broker.publish([Publication(queue=name, body=body, **more) for body in bodies], answers.append)
        await self.until(lambda: answers)
        assert answers == [True], answers

    async def settle(self, taken: ITaken, *publications: Publication) -> None:
        """Settle and wait until it is over."""
        answers: list[bool] = []
        taken.settle(publications, answers.append)
        await self.until(lambda: answers)
        assert answers == [True], answers

    async def consuming(self, broker: Any, expected: int, window: int = 100) -> Taker:
        """A taker that has got ``expected`` messages of the outbox."""
        taker = Taker()
        broker.consume(self.outbox, taker, window)
        await self.until(lambda: len(taker.jobs) >= expected)
        return taker

    async def bodies_in(self, broker: Any, queue: str) -> list[bytes]:
        """What lies ready in a queue; it is taken and settled."""
        bodies: list[bytes] = []
        while True:
            jobs = await broker.get(queue, 10)
            if not jobs:
                return bodies
            for taken in jobs:
                bodies.append(taken.body)
                await self.settle(taken)

    async def state(self, broker: Any, queue: str) -> QueueState | None:
        """The state of one queue, None where there is none."""
        states: Sequence[QueueState] = await broker.states([queue])
        return states[0] if states else None


class BrokerContract(BrokerHooks):
    """The promises of IBroker and ITaken."""

    # -- what it is

    async def test_provides_the_interfaces(self) -> None:
        """Broker and taken messages provide what they say."""
        broker = await self.started()
        await self.put(broker, b"{}")
        taker = await self.consuming(broker, 1)
        verifyObject(IBroker, broker)
        verifyObject(ITaken, taker.jobs[0])

    async def test_connected_after_ready(self) -> None:
        """``connected`` is false before the start and true once ready() has fired; ready() may be asked again."""
        broker = await self.make_broker()
        assert not broker.connected
        await self.start(broker)
        assert broker.connected
        await broker.ready()

    # -- taking

    async def test_bodies_byte_for_byte(self) -> None:
        """A body comes as it was published: any bytes, empty, large."""
        broker = await self.started()
        bodies = [b"{}", b"", bytes(range(256)), "é\u2028\ud83d".encode("utf-8", "surrogatepass"), b"x\r\n" * 100_000]
        await self.put(broker, *bodies)
        taker = await self.consuming(broker, len(bodies))
        assert taker.bodies == bodies

    async def test_encoding_is_kept(self) -> None:
        """The content encoding comes with the message."""
        broker = await self.started()
        await self.put(broker, b"\x1f\x8b", encoding="gzip")
        await self.put(broker, b"{}")
        taker = await self.consuming(broker, 2)
        assert [taken.encoding for taken in taker.jobs] == ["gzip", None]

    async def test_headers_and_message_id_are_accepted(self) -> None:
        """Headers with strings and integers, and a message id, hinder nothing."""
        broker = await self.started()
        await self.put(broker, b"{", headers={"reason": "no JSON \u20ac", "count": 2**40}, message_id="a-1")
        assert (await self.consuming(broker, 1)).bodies == [b"{"]

    async def test_oldest_first(self) -> None:
        """Without priorities the order of publication is the order of taking, whatever priority was asked for."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", priority=1)
        await self.put(broker, b"3", priority=9)
        assert (await self.consuming(broker, 3)).bodies == [b"1", b"2", b"3"]

    async def test_priority_then_age(self) -> None:
        """With priorities the highest comes first, equal ones by age; above the highest allowed counts as that."""
        broker = await self.started(max_priority=5)
        await self.put(broker, b"1")
        await self.put(broker, b"2", priority=5)
        await self.put(broker, b"3", priority=2)
        await self.put(broker, b"4", priority=200)
        await self.put(broker, b"5", priority=2)
        assert (await self.consuming(broker, 5)).bodies == [b"2", b"4", b"3", b"5", b"1"]

    async def test_window(self) -> None:
        """Never more than ``window`` are in hand; settling makes room."""
        broker = await self.started()
        await self.put(broker, *(b"%d" % n for n in range(10)))
        taker = await self.consuming(broker, 4, window=4)
        await self.idle()
        assert len(taker.jobs) == 4
        for taken in taker.jobs[:4]:
            await self.settle(taken)
        await self.until(lambda: len(taker.jobs) == 8)
        await self.idle()
        assert taker.bodies == [b"%d" % n for n in range(8)]

    async def test_one_free_place_is_used(self) -> None:
        """A message is taken while most of the window is held for long."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", b"3", b"4", b"5")
        taker = await self.consuming(broker, 4, window=4)
        await self.settle(taker.jobs[0])
        await self.until(lambda: len(taker.jobs) == 5)

    async def test_consume_before_start(self) -> None:
        """``consume`` may be called before the broker is started; what comes later is taken too."""
        broker = await self.make_broker()
        taker = Taker()
        broker.consume(self.outbox, taker, 10)
        await self.start(broker)
        await self.put(broker, b"1")
        await self.until(lambda: taker.jobs)
        await self.put(broker, b"2")
        await self.until(lambda: len(taker.jobs) == 2)

    async def test_pause_and_resume(self) -> None:
        """After ``pause`` nothing new comes, what is in hand can be settled; after ``resume`` it goes on."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        broker.pause()
        await self.put(broker, b"2")
        await self.idle()
        assert taker.bodies == [b"1"]
        await self.settle(taker.jobs[0])
        broker.resume()
        await self.until(lambda: taker.bodies == [b"1", b"2"])

    # -- settling

    async def test_settle_publishes_and_removes(self) -> None:
        """Settling puts the publications on their queues, in order, and the message does not come again."""
        broker = await self.started()
        await self.put(broker, b"job")
        taker = await self.consuming(broker, 1)
        publications = [Publication(queue, body) for queue in (self.results, self.failure) for body in (b"a", b"b")]
        await self.settle(taker.jobs[0], *publications)
        broker = await self.crash(broker)
        await self.start(broker)
        assert await self.bodies_in(broker, self.results) == [b"a", b"b"]
        assert await self.bodies_in(broker, self.failure) == [b"a", b"b"]
        assert await self.bodies_in(broker, self.outbox) == []

    async def test_settle_without_publications(self) -> None:
        """Settling with nothing to publish just removes, and needs no callback."""
        broker = await self.started()
        await self.put(broker, b"1", b"2")
        taker = await self.consuming(broker, 2)
        taker.jobs[0].settle([])
        await self.settle(taker.jobs[1])
        broker = await self.crash(broker)
        await self.start(broker)
        assert await self.bodies_in(broker, self.outbox) == []

    async def test_done_comes_after_the_return(self) -> None:
        """``done`` is called once, and never before ``settle`` or ``publish`` has returned."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        answers: list[bool] = []
        taker.jobs[0].settle([], answers.append)
        broker.publish([Publication(self.results, b"r")], answers.append)
        assert answers == []
        await self.until(lambda: len(answers) == 2)
        await self.idle()
        assert answers == [True, True]

    async def test_many_settlements_at_once(self) -> None:
        """Hundreds of settlements in one turn are all answered, and nothing is lost or doubled."""
        broker = await self.started()
        bodies = [b"%d" % n for n in range(500)]
        await self.put(broker, *bodies)
        taker = await self.consuming(broker, 500, window=500)
        answers: list[bool] = []
        for taken in taker.jobs:
            taken.settle([Publication(self.results, taken.body)], answers.append)
        await self.until(lambda: len(answers) == 500)
        assert all(answers)
        assert await self.bodies_in(broker, self.results) == bodies

    async def test_publish_back_to_the_outbox(self) -> None:
        """A settlement may put a message on the queue that it was taken from: it is a new one."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        await self.settle(taker.jobs[0], Publication(self.outbox, b"again"))
        await self.until(lambda: taker.bodies == [b"1", b"again"])
        assert not taker.jobs[1].redelivered

    # -- due

    async def test_due(self) -> None:
        """What is due later is not given before; then it is."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        now = await self.now()
        await self.settle(taker.jobs[0], Publication(self.outbox, b"later", due=now + 30))
        await self.idle()
        await self.advance(20)
        await self.idle()
        assert taker.bodies == [b"1"]
        await self.advance(15)
        await self.until(lambda: taker.bodies == [b"1", b"later"])

    async def test_due_in_the_past(self) -> None:
        """What was due already is given at once."""
        broker = await self.started()
        await self.put(broker, b"1", due=await self.now() - 1000)
        await self.consuming(broker, 1)

    async def test_waiting_outlives_a_crash(self) -> None:
        """What waits for its time is there after a crash, and waits on."""
        broker = await self.started()
        await self.put(broker, b"later", due=await self.now() + 30)
        broker = await self.crash(broker)
        await self.start(broker)
        taker = await self.consuming(broker, 0)
        await self.idle()
        assert taker.jobs == []
        await self.advance(35)
        await self.until(lambda: taker.bodies == [b"later"])

    # -- going back

    async def test_not_settled_comes_again(self) -> None:
        """After a crash all that was not settled comes again and says so; a first delivery is not ``redelivered``."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", b"3")
        taker = await self.consuming(broker, 3)
        assert [taken.redelivered for taken in taker.jobs] == [False] * 3
        await self.settle(taker.jobs[1])
        broker = await self.crash(broker)
        await self.start(broker)
        taker = await self.consuming(broker, 2)
        await self.idle()
        assert taker.bodies == [b"1", b"3"]
        assert all(taken.redelivered for taken in taker.jobs)

    async def test_never_taken_is_not_redelivered(self) -> None:
        """What nobody had taken before the crash is not ``redelivered``."""
        broker = await self.started()
        await self.put(broker, b"1")
        broker = await self.crash(broker)
        await self.start(broker)
        taker = await self.consuming(broker, 1)
        assert not taker.jobs[0].redelivered

    async def test_give_back(self) -> None:
        """What is given back lies in the queue again, unchanged, and can be taken."""
        broker = await self.started()
        await self.put(broker, b"1", b"2")
        taker = await self.consuming(broker, 2)
        broker.pause()
        taker.jobs[0].give_back()
        await self.idle()
        assert await self.bodies_in(broker, self.outbox) == [b"1"]

    async def test_stop_gives_back(self) -> None:
        """What is in hand when the service stops lies in the queue again."""
        broker = await self.started()
        await self.put(broker, b"1", b"2")
        await self.consuming(broker, 2)
        await self.stop(broker)
        broker = await self.crash(broker)
        await self.start(broker)
        assert await self.bodies_in(broker, self.outbox) == [b"1", b"2"]

    async def test_drain(self) -> None:
        """``drain`` fires when what is under way is confirmed; nothing is taken after it."""
        broker = await self.started()
        await self.put(broker, b"1", b"2")
        taker = await self.consuming(broker, 2)
        answers: list[bool] = []
        taker.jobs[0].settle([Publication(self.results, b"r")], answers.append)
        drained: list[Any] = []
        broker.drain().addCallback(drained.append)
        await self.until(lambda: drained)
        assert answers == [True]
        await self.put(broker, b"3")
        await self.idle()
        assert taker.bodies == [b"1", b"2"]

    # -- get and states

    async def test_get(self) -> None:
        """``get`` gives up to ``count`` of what is ready, in order, and an empty list when there is nothing."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", b"3", queue=self.results)
        jobs = await broker.get(self.results, 2)
        assert [taken.body for taken in jobs] == [b"1", b"2"]
        for taken in jobs:
            await self.settle(taken)
        assert await self.bodies_in(broker, self.results) == [b"3"]
        assert await broker.get(self.results, 2) == []

    async def test_get_and_give_back(self) -> None:
        """What ``get`` gave can be given back."""
        broker = await self.started()
        await self.put(broker, b"1", queue=self.results)
        (taken,) = await broker.get(self.results, 5)
        taken.give_back()
        await self.idle()
        assert await self.bodies_in(broker, self.results) == [b"1"]

    async def test_states(self) -> None:
        """``states`` tells how many lie in each queue, and leaves out a queue that does not exist."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", queue=self.results)
        state = await self.state(broker, self.results)
        assert state is not None
        assert (state.name, state.ready) == (self.results, 2)
        assert await broker.states([self.nowhere]) == []

    async def test_states_tell_all(self) -> None:
        """Where the broker can tell: what waits, what is in hand, and the age of the oldest that is ready."""
        if not self.knows_waiting:
            return
        broker = await self.started()
        await self.put(broker, b"1", b"2", b"3")
        await self.consuming(broker, 2, window=2)
        await self.put(broker, b"later", due=await self.now() + 1000)
        await self.advance(10)
        state = await self.state(broker, self.outbox)
        assert state is not None
        assert (state.ready, state.waiting, state.in_hand) == (1, 1, 2), state
        assert state.oldest is not None
        assert 10 <= state.oldest < 12, state

    async def test_bodies_stay_json(self) -> None:
        """JSON that was published is the same text when it comes."""
        broker = await self.started()
        body = json.dumps({"recipient": "jérôme@example.org", "n": 10**40}, ensure_ascii=False).encode()
        await self.put(broker, body)
        assert (await self.consuming(broker, 1)).bodies == [body]
