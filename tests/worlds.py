"""Random worlds for the scheduler: configurations, providers, traffic, and what happens in between.

``worlds()`` is a strategy of hypothesis; ``World.play`` runs one in the simulator and returns what was seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from mailerq.attempt import utc
from mailerq.settings import Settings, parse
from mailerq.simulate.mix import parse_mix
from mailerq.simulate.recorder import Observation
from mailerq.simulate.simulation import Simulation

FULL = bool(os.environ.get("MAILERQ_FULL"))
LOCAL = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
REMOTE = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
TAGS = ("t1", "t2", "u")
Document = dict[str, Any]
Draw = Callable[[Any], Any]


def seeds(many: int, full: int = 20) -> settings:
    """So many examples, the same ones each time; with ``MAILERQ_FULL`` ``full`` times as many, others each time."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=many * full if FULL else many,
        deadline=None,
        derandomize=not FULL,
        database=None,
        suppress_health_check=checks,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


@attrs.frozen
class Action:
    """What happens at ``time``: ``publish``, ``reload``, ``kill``, ``restart``, ``pause``, ``resume``."""

    time: float
    what: str
    with_: Any = None


@attrs.frozen
class World:
    """``configuration`` is a document of settings, ``mix`` one of a mix; times are seconds from the start."""

    configuration: Document
    mix: Document
    actions: tuple[Action, ...]
    seed: int = 0
    ends: float = 900.0

    def play(self, *, check: int = 10, until: float | None = None) -> Seen:
        """Run it; ``check``: each so many events jobs are counted (0: not at all)."""
        seen = Seen(self)
        for action in sorted(self.actions, key=lambda action: action.time):
            seen.run(action.time, check)
            seen.act(action)
        seen.run(self.ends if until is None else until, check)
        return seen


@attrs.frozen
class Mark:
    """From the observation of that number on it is another stretch: another life, or other settings."""

    index: int
    time: float
    settings: Settings
    life: int


class Seen:
    """A simulation of a world, and what is watched in it besides its observations: ``starting`` are, for each
    observation of a connection, the numbers of those that were being set up."""

    def __init__(self, world: World) -> None:
        self.world = world
        first = configured(world.configuration)
        self.simulation = self.simulated(first, parse_mix(json.dumps(world.mix), "mix", {}), world.seed)
        self.marks = [Mark(0, 0.0, first, 0)]
        self.ready_at: dict[int, tuple[int, float]] = {}  # by connection: observations until then, and the time
        self.published: dict[int, Document] = {}
        self.pauses: list[tuple[int, Document, float, float | None]] = []  # observations, scope, since, until
        self.ended: dict[int, tuple[float, str]] = {}  # by number: when, and as what
        self._paused: dict[int, int] = {}
        self._checked = 0
        self._watch_results()
        self._watch()

    def simulated(self, *arguments: Any) -> Simulation:
        """What is run."""
        return Simulation(*arguments)

    @property
    def observations(self) -> list[Observation]:
        """What has gone out."""
        return self.simulation.observations

    @property
    def scheduler(self) -> Any:
        """That of this life."""
        assert self.simulation.parts is not None
        return self.simulation.parts.scheduler

    def _watch_results(self) -> None:
        original = self.simulation.queues.ended

        def ended(number: int, kind: str) -> None:
            self.ended[number] = (self.simulation.now, kind)
            original(number, kind)

        self.simulation.queues.ended = ended

    def _watch(self) -> None:
        scheduler = self.scheduler
        original = scheduler.ready

        def ready(connection: Any) -> None:
            self.ready_at[connection.number] = (len(self.observations), self.simulation.now)
            original(connection)

        scheduler.ready = ready

    def run(self, until: float, check: int) -> None:
        """Let it run until then."""
        simulation = self.simulation
        if not check:
            simulation.run(until=until)
            return
        end = simulation.start + until
        while True:
            due = simulation.clock.next_time()
            if due is None or due > end:
                break
            simulation.step()
            self._checked += 1
            simulation.check(thoroughly=self._checked % (check * 40) == 0)
        simulation.run(until=until)

    def act(self, action: Action) -> None:
        """Do it."""
        getattr(self, f"_{action.what}")(action.with_)

    def _publish(self, job: Document) -> None:
        for number in range(job.get("many", 1)):
            rest = {name: value for name, value in job.items() if name not in ("many", "domain", "lives", "kind")}
            if "lives" in job:
                rest["maxdelivertime"] = utc(self.simulation.start + self.simulation.now + job["lives"])
            made = self.simulation.publish(f"u{len(self.published)}-{number}@{job['domain']}", **rest)
            self.published[made] = {**job, "time": self.simulation.now}

    def _reload(self, document: Document) -> None:
        new = configured(document)
        self.simulation.reload(new)
        self._mark(new, self.marks[-1].life)

    def _mark(self, new: Settings, life: int) -> None:
        self.marks.append(Mark(len(self.observations), self.simulation.now, new, life))

    def _kill(self, _: None) -> None:
        self.simulation.kill()

    def _restart(self, _: None) -> None:
        self.simulation.restart()
        self._watch()
        self._mark(self.marks[-1].settings, self.marks[-1].life + 1)

    def _pause(self, given: Document) -> None:
        if self.simulation.parts is None:
            return
        lasts, scope = given.get("lasts"), given["scope"]
        until = None if lasts is None else self.simulation.now + lasts
        clock_until = None if lasts is None else self.simulation.start + self.simulation.now + lasts
        pause = self.scheduler.pause(clock_until, "a test", **scope)
        self._ends(pause.id)
        self._paused[pause.id] = len(self.pauses)
        self.pauses.append((len(self.observations), scope, self.simulation.now, until))

    def _resume(self, _: None) -> None:
        """The oldest pause ends."""
        if self.simulation.parts is None or not self._paused:
            return
        number = next(iter(self._paused))
        self._ends(number)
        self.scheduler.resume(number)

    def _ends(self, number: int) -> None:
        at = self._paused.pop(number, None)
        if at is not None:
            index, scope, since, until = self.pauses[at]
            now = self.simulation.now
            self.pauses[at] = (index, scope, since, now if until is None else min(until, now))

    def messages(self) -> list[Observation]:
        """The envelopes that were written."""
        return [one for one in self.observations if one.kind == "message"]


def configured(document: Document) -> Settings:
    """Settings from a document."""
    return parse(json.dumps(document), "config", {})


# -- at random ---------------------------------------------------------------------------------------------------------

_RATES: dict[str, list[Any]] = {
    "messages-per-minute": [20, 60, "2/s", 600, "20/s", "1000/h"],
    "bytes-per-minute": ["600KB", "5MB", "100KB/s"],
    "connects-per-minute": [10, 60, "1/s"],
    "ip-messages-per-minute": [30, 120, "5/s"],
    "ip-bytes-per-minute": ["900KB", "200KB/s"],
    "ip-connects-per-minute": [10, 60],
}
_COUNTS: dict[str, list[Any]] = {
    "max-connections": [1, 2, 4],
    "max-starting": [1, 2],
    "ip-max-connections": [1, 2],
    "initial-connections": [1, 3, 20],
    "connection-max-messages": [12, 1, 3],
    "connection-min-messages": [0, 1, 10],
    "connection-max-idle": ["1s", 0, "10s"],
    "max-queue": [100, 1, 5],
}
_OF_A_TAG = ("messages-per-minute", "bytes-per-minute")


@st.composite
def rules(draw: Draw, sites: int, ips: tuple[str, ...]) -> Document:
    """One entry of ``limits``."""
    kinds = ["all", "domains", "domain", "mx", "tag"] + (["ip", "pool", "tag at ip"] if ips else [])
    kind = draw(st.sampled_from(kinds))
    site = draw(st.integers(0, sites - 1))
    rule: Document = {
        "all": {"domain": "*"},
        "domains": {"domain": f"*.s{site}.example"},
        "domain": {"domain": f"a.s{site}.example"},
        "mx": {"mx": f"*.s{site}.example"},
        "tag": {"tag": draw(st.sampled_from(["t1", "t*"]))},
        "ip": {"ip": ips[0] if ips else ""},
        "pool": {"pool": "p"},
        "tag at ip": {"tag": "t1", "ip": ips[-1] if ips else ""},
    }[kind].copy()
    keys = list(_OF_A_TAG) if "tag" in rule else [*_RATES, *_COUNTS]
    for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)):
        rule[key] = draw(st.sampled_from({**_RATES, **_COUNTS}[key]))
    return rule


def _conflicts(rule: Document) -> bool:
    return bool(rule.get("connection-min-messages", 0) > rule.get("connection-max-messages", 99))


@st.composite
def limits(draw: Draw, sites: int, ips: tuple[str, ...], most: int = 4) -> list[Document]:
    """The entries of ``limits``."""
    found = draw(st.lists(rules(sites, ips).filter(lambda rule: not _conflicts(rule)), min_size=1, max_size=most))
    return list(found)


@st.composite
def providers(draw: Draw, sites: int, *, kind: bool = False) -> Document:
    """What providers do. ``kind``: they take everything."""
    found: Document = {}
    for site in range(sites):
        addresses = draw(st.lists(st.sampled_from(REMOTE), min_size=1, max_size=2, unique=True))
        one: Document = {
            "domains": [f"a.s{site}.example", f"b.s{site}.example"],
            "mx": {f"mx{n}.s{site}.example": [address] for n, address in enumerate(addresses)},
            "latency": {
                "connect": draw(st.sampled_from(["30ms", "2s"])),
                "talk": draw(st.sampled_from(["80ms", "5ms", "1s"])),
            },
            "pipelining": draw(st.booleans()),
        }
        for name, values in ({} if kind else _BAD).items():
            if draw(st.integers(0, 4)) == 4:
                one[name] = draw(st.sampled_from(values))
        found[f"p{site}"] = one
    return found


_BAD: dict[str, list[Any]] = {
    "max-connections": [1, 3],
    "messages-per-minute": [30],
    "greylist": ["1m"],
    "deferred": ["20%"],
    "drops": ["10%"],
    "unknown": ["20%"],
    "closes-idle": ["100ms"],
    "too-fast": ["421 4.7.0 Too fast"],
    "outages": [
        [{"after": "20s", "lasts": "1m"}],
        [{"after": "5s", "lasts": "40s", "kind": "silent"}],
        [{"after": "10s", "lasts": "30s", "kind": "421"}],
    ],
}


@st.composite
def jobs(draw: Draw, sites: int, ips: tuple[str, ...], most: int = 60) -> Document:
    """A batch of jobs."""
    job: Document = {
        "many": draw(st.integers(1, most)),
        "domain": f"{draw(st.sampled_from('ab'))}.s{draw(st.integers(0, sites - 1))}.example",
        "size": draw(st.sampled_from([2000, 50_000, 200_000])),
    }
    tags = draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True))
    if tags:
        job["tags"] = tags
    priority = draw(st.sampled_from([0, 0, 5, 9]))
    if priority:
        job["priority"] = priority
    if ips and draw(st.booleans()):
        job["pool"] = "p"
    if draw(st.integers(0, 5)) == 5:
        job["security"] = "optional"
    return job


def base(ips: tuple[str, ...], rules: list[Document], **more: Any) -> Document:
    """A configuration in which retries come soon."""
    document: Document = {
        "limits": rules,
        "delivery": {"retry-interval": "1m", "offline-time": "20s"},
        "smtp": {"timeouts": {"connect": "10s", "reply": "10s", "end": "20s"}},
    }
    if ips:
        document["smtp"]["ips"] = list(ips)
        document["pools"] = {"p": [f"{ips[0]}*2", *ips[1:2]]}
    for name, values in more.items():
        document[name] = {**document.get(name, {}), **values}
    return document


@st.composite
def worlds(draw: Draw, *, events: tuple[str, ...] = (), kind: bool = False, ends: float = 300.0) -> World:
    """Any world. ``events``: what may happen beside traffic, at random moments."""
    sites = draw(st.integers(1, 3))
    ips = LOCAL[: draw(st.sampled_from([0, 1, 2, 3]))]
    smtp = {"max_connections": draw(st.sampled_from([1000, 1, 3]))}
    configuration = base(ips, draw(limits(sites, ips)))
    configuration["smtp"]["max-connections"] = smtp["max_connections"]
    actions = [
        Action(draw(st.sampled_from([0.0, 0.0, 3.0, 20.0, 61.5])), "publish", draw(jobs(sites, ips)))
        for _ in range(draw(st.integers(1, 4)))
    ]
    for event in events:
        for _ in range(draw(st.integers(1, 3))):
            time = draw(st.integers(1, 1500)) / 10
            if event == "reload":
                keeps = draw(st.booleans())
                new = configuration["limits"] if keeps else draw(limits(sites, ips))
                actions.append(Action(time, "reload", {**configuration, "limits": new}))
            elif event == "kill":
                actions += [Action(time, "kill"), Action(time + draw(st.sampled_from([0.0, 0.5, 20.0])), "restart")]
    mix = {"providers": draw(providers(sites, kind=kind))}
    return World(configuration, mix, tuple(actions), draw(st.integers(0, 3)), ends)
