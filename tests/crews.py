"""Several workers in one simulation: each has its own parts and its own life, and they share limits, queues and hosts.

Jobs are dealt to the workers at random. What happens in ``worlds.py`` happens here: ``kill`` and ``restart`` are of one
worker, with what it had in hand dealt to the others; reloads and pauses are of all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from random import Random
from typing import Any

from mailerq.queues.memory import MemoryBroker, MemoryQueues
from mailerq.shared_limits import SharedLimits
from mailerq.shared_memory import clear_dead, in_memory, open_shared
from mailerq.simulate.parts import Parts
from mailerq.simulate.simulation import Simulation
from tests.worlds import Seen, World


class OneLife:
    """A clock as one process has it: when that is killed, none of its calls is made any more."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.alive = True

    def seconds(self) -> float:
        """What time it is."""
        found: float = self._clock.seconds()
        return found

    def callLater(self, delay: float, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call it then, if the process still lives."""

        def called() -> None:
            if self.alive:
                call(*arguments, **named)

        return self._clock.callLater(delay, called)


class DealingBroker(MemoryBroker):
    """Deals what there is to all brokers of its crew, at random."""

    crew: list[DealingBroker]
    dice: Random
    takes = True

    def _fill(self) -> None:
        while self.running and self.connected and not self._paused:
            able = [one for one in self.crew if one.running and one.connected and one._room()]
            if not able or self._queue is None:
                return
            message = next(self.queues.take(self._queue, 1), None)
            if message is None:
                return
            other = self.dice.choice(able)
            assert other._taker is not None
            other._taker.taken(other._take(message))

    def _room(self) -> bool:
        return self.takes and self._taker is not None and not self._paused and len(self._in_hand) < self._window


class CrewParts(Parts):
    """One worker."""

    def __init__(self, clock: Any, crew: list[DealingBroker], dice: Random, commons: Any, **rest: Any) -> None:
        self._crew, self._dealing = crew, dice
        self.life = OneLife(clock)
        self.commons = commons
        super().__init__(self.life, commons=commons, **rest)  # type: ignore[arg-type]

    def broker_of(self, clock: Any, outbox: MemoryQueues) -> MemoryBroker:
        """One that deals with the others."""
        broker = DealingBroker(clock, None, outbox)
        broker.crew, broker.dice = self._crew, self._dealing
        self._crew.append(broker)
        return broker


class CrewSimulation(Simulation):
    """``many`` workers. ``folder``: the limits are shared in files there; None: in memory. ``alone``: they are not
    shared, to show that the measure sees it."""

    def __init__(self, *arguments: Any, many: int, folder: str | None, alone: bool = False, **rest: Any) -> None:
        self.many = many
        self.folder = folder
        self.alone = alone
        self._crew: list[DealingBroker] = []
        self.workers: dict[int, CrewParts] = {}
        self._in_memory: list[SharedLimits] = []
        self._states: dict[int, Any] = {}
        super().__init__(*arguments, **rest)

    def _build(self) -> None:
        if self.folder is None:
            self._in_memory = in_memory(self.many, self.clock.seconds)
        self._dealing = Random(f"{self.seed} dealing")
        for index in range(self.many):
            self.begin(index)

    def begin(self, index: int) -> None:
        """A worker begins."""
        if index in self.workers:
            return
        state = self._states.get(index) or type(self._state)(self.clock)
        state.journal = state.journal.next_life()
        self._states[index] = state
        self.workers[index] = CrewParts(
            self.clock,
            self._crew,
            self._dealing,
            None if self.alone else self._commons(index),
            settings=self.settings,
            places=self.places,
            recorder=self.recorder,
            outbox=self.queues,
            seed=self.seed * 10 + index,
            state=state,
            network=self.network,
        )
        self.parts = next(iter(self.workers.values()))

    def _commons(self, index: int) -> SharedLimits:
        if self.folder is not None:
            return open_shared(self.folder, index, self.many, self.clock.seconds)
        shared = self._in_memory[index]
        again = SharedLimits(shared.paces, shared.columns, shared.named.again())
        shared.columns.clear(index)
        return again

    def end(self, index: int) -> None:
        """A worker is killed."""
        parts = self.workers.pop(index, None)
        if parts is None:
            return
        parts.life.alive = False
        for connection in list(self.network.open):
            if connection.owner is parts.scheduler:
                connection.cut()
        parts.kill()
        self._crew.remove(parts.broker)  # type: ignore[arg-type]
        if self.folder is not None:
            parts.commons.die()
            clear_dead(self.folder, index, self.many)
        elif not self.alone:
            self._in_memory[index].columns.clear(index)
        self.parts = next(iter(self.workers.values()), None)
        self._look_at_outbox()

    def reload(self, settings: Any) -> None:
        """Other settings hold from now on."""
        first, self.parts = self.parts, None
        super().reload(settings)
        self.parts = first
        for worker in self.workers.values():
            worker.reload(self.settings)

    def _look_at_outbox(self) -> None:
        for worker in getattr(self, "workers", {}).values():
            worker.broker.resume()

    def close(self) -> None:
        """Files are closed."""
        if self.folder is not None:
            for worker in self.workers.values():
                worker.commons.close()


class CrewSeen(Seen):
    """What is seen of a crew."""

    def __init__(self, world: World, many: int, folder: str | None = None, alone: bool = False) -> None:
        self.many, self.folder, self.alone = many, folder, alone
        self._dice = Random(f"{world.seed} crew")
        self.worker_of: dict[int, int] = {}  # by number of connection
        super().__init__(world)

    def simulated(self, *arguments: Any) -> Simulation:
        """A crew."""
        return CrewSimulation(*arguments, many=self.many, folder=self.folder, alone=self.alone)

    @property
    def crew(self) -> CrewSimulation:
        """It."""
        assert isinstance(self.simulation, CrewSimulation)
        return self.simulation

    def takes(self, index: int, takes: bool) -> None:
        """Whether a worker takes jobs."""
        broker = self.crew.workers[index].broker
        assert isinstance(broker, DealingBroker)
        broker.takes = takes

    def _watch(self) -> None:
        for index, worker in self.crew.workers.items():
            self._watch_one(index, worker.scheduler)

    def _watch_one(self, index: int, scheduler: Any) -> None:
        original, connect = scheduler.ready, scheduler._connect

        def connected(owner: Any, link: Any, security: str) -> Any:
            connection = connect(owner, link, security)
            self.worker_of[connection.number] = index
            return connection

        scheduler._connect = connected

        def ready(connection: Any) -> None:
            self.ready_at[connection.number] = (len(self.observations), self.simulation.now)
            original(connection)

        scheduler.ready = ready

    def _mark(self, new: Any, life: int) -> None:
        """A worker whose site rests when rules are read again does not know which domains were of it: the measure takes
        them for unknown until there is mail to them."""
        super()._mark(new, life + 1)

    def _kill(self, _: None) -> None:
        self.crew.end(self._dice.choice(sorted(self.crew.workers) or [0]))

    def _restart(self, _: None) -> None:
        missing = [index for index in range(self.many) if index not in self.crew.workers]
        if missing:
            index = self._dice.choice(missing)
            self.crew.begin(index)
            self._watch_one(index, self.crew.workers[index].scheduler)

    def _pause(self, given: Any) -> None:
        now = self.simulation.now
        until = None if given.get("lasts") is None else now + given["lasts"]
        end = None if until is None else self.simulation.start + until
        for worker in self.crew.workers.values():
            worker.scheduler.pause(end, "a test", **given["scope"])
        self.pauses.append((len(self.observations), given["scope"], now, until))


def play(world: World, many: int, *, on_disk: bool = False, alone: bool = False) -> CrewSeen:
    """Run a world with so many workers."""
    if not on_disk:
        return _played(CrewSeen(world, many, None, alone))
    with tempfile.TemporaryDirectory() as folder:
        seen = _played(CrewSeen(world, many, folder))
        seen.crew.close()
        return seen


def _played(seen: CrewSeen) -> CrewSeen:
    for action in sorted(seen.world.actions, key=lambda action: action.time):
        seen.run(action.time, 0)
        seen.act(action)
    seen.run(seen.world.ends, 0)
    return seen
