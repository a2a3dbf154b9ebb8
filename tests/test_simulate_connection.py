"""Simulated connections keep the promises of real ones (``IConnectionOwner``), whatever hosts do and owners ask for."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.budget import Budget
from mailerq.settings import Smtp
from mailerq.simulate.clock import SimulatedClock
from mailerq.simulate.connection import SimulatedConnection
from mailerq.simulate.mix import parse_mix
from mailerq.simulate.network import Network
from mailerq.simulate.places import Places
from mailerq.simulate.recorder import Recorder
from mailerq.throttle import Pace
from tests.owner import Mail, Owner

FAULTS = (
    "drops: 30%",
    "deferred: 40%",
    "unknown: 40%",
    "closes-idle: 2s",
    "pipelining: false",
    "tls: false",
    "max-connections: 1",
    "messages-per-minute: 2",
    "too-fast: 421 4.7.0 Go away",
    "greylist: 1m",
    "outages: [{after: 1s, lasts: 3s}]",
    "outages: [{after: 1s, lasts: 3s, kind: silent}]",
    'outages: [{after: 1s, lasts: 3s, kind: "421"}]',
)


class SizedMail(Mail):
    """A mail as the network wants it."""

    size = 1000


class Stage:
    """One host, and connections to it."""

    def __init__(self, provider: str, seed: int = 1) -> None:
        self.clock = SimulatedClock(1e9)
        self.mix = parse_mix(f"providers: {{x: {{domains: [x.example], {provider}}}}}", "mix", {})
        self.places = Places(list(self.mix.providers.values()))
        self.recorder = Recorder(self.places.providers, False, self.clock.stop)
        self.network = Network(self.clock, self.places, self.recorder, seed, lambda: SimpleNamespace(smtp=Smtp()))

    def connect(self, owner: Owner, security: str = "opportunistic") -> SimulatedConnection:
        """Begin a connection."""
        host = self.places.route("x.example").hosts[0]
        site = SimpleNamespace(budget=lambda source: Budget(lambda name, value: Pace(value.number), source, {}))
        link = SimpleNamespace(host=host, source=None, mail=None, lane=SimpleNamespace(site=site))
        return self.network.connect(owner, link, security)


def sized(count: int) -> list[Any]:
    """So many mails."""
    return [SizedMail(f"m{number}@x.example") for number in range(count)]


class Talks(SynchronousTestCase):
    """What an owner is told."""

    def told(self, provider: str, count: int, then: str = "", seconds: float = 3600) -> list[str]:
        """What an owner of ``count`` mails is told; ``then`` it calls that of a connection that has none left."""
        stage = Stage(provider)
        owner = Owner(*sized(count))
        connection = stage.connect(owner)
        stage.clock.run(1e9 + 60 if then else 1e9 + seconds)
        if then:
            getattr(connection, then)()
            stage.clock.run(1e9 + seconds)
        self.assertFalse(stage.network.open if then else ())
        return owner.told

    def test_two_mails(self) -> None:
        """The second goes along with the first, and both are told in their order."""
        told = self.told("", 2, "quit")
        self.assertEqual(told, ["ready", "due m0", "finished m0: success 250 2.0.0 accept", "due m1",
                                "finished m1: success 250 2.0.0 accept", "gone"])  # fmt: skip

    def test_refused(self) -> None:
        """No connection: it failed, and that is all."""
        self.assertEqual(self.told("outages: [{after: 0s, lasts: 1h}]", 1), ["failed: refused connect"])

    def test_turned_away(self) -> None:
        """A 421 at the greeting is no access."""
        self.assertEqual(
            self.told('outages: [{after: 0s, lasts: 1h, kind: "421"}]', 1), ["failed: noaccess 421 4.3.2 init"]
        )

    def test_silent(self) -> None:
        """A host that is silent is given up after the time for connecting."""
        self.assertEqual(self.told("outages: [{after: 0s, lasts: 1h, kind: silent}]", 1), ["failed: connect connect"])

    def test_lost_in_doubt(self) -> None:
        """A connection that breaks after the message leaves it in doubt; the mail behind it was not tried."""
        told = self.told("drops: 100%", 2)
        self.assertEqual(told, ["ready", "due m0", "finished m0: lost received?", "unsent m1", "gone"])

    def test_closed_idle(self) -> None:
        """A host that closes an idle connection makes it ``idle``."""
        self.assertEqual(self.told("closes-idle: 1s", 1)[-1], "gone: idle idle")

    @settings(max_examples=150, deadline=None)
    @given(
        st.sets(st.sampled_from(FAULTS), max_size=4),
        st.lists(st.tuples(st.floats(0, 8), st.sampled_from(["quit", "abort", "give"])), max_size=6),
        st.integers(0, 6),
        st.integers(0, 1000),
    )
    def test_whatever_happens(self, faults: set[str], acts: list[tuple[float, str]], count: int, seed: int) -> None:
        """A connection ends with one ``failed`` or, after it was ``ready``, with one ``gone``; nothing is told from
        within a call; each mail that went out is told once, finished or unsent."""
        stage = Stage(", ".join({fault.partition(":")[0]: fault for fault in sorted(faults)}.values()), seed)
        owner = Owner(*sized(count))
        given_out = list(owner.waiting)
        connection = stage.connect(owner)
        extra = sized(10)[6:]

        def act(what: str) -> None:
            owner.depth += 1
            if what == "give":
                if extra:
                    given_out.append(mail := extra.pop())
                    connection.give(mail)
            else:
                getattr(connection, what)()
            owner.depth -= 1

        for time, what in acts:
            stage.clock.callLater(time, act, what)
        stage.clock.run(1e9 + 3600)
        act("abort")
        stage.clock.run(1e9 + 7200)
        words = Counter(line.partition(" ")[0].rstrip(":") for line in owner.told)
        self.assertEqual(words["failed"] + words["gone"], 1, owner.told)
        self.assertEqual(words["ready"], words["gone"], owner.told)
        ended = Counter(line.split()[1].rstrip(":") for line in owner.told if line.startswith(("finished", "unsent")))
        names = {mail.recipient.partition("@")[0] for mail in given_out if mail not in owner.waiting}
        self.assertEqual(set(ended), names, owner.told)
        self.assertEqual(set(ended.values()) - {1}, set(), owner.told)
        self.assertFalse(stage.network.open)
        self.assertEqual(stage.recorder.minutes[0].open, 0)
