"""What happens in a simulation, written down: by provider and minute, and, where it is wanted, each single event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailerq.reply import Reply
from mailerq.simulate.minutes import Minutes
from mailerq.simulate.provider import Provider
from mailerq.simulate.wait_times import WaitTimes


class Observation(NamedTuple):
    """What went out, and when (seconds since the start): ``kind`` is ``connect`` (a connection is begun), ``message``
    (a mail's envelope is written) or ``close`` (a connection is gone, or did not come about).

    ``local`` is None where no address was asked for; of a connection ``domain``, ``tags`` and ``size`` are those of the
    mail it is opened for. ``connection`` counts connections, ``number`` is the job's."""

    time: float
    remote: str
    local: str | None
    domain: str
    tags: tuple[str, ...]
    size: int
    kind: str
    provider: str
    connection: int
    number: int


class Recorder:
    """``minutes`` has an entry for each provider, in order."""

    def __init__(self, providers: Sequence[Provider], observe: bool, stop: Callable[[], None]) -> None:
        self.minutes = [Minutes(provider.name) for provider in providers]
        self.observations: list[Observation] = []
        self.observes = observe
        self.wake_ups = 0
        self.messages = 0
        self.parked = 0
        self._stop = stop
        self._bug: Exception | None = None
        self.enter(0)

    def broke(self, bug: Exception) -> None:
        """The engine's own code has raised where it catches that and goes on; a simulation is there to find it."""
        self._bug = bug
        self._stop()

    def raise_bug(self) -> None:
        """Raise what the engine has caught, if it has."""
        if self._bug is not None:
            raise self._bug

    def enter(self, minute: int) -> None:
        """It is that minute now."""
        for one in self.minutes:
            one.enter(minute)

    def answered(self, provider: int, reply: Reply | None) -> None:
        """A mail was accepted (None) or refused."""
        one = self.minutes[provider]
        if reply is None:
            one.accepted[-1] += 1
        elif reply.code < 500:
            one.deferred[-1] += 1
        else:
            one.refused[-1] += 1

    def waits(self) -> WaitTimes:
        """How long jobs waited, to all providers together."""
        together = WaitTimes()
        for one in self.minutes:
            together.add_all(one.waits)
        return together
