"""The parts of an engine, joined as ``tap.Engine`` joins them, over a simulated clock, network and queues."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import attrs

from mailerq.attempt import Attempt
from mailerq.commons import Commons
from mailerq.delivery import Deliveries
from mailerq.events import Events
from mailerq.mail import Mail
from mailerq.queues.memory import MemoryBroker
from mailerq.route import Answer
from mailerq.scheduler import Scheduler
from mailerq.settings import Settings
from mailerq.simulate.clock import SimulatedClock
from mailerq.simulate.memory_journal import MemoryJournal
from mailerq.simulate.memory_state import MemoryNotes, MemoryPaces
from mailerq.simulate.network import HERE, Network
from mailerq.simulate.outbox import Outbox
from mailerq.simulate.places import Places
from mailerq.simulate.recorder import Recorder
from mailerq.simulate.traffic import SIZE

TICK = 10.0
"""Seconds between two looks at what is over; an engine looks each second."""


class Names:
    """A resolver that knows all names at once."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def cached(self, domain: str) -> Answer:
        """Where mail for ``domain`` goes."""
        return self._places.route(domain)

    def cached_host(self, hostname: str, port: int) -> Answer:
        """The route to a host itself."""
        return self._places.route(hostname)


class Local:
    """All addresses are here."""

    def has(self, address: str) -> bool:
        """Whether ``address`` is on this host."""
        return True

    def towards(self, address: str) -> str:
        """The one that the system would take."""
        return HERE


class CountedScheduler(Scheduler):
    """Counts how often a site is looked at, and takes a mail for as large as its job says."""

    recorder: Recorder

    def add(self, mail: Mail, *arguments: Any) -> None:
        """A mail waits for its turn."""
        size = mail.job.pieces.get(SIZE)
        if size is not None:
            mail.size = int(bytes(size))
        super().add(mail, *arguments)

    def _look_at(self, *arguments: Any) -> Any:
        self.recorder.wake_ups += 1
        try:
            return super()._look_at(*arguments)
        except Exception as bug:
            self.recorder.broke(bug)
            raise


class CountedEvents(Events):
    """Counts attempts by provider and type. ``final`` is the type of the last one that was told of each mail that has
    its result now."""

    recorder: Recorder
    places: Places

    def attempt(self, mail: Mail, attempt: Attempt) -> None:
        """An attempt has ended."""
        super().attempt(mail, attempt)
        self.recorder.minutes[self.places.provider_of(mail.job.domain)].attempts[attempt.type.value] += 1

    def parked(self, mail: Mail, until: float, why: str) -> None:
        """A job goes back to the broker to wait there."""
        super().parked(mail, until, why)
        self.recorder.parked += 1


def _raise_again(taken: Any, digest: bytes) -> None:
    """An engine goes on where its own code breaks on a job. A simulation is there to find that."""
    raise  # noqa: PLE0704 (it is called where an exception is being dealt with)


def for_simulation(settings: Settings) -> Settings:
    """``settings`` with the queues that a simulation has: a final result is published once, a retry is not told."""
    queues = attrs.evolve(
        settings.queues,
        results="results",
        success=None,
        failure=None,
        retry=None,
        invalid="results",
        results_include_retries=False,
    )
    return attrs.evolve(settings, queues=queues)


class State:
    """What a process leaves to the next one."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.journal = MemoryJournal()
        self.paces = MemoryPaces(clock.seconds)
        self.notes = MemoryNotes()


class Parts:
    """One process."""

    def __init__(
        self,
        clock: SimulatedClock,
        settings: Settings,
        *,
        places: Places,
        recorder: Recorder,
        outbox: Outbox,
        seed: int,
        state: State,
        network: Network,
        commons: Commons | None = None,
    ) -> None:
        self.settings = settings
        dice = Random(f"{seed} engine")
        self.broker = self.broker_of(clock, outbox)
        self.events = CountedEvents(clock.seconds, lambda call: clock.callLater(0, call))
        self.events.recorder, self.events.places = recorder, places
        self.scheduler = CountedScheduler(
            clock,
            settings,
            network.connect,
            dice,
            memory=cast("Any", state.paces),
            notes=cast("Any", state.notes),
            commons=commons,
        )
        self.scheduler.recorder = recorder
        joined: Any = {
            "broker": self.broker,
            "resolver": Names(places),
            "scheduler": self.scheduler,
            "journal": state.journal,
            "events": self.events,
            "local": Local(),
        }
        self.deliveries = Deliveries(clock, settings, **joined)
        self.deliveries.put_aside = _raise_again  # type: ignore[method-assign]
        self._clock = clock
        self._tick()
        self.broker.consume(settings.queues.outbox, self.deliveries, settings.queues.window)
        self.broker.startService()

    def broker_of(self, clock: Any, outbox: Outbox) -> MemoryBroker:
        """What it takes its jobs from."""
        return MemoryBroker(clock, None, outbox)

    def _tick(self) -> None:
        now = self._clock.seconds()
        self.scheduler.hosts.forget_old(now)
        self.scheduler.reactions.tick(now)
        self._clock.callLater(TICK, self._tick)

    def reload(self, settings: Settings) -> None:
        """Other limits hold from now on."""
        self.settings = settings
        self.scheduler.reload(settings)
        self.deliveries.reload(settings)

    def kill(self) -> None:
        """What ``kill -9`` does; what is left is the queues and the journal."""
        self.deliveries.taken = lambda taken: None  # type: ignore[method-assign]
        self.broker.running = False
        self.broker.lose("killed")
