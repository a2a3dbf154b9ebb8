"""The network: what connects a scheduler with scripted hosts."""

from __future__ import annotations

from random import Random
from typing import Any

from mailerq.attempt import Peer
from mailerq.route import Host
from mailerq.simulate.clock import SimulatedClock
from mailerq.simulate.connection import SimulatedConnection
from mailerq.simulate.places import Place, PlacedHost, Places
from mailerq.simulate.provider import Provider
from mailerq.simulate.recorder import Observation, Recorder
from mailerq.simulate.remote import Remote
from mailerq.simulate.traffic import number_of

HERE = "198.51.100.1"
"""The local address that the system would take."""


class Network:
    """Connections are made by ``connect``, which is what a scheduler wants (``scheduler.Connect``)."""

    def __init__(self, clock: SimulatedClock, places: Places, recorder: Recorder, seed: int, settings: Any) -> None:
        self.clock = clock
        self.recorder = recorder
        self.open: dict[SimulatedConnection, None] = {}
        self.returning: dict[Any, None] = {}  # mails that a connection could not take, which is told in this turn
        self._places = places
        self._start = clock.seconds()
        self._seed = seed
        self._dice = Random(f"{seed} network")
        self._settings = settings
        self._remotes: dict[Place, Remote] = {}
        self._peers: dict[tuple[str | None, str], Peer] = {}
        self._count = 0

    def connect(self, owner: Any, link: Any, security: str) -> SimulatedConnection:
        """Begin a connection for a link."""
        self._count += 1
        timeouts = link.lane.site.budget(link.source).timeouts(self._settings().smtp.timeouts)
        connection = SimulatedConnection(self, owner, link, security, timeouts=timeouts, number=self._count)
        self.open[connection] = None
        self.recorder.minutes[connection.provider].connects[-1] += 1
        self._observe("connect", connection, link.mail)
        return connection

    def place(self, host: Host) -> Place:
        """Who a host is."""
        return host.place if isinstance(host, PlacedHost) else self._places.at(host.address)

    def remote(self, place: Place) -> Remote:
        """The site that is at a place; to be asked for anew with each connection."""
        remote = self._remotes.get(place)
        if remote is None:
            provider = self._places.providers[place.provider]
            remote = self._remotes[place] = Remote(provider, place.site, self._seed, self._dice)
        return remote

    def peer(self, source: str | None, host: Host) -> Peer:
        """The two ends."""
        name = source, host.address
        peer = self._peers.get(name)
        if peer is None:
            if len(self._peers) > 10_000:
                self._peers.clear()
            peer = self._peers[name] = Peer(source or HERE, host.address, host.mx)
        return peer

    def since_start(self) -> float:
        """Seconds since the simulation began."""
        return self.clock.seconds() - self._start

    def connect_time(self, provider: Provider) -> float:
        """How long it takes this time until a connection is there."""
        latency = provider.latency
        return latency.connect * (1.0 + latency.jitter * self._dice.random())

    def talk_time(self, provider: Provider) -> float:
        """How long one answer takes this time."""
        latency = provider.latency
        return latency.talk * (1.0 + latency.jitter * self._dice.random())

    def went_out(self, connection: SimulatedConnection, mail: Any) -> None:
        """The envelope of a mail is written."""
        self.recorder.messages += 1
        if self.recorder.observes:
            self._observe("message", connection, mail)

    def closed(self, connection: SimulatedConnection) -> None:
        """A connection is gone, or did not come about."""
        self.open.pop(connection, None)
        if self.recorder.observes:
            self._observe("close", connection, None)
        remote = self._remotes.get(connection.place)
        if remote is not None and remote.is_new:
            del self._remotes[connection.place]

    def _observe(self, kind: str, connection: SimulatedConnection, mail: Any) -> None:
        recorder = self.recorder
        if not recorder.observes:
            return
        tags: tuple[str, ...] = ()
        if mail is not None and isinstance(mail.job.known.tags, list):
            tags = tuple(mail.job.known.tags)
        recorder.observations.append(
            Observation(
                self.since_start(),
                connection.host.address,
                connection.link.source,
                "" if mail is None else mail.job.domain,
                tags,
                0 if mail is None else mail.size,
                kind,
                self._places.providers[connection.provider].name,
                connection.number,
                -1 if mail is None else number_of(mail.job),
            )
        )

    def cut(self) -> None:
        """Our process was killed: all connections end."""
        for connection in list(self.open):
            connection.cut()
        self.returning.clear()
