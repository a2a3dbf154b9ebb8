"""Limits that engines of several machines share through a store: whole schedulers on one clock, a store in memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.shares.member import LEASE, Member
from mailerq.simulate.simulation import Simulation
from tests.crews import CrewSeen, CrewSimulation
from tests.shares_store import SharesStore
from tests.windows import violations
from tests.worlds import Action, Document, World, base, seeds

PERIOD, SOON, WAY = 0.5, 0.01, 0.002


class StoreOfCrew:
    """Asks for one member, as ``limits_store/client.py`` does."""

    def __init__(self, clock: Any, store: SharesStore, member: Member) -> None:
        self.clock = clock
        self.store = store
        self.member = member
        self.full_at = self.answered_at = clock.seconds()
        self.timer: Any = None
        self.asking = False
        self.lives = True
        member.on_wake = self.wake
        self.at(0.0)

    def wake(self) -> None:
        """Soon."""
        if not self.asking and self.lives:
            self.at(SOON)

    def at(self, delay: float) -> None:
        """Ask after that, if not before."""
        if self.timer is not None and self.timer.active():
            if self.timer.getTime() <= self.clock.seconds() + delay:
                return
            self.timer.cancel()
        self.timer = self.clock.callLater(delay, self.ask)

    def ask(self) -> None:
        """A question, its way, its answer's way."""
        if not self.lives:
            return
        now = self.clock.seconds()
        if now - self.answered_at >= LEASE:
            self.member.lost()
        full = now >= self.full_at - SOON
        if full:
            self.full_at = now + PERIOD
        self.asking = True
        question, keys = self.member.question(now, full=full)
        self.clock.callLater(WAY, lambda: self.clock.callLater(WAY, self.told, self.store.ask(question, keys)))

    def told(self, answer: Any) -> None:
        """The answer."""
        if self.lives:
            self.asking = False
            self.answered_at = self.clock.seconds()
            self.member.answered(answer, self.answered_at)
            self.at(max(SOON, self.full_at - self.clock.seconds()))

    def end(self) -> None:
        """It is killed."""
        self.lives = False


class MachinesSimulation(CrewSimulation):
    """Each of the crew is a machine of its own."""

    def _build(self) -> None:
        self._store = SharesStore(self.clock.seconds)
        self._clients: dict[int, StoreOfCrew] = {}
        self._lives = 0
        super()._build()

    def _commons(self, index: int) -> Any:
        self._lives += 1
        member = Member(f"m{index}", f"{self._lives:09}", self.clock.seconds)
        self._clients[index] = StoreOfCrew(self.clock, self._store, member)
        return member

    def end(self, index: int) -> None:
        """A machine is killed."""
        client = self._clients.pop(index, None)
        if client is not None:
            client.end()
        super().end(index)


class MachinesSeen(CrewSeen):
    """What is seen of machines."""

    def simulated(self, *arguments: Any) -> Simulation:
        """Machines."""
        return MachinesSimulation(*arguments, many=self.many, folder=None)


def play(world: World, many: int) -> MachinesSeen:
    """Run a world on so many machines."""
    seen = MachinesSeen(world, many)
    for action in sorted(world.actions, key=lambda action: action.time):
        seen.run(action.time, 0)
        seen.act(action)
    seen.run(world.ends, 0)
    return seen


def one_site(
    seed: int,
    rule: Document,
    actions: tuple[Action, ...] = (),
    *,
    jobs: int = 200,
    talk: str = "80ms",
    ends: float = 600.0,
) -> World:
    """So many jobs for one site, under one rule."""
    provider = {
        "domains": ["a.s0.example"],
        "mx": {"mx0.s0.example": ["192.0.2.1", "192.0.2.2"]},
        "latency": {"connect": "30ms", "talk": talk},
    }
    publish = Action(0.0, "publish", {"many": jobs, "domain": "a.s0.example"})
    configuration = base((), [{"domain": "*", **rule}])
    return World(configuration, {"providers": {"p0": provider}}, (publish, *actions), seed, ends)


rules = st.fixed_dictionaries(
    {},
    optional={
        "messages-per-minute": st.sampled_from([20, 60, 100]),
        "connects-per-minute": st.sampled_from([30, 90]),
        "ip-messages-per-minute": st.sampled_from([30, 100]),
        "max-connections": st.sampled_from([1, 2, 3, 7]),
        "max-starting": st.sampled_from([1, 2]),
        "ip-max-connections": st.sampled_from([1, 2]),
    },
)
kills = st.lists(st.tuples(st.floats(5.0, 120.0), st.sampled_from([0.0, 0.5, 20.0])), max_size=3)


class Held(SynchronousTestCase):
    """For all machines together."""

    @seeds(25)
    @given(st.integers(0, 10**6), rules, st.integers(2, 4), kills)
    def test_held(self, seed: int, rule: Document, many: int, kills: list[tuple[float, float]]) -> None:
        """In every window, and at every moment, though machines are killed and begin again."""
        actions = tuple(one for at, later in kills for one in (Action(at, "kill"), Action(at + later, "restart")))
        seen = play(one_site(seed, rule, actions, ends=240.0), many)
        self.assertEqual(violations(seen), [])

    def test_it_is_used(self) -> None:
        """What may be used is used: all of a slow rate, all of a fast one, all connections."""
        for rule, within in (
            ({"messages-per-minute": 60}, 200 * 1.15 + 10),
            ({"messages-per-minute": 600}, 200 / 10 * 1.3 + 10),
            ({"max-connections": 3, "initial-connections": 3}, 200 * 0.5 / 3 + 15),
        ):
            seen = play(one_site(1, rule), 3)
            self.assertEqual(len(seen.ended), 200, rule)
            self.assertLess(max(time for time, _ in seen.ended.values()), within, rule)

    def test_all_send(self) -> None:
        """Each machine has its turn."""
        for rule in ({"messages-per-minute": 30}, {"max-connections": 1}, {"max-connections": 7}):
            seen = play(one_site(2, rule), 3)
            self.assertEqual({seen.worker_of[one.connection] for one in seen.messages()}, {0, 1, 2}, rule)
            self.assertEqual(len(seen.ended), 200)
