"""What stops mail: pauses and expiry, in every state, at random moments; and no job is lost or ends twice.

Definitions, which the tests hold the scheduler to:

- After a pause has begun, no talk about a paused mail begins (no envelope is written), and no connection is begun for
  it. A mail that is on a connection when the pause begins is talked about to its end.
- A paused mail looks at least every ten minutes whether the pause is over, so that it may go within ``LOOKS`` of its
  end; a pause counts no attempt and fails nobody.
- A mail whose ``maxdelivertime`` has passed begins no talk any more, and has ended within ``LATE`` of it, or of the end
  of the talk or the connection attempt it was on.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.simulate.recorder import Observation
from tests.worlds import LOCAL, Action, Document, Seen, World, base, jobs, limits, providers, seeds, worlds

LOOKS = 630.0
LATE = 2.0
ON_IT = 45.0  # seconds for which a mail may be on a connection: timeouts, and the latencies of providers
SCOPES: tuple[Document, ...] = (
    {},
    {"domain": "a.s0.example"},
    {"domain": "*.s0.example"},
    {"mx": "*.s0.example"},
    {"tag": "t1"},
    {"ip": LOCAL[0]},
    {"pool": "p"},
    {"tag": "t*", "domain": "b.*"},
    {"ip": LOCAL[1], "domain": "*.s1.example"},
)


def fits(scope: Document, one: Observation, pool: tuple[str, ...]) -> bool:
    """Whether what went out is what a pause names."""
    return (
        ("domain" not in scope or fnmatchcase(one.domain, scope["domain"]))
        and ("mx" not in scope or fnmatchcase(f"mx0.s{one.provider[1:]}.example", scope["mx"]))
        and ("tag" not in scope or any(fnmatchcase(tag, scope["tag"]) for tag in one.tags))
        and ("ip" not in scope or one.local == scope["ip"])
        and ("pool" not in scope or one.local in pool)
    )


def broken_pauses(seen: Seen) -> Iterator[str]:
    """All that went out though it was paused."""
    for first, scope, since, until in seen.pauses:
        for one in seen.observations[first:]:
            if until is not None and one.time >= until:
                break
            pool = tuple(seen.marks[-1].settings.pools.get("p", ()))
            if one.kind != "close" and fits(scope, one, pool):
                yield f"paused {scope} from {since} to {until}: {one}"


@st.composite
def paused_worlds(draw: Any, *, forever: bool = False) -> World:
    """Worlds in which pauses begin and end."""
    world: World = draw(worlds(events=draw(st.sampled_from([(), ("kill",), ("reload",)])), ends=400.0))
    actions = list(world.actions)
    for _ in range(draw(st.integers(1, 4))):
        time = draw(st.integers(0, 1500)) / 10
        lasts = None if forever else draw(st.sampled_from([None, 5.0, 40.0, 200.0]))
        actions.append(Action(time, "pause", {"scope": draw(st.sampled_from(SCOPES)), "lasts": lasts}))
        if draw(st.booleans()) and not forever:
            actions.append(Action(time + draw(st.sampled_from([0.1, 10.0, 100.0])), "resume"))
    return World(world.configuration, world.mix, tuple(actions), world.seed, world.ends)


class Pauses(SynchronousTestCase):
    """Nothing that is paused goes out."""

    @seeds(70)
    @given(paused_worlds())
    def test_nothing_goes(self, world: World) -> None:
        """Whatever is paused when, no talk and no connection begins for it until it is over."""
        seen = world.play(check=0)
        self.assertEqual(list(broken_pauses(seen)), [])

    @seeds(40)
    @given(paused_worlds())
    def test_nobody_fails(self, world: World) -> None:
        """Where hosts take everything, all that was paused is delivered in the end."""
        mix = {"providers": {name: _kind(one) for name, one in world.mix["providers"].items()}}
        ends = [Action(world.ends, "resume")] * 8
        kept = [action for action in world.actions if action.what != "reload"]  # to limits that take their time
        seen = World(_fast(world.configuration), mix, (*kept, *ends), world.seed).play(check=0)
        seen.simulation.run_drained(world.ends + LOOKS)
        results = [one.results for one in seen.simulation.recorder.minutes if one.results]
        self.assertTrue(seen.simulation.drained, list(seen.scheduler.sites.values()))
        self.assertEqual({kind for one in results for kind in one}, {"success"})

    @seeds(30)
    @given(paused_worlds(forever=True))
    def test_no_memory(self, world: World) -> None:
        """What is paused does not stay in memory: it is the broker's."""
        seen = world.play(check=0)
        if any(scope == {} for _, scope, _, _ in seen.pauses) and seen.simulation.now > 200:
            self.assertEqual(sum(site.waiting() for site in seen.scheduler.sites.values()), 0)


def _kind(provider: Document) -> Document:
    return {name: value for name, value in provider.items() if name in ("domains", "mx", "latency", "pipelining")}


def _fast(configuration: Document) -> Document:
    return {**configuration, "limits": [{"domain": "*", "messages-per-minute": 600}]}


@st.composite
def hurried_worlds(draw: Any) -> World:
    """Worlds in which jobs have little time."""
    sites = draw(st.integers(1, 2))
    ips = LOCAL[: draw(st.sampled_from([0, 2]))]
    actions = []
    for _ in range(draw(st.integers(1, 4))):
        lives = draw(st.sampled_from([5.0, 30.0, 61.0, 200.0]))
        batch = {**draw(jobs(sites, ips, 30)), "lives": lives}
        actions.append(Action(draw(st.sampled_from([0.0, 0.0, 3.0, 45.0])), "publish", batch))
    if draw(st.booleans()):
        actions.append(Action(draw(st.integers(0, 600)) / 10, "pause", {"scope": draw(st.sampled_from(SCOPES))}))
    configuration = base(ips, draw(limits(sites, ips)))
    if draw(st.booleans()):
        configuration["limits"].append({"domain": "*", "messages-per-minute": "1/h"})
    if draw(st.booleans()):
        configuration["smtp"]["max-connections"] = 1
    return World(configuration, {"providers": draw(providers(sites))}, tuple(actions), 0, 400.0)


class Expiry(SynchronousTestCase):
    """A mail whose time has run out ends."""

    @seeds(100)
    @given(hurried_worlds())
    def test_in_every_state(self, world: World) -> None:
        """Waiting, parked, paused, between two hosts, short of the next attempt: no talk begins after a mail's time,
        and it has ended soon after."""
        seen = world.play(check=0)
        busy_until: dict[int, float] = {}
        for one in seen.observations:
            if one.number in seen.published:
                busy_until[one.number] = one.time + ON_IT
        for number, job in seen.published.items():
            end = job["time"] + job["lives"]
            latest = max(end, busy_until.get(number, 0.0)) + LATE
            time, kind = seen.ended.get(number, (seen.simulation.now, "open"))
            self.assertTrue(time <= latest, (number, kind, time, latest, seen.scheduler.sites))
            self.assertLessEqual(busy_until.get(number, 0.0) - ON_IT, end + 0.01)


class Conservation(SynchronousTestCase):
    """Each job is in one place, and ends once."""

    @seeds(60)
    @given(paused_worlds())
    def test_after_each_event(self, world: World) -> None:
        """Counted after each event, looked for one by one after each fiftieth: with pauses, kills and reloads."""
        seen = world.play(check=1)
        seen.simulation.check(thoroughly=True)
