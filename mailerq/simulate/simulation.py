"""A simulation: an engine's own parts, over a simulated clock, scripted hosts and queues in memory.

All times are seconds since its start. The same settings, mix and seed make the same simulation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from mailerq.interfaces import Publication
from mailerq.settings import Settings
from mailerq.simulate.binding import binding
from mailerq.simulate.clock import SimulatedClock
from mailerq.simulate.ledger import Ledger, NotConserved
from mailerq.simulate.mix import OTHER, Mix
from mailerq.simulate.network import Network
from mailerq.simulate.outbox import Outbox
from mailerq.simulate.parts import Parts, State, for_simulation
from mailerq.simulate.places import Places
from mailerq.simulate.recorder import Observation, Recorder
from mailerq.simulate.traffic import NUMBER, SIZE, Arrival, ITraffic, MixTraffic

START = 1_800_000_000.0
"""When a simulation begins, in epoch seconds: 2027-01-15 08:00 UTC."""
LOOKED_AT = 200
"""Sites that are asked each minute what they wait for, beside those of domains that are named."""
_json = msgspec.json.Encoder().encode


class Simulation:
    """``settings`` are those of an engine, ``mix`` the world and its traffic; jobs may come from another ``traffic``,
    or from ``publish``. ``observe``: each single event is kept in ``observations``."""

    def __init__(
        self,
        settings: Settings,
        mix: Mix | None = None,
        seed: int = 0,
        *,
        traffic: Callable[[Places], ITraffic] | None = None,
        start: float = START,
        observe: bool = True,
    ) -> None:
        self.mix = mix if mix is not None else Mix()
        self.start = start
        self.seed = seed
        self.clock = SimulatedClock(start)
        providers = [one for one in self.mix.providers.values() if one.name != OTHER]
        self.places = Places([*providers, self.mix.providers[OTHER]], settings.smtp.port)
        self.recorder = Recorder(self.places.providers, observe, self.clock.stop)
        self.ledger = Ledger()
        self.settings = for_simulation(settings)
        self.network = Network(self.clock, self.places, self.recorder, seed, lambda: self.settings)
        self.traffic = traffic(self.places) if traffic else MixTraffic(self.mix, self.places, seed)
        self.queues = self._outbox()
        self._due: Iterator[Arrival] = self.traffic.arrivals()  # each is counted when its time has come
        self._next: Arrival | None = next(self._due, None)
        self._written: Iterator[Arrival] = self.traffic.arrivals()  # each is written down when it is taken
        self._came = self._pulled = 0  # how many of the traffic's jobs
        self._extra = self.traffic.total  # numbers of those that are published besides
        self.parts: Parts | None = None
        self._state = State(self.clock)
        self._build()
        self._at_minute = 0
        self._stops_drained = False
        self.clock.callLater(60.0, self._minute)
        self._wait_for_traffic()

    def _outbox(self) -> Outbox:
        queues = Outbox(self.settings.queues.outbox, self.settings.queues.max_priority)
        queues.next_job, queues.ended = self._next_job, self._ended
        queues.write = self.traffic.body
        return queues

    def _build(self) -> None:
        self.parts = Parts(
            self.clock,
            self.settings,
            places=self.places,
            recorder=self.recorder,
            outbox=self.queues,
            seed=self.seed,
            state=self._state,
            network=self.network,
        )

    # -- what it is asked --------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """What time it is."""
        return self.clock.seconds() - self.start

    @property
    def observations(self) -> list[Observation]:
        """What has gone out so far."""
        return self.recorder.observations

    @property
    def drained(self) -> bool:
        """Whether all jobs have come, and have ended."""
        return self._next is None and not self.ledger.open

    # -- what it is told ---------------------------------------------------------------------------------------------

    def publish(self, recipient: str, *, size: int = 2000, **properties: Any) -> int:
        """Put a job on the outbox now; ``properties`` are those of a job. Returns its number."""
        number, self._extra = self._extra, self._extra + 1
        job = {NUMBER: number, "recipient": recipient, "envelope": "s@sender.example", "mime": "x", SIZE: size}
        provider = self.places.provider_of(recipient.rpartition("@")[2].lower())
        self._arrived(number, provider, self.clock.seconds())
        priority = properties.get("priority")
        body = _json({**job, **properties})
        self.queues.put(Publication(self.queues.name, body, priority=priority), self.clock.seconds())
        self._look_at_outbox()
        return number

    def at(self, time: float, call: Callable[..., Any], *arguments: Any) -> None:
        """Call it at that time (seconds since the start)."""
        self.clock.callLater(max(0.0, time - self.now), call, *arguments)

    def step(self) -> bool:
        """Let the next thing happen. False: nothing will, ever; a simulation that is not drained always has one."""
        happened = self.clock.step()
        self.recorder.raise_bug()
        return happened

    def run(self, until: float | None = None) -> Simulation:
        """Until all jobs have ended, or until that time (seconds since the start) if it is given."""
        self._stops_drained = until is None
        if until is not None or not self.drained:
            self.clock.run(float("inf") if until is None else self.start + until)
        self.recorder.raise_bug()
        return self

    def run_drained(self, until: float) -> Simulation:
        """Until all jobs have ended, but not after that time."""
        self._stops_drained = True
        if not self.drained:
            self.clock.run(self.start + until)
        self.recorder.raise_bug()
        return self

    def reload(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self.settings = for_simulation(settings)
        if self.parts is not None:
            self.parts.reload(self.settings)

    def kill(self) -> None:
        """End the process as ``kill -9`` does: connections end, the broker has all that was in hand again."""
        parts, self.parts = self.parts, None
        if parts is None:
            return
        self.network.cut()
        parts.kill()
        self.clock.clear()
        self._wait_for_traffic()
        self.clock.callLater(60.0 * (self._at_minute + 1) - self.now, self._minute)

    def restart(self) -> None:
        """A new process, with what the old one had written down."""
        self.kill()
        self._state.journal = self._state.journal.next_life()
        self._build()

    def check(self, thoroughly: bool = False) -> None:
        """Each job is in exactly one place: in the outbox (or in hand), or it has ended. Raises ``NotConserved``.

        ``thoroughly``: each single one is looked for; otherwise they are counted."""
        lying = self.queues.held() + self._came - self._pulled
        if lying != self.ledger.open:
            raise NotConserved(f"{self.ledger.open} jobs are on their way, and {lying} are there")
        if thoroughly:
            self._check_each()

    def _check_each(self) -> None:
        numbers = self.queues.numbers()
        wrong = [number for number, times in numbers.items() if times != 1 or not self.ledger.is_open(number)]
        if wrong:
            raise NotConserved(f"jobs that are in several places, or have ended: {sorted(wrong)}")
        if self.parts is not None:
            places = self._places_of_mails()
            for mail in self.parts.deliveries.in_hand:
                if places.get(mail, 0) != (0 if is_elsewhere(mail) else 1):
                    raise NotConserved(f"is in {places.get(mail, 0)} places at once: {mail!r}")

    def _places_of_mails(self) -> Counter[Any]:
        """In how many lanes and connections each mail is."""
        assert self.parts is not None
        places = Counter(list(self.network.returning))
        for site in self.parts.scheduler.sites.values():
            for lane in site.lanes.values():
                places.update(lane.waiting)
            places.update(link.mail for link in site.links if link.mail is not None)
        for connection in self.network.open:
            places.update(connection.mails)
        return places

    # -- the traffic -------------------------------------------------------------------------------------------------

    def _wait_for_traffic(self) -> None:
        if self._next is not None:
            self.clock.callLater(max(0.0, self.start + self._next.time - self.clock.seconds()), self._arrive)

    def _arrive(self) -> None:
        now = self.now
        while self._next is not None and self._next.time <= now + 1e-6:
            self._arrived(self._came, self._next.provider, self.start + self._next.time)
            self._came += 1
            self._next = next(self._due, None)
        self._look_at_outbox()
        self._wait_for_traffic()

    def _arrived(self, number: int, provider: int, time: float) -> None:
        self.ledger.arrive(number, provider, time)
        self.recorder.minutes[provider].arrived += 1

    def _next_job(self) -> tuple[Arrival, float, int] | None:
        if self._pulled == self._came:
            return None
        arrival = next(self._written)
        self._pulled += 1
        return arrival, self.start + arrival.time, self._pulled - 1

    def _look_at_outbox(self) -> None:
        if self.parts is not None:
            self.parts.broker.resume()

    # -- what is written down ----------------------------------------------------------------------------------------

    def _ended(self, number: int, kind: str) -> None:
        provider, since = self.ledger.end(number)
        now = self.clock.seconds()
        self.recorder.minutes[provider].end(kind, now - since, now - self.start)
        if self._stops_drained and self.drained:
            self.clock.stop()

    def _minute(self) -> None:
        self._at_minute += 1
        self.recorder.enter(self._at_minute)
        self.clock.callLater(60.0, self._minute)
        if self.parts is not None:
            sites = self.parts.scheduler.sites
            named = [site for key in self.places.named() if (site := sites.get(key)) is not None]
            for site in dict.fromkeys([*named, *islice(sites.values(), LOOKED_AT)]):
                self._note_limit(site)

    def _note_limit(self, site: Any) -> None:
        """What the first in the queue of a site waits for."""
        if not site.waiting():
            return
        place = self.places.at(site.route.hosts[0].address)
        self.recorder.minutes[place.provider].limits[-1][binding(site)] += 1


def is_elsewhere(mail: Any) -> bool:
    """Whether a mail in hand is neither in a lane nor on a connection: it is decided, or short of its next attempt."""
    return mail.verdict is not None or mail.blocked_by == "nextattempt" or mail.taken.stale
