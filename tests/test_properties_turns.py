"""Nobody starves: what a mail waits for at most, whoever else waits. All hosts take everything here.

With a rate of one in ``I`` seconds, connections that take ``S`` seconds to be set up, and talks of ``T`` seconds:

- A mail of the highest priority, with ``m`` others of it before it: at most ``m + AHEAD`` intervals and ``S``. Before
  it go those of each eighth turn, and those for which connections were being opened when it came.
- The ``n``-th mail to go of those of a flow (a tag) that came together, among ``F`` flows of one priority: within
  ``1.5 * F * n + AHEAD`` intervals, ``S`` and ``HOLD``: those that are parked come back about their turns, so that who
  is the ``n``-th may be another than the ``n``-th that came, and some turns are late.
- The first to go of the lower of two priorities: within ``8 + AHEAD`` intervals and ``S``. Those behind it may be
  parked, and wait at most for what was there when they came, and eight turns each.
- Lanes of a site, and sites that want the same connections, have a turn of at most ten messages each: a mail with ``m``
  of its own before it waits for at most ``m // 10 + 1`` rounds of ``others * (10 T + S) / connections``, and its own.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.worlds import LOCAL, Action, Document, Seen, World, base, seeds

AHEAD = 6.0
HOLD = 5.0  # `delivery.hold`
SETUP = 0.6  # of a host with the latencies below: connect, greeting and EHLO, TLS; at its slowest
TALK = 0.3


def provider(name: str, **more: Any) -> Document:
    """One that takes everything."""
    address = f"192.0.2.{10 + sum(map(ord, name)) % 200}"
    return {"domains": [f"a.{name}.example", f"b.{name}.example"], "mx": {f"mx.{name}.example": [address]}, **more}


def waits(seen: Seen) -> dict[int, float]:
    """How long each mail waited, by number, until its envelope was written."""
    went = {one.number: one.time for one in reversed(seen.messages())}
    now = seen.simulation.now
    return {number: went.get(number, now + 1e6) - job["time"] for number, job in seen.published.items()}


def too_long(seen: Seen, kind: str, bounds: list[float]) -> list[str]:
    """Those of a ``kind`` of jobs that waited for longer than their bound, by their order."""
    found = waits(seen)
    mine = [number for number, job in seen.published.items() if job["kind"] == kind]
    pairs = zip(mine, bounds, strict=True)
    return [f"{kind} {number}: {found[number]:.2f} > {bound:.2f}" for number, bound in pairs if found[number] > bound]


def batch(kind: str, many: int, domain: str, **more: Any) -> Document:
    """Jobs to be published together."""
    return {"kind": kind, "many": many, "domain": domain, **more}


class AtARate(SynchronousTestCase):
    """One site with a pace."""

    @seeds(40)
    @given(
        rate=st.sampled_from([60, 120, 600, 1200]),
        backlog=st.lists(st.integers(1, 150), min_size=1, max_size=5),
        urgent=st.lists(st.tuples(st.integers(20, 300), st.integers(1, 4)), min_size=1, max_size=4),
        low=st.sampled_from([0, 0, 5]),
    )
    def test_urgent(self, rate: int, backlog: list[int], urgent: list[tuple[int, int]], low: int) -> None:
        """Transactional mail (priority 9) passes a backlog of bulk mail, whatever its tags and domains are."""
        actions = [
            Action(0.0, "publish", batch("bulk", many, f"{'ab'[n % 2]}.x.example", tags=[f"t{n}"], priority=low))
            for n, many in enumerate(backlog)
        ]
        times = sorted(time / 10 for time, _ in urgent)
        for time, (_, many) in zip(times, urgent, strict=True):
            actions.append(Action(time, "publish", batch("urgent", many, "a.x.example", priority=9)))
        configuration = base((), [{"domain": "*", "messages-per-minute": rate}])
        seen = World(configuration, {"providers": {"x": provider("x")}}, tuple(actions), 0, 120.0).play(check=0)
        interval = 60 / rate
        free, bounds = 0.0, []
        for time, (_, many) in zip(times, urgent, strict=True):
            for _ in range(many):
                free = max(free, time + AHEAD * interval + SETUP) + interval
                bounds.append(free - time)
        self.assertEqual(too_long(seen, "urgent", bounds), [])

    @seeds(30)
    @given(
        rate=st.sampled_from([120, 600, 1200]),
        backlog=st.lists(st.integers(20, 200), min_size=1, max_size=6),
        small=st.integers(1, 20),
        time=st.integers(0, 100),
        above=st.booleans(),
    )
    def test_small_flow(self, rate: int, backlog: list[int], small: int, time: int, above: bool) -> None:
        """A small customer has its turns among large ones, even below a backlog of higher priority."""
        actions = [
            Action(0.0, "publish", batch("bulk", many, "a.x.example", tags=[f"t{n}"], priority=9 if above else 0))
            for n, many in enumerate(backlog)
        ]
        actions.append(Action(time / 10, "publish", batch("small", small, "b.x.example", tags=["s"])))
        configuration = base((), [{"domain": "*", "messages-per-minute": rate}])
        seen = World(configuration, {"providers": {"x": provider("x")}}, tuple(actions), 0, 600.0).play(check=0)
        interval, flows = 60 / rate, len(backlog) + 1
        turns = 1.5 * flows
        found = sorted(wait for number, wait in waits(seen).items() if seen.published[number]["kind"] == "small")
        bounds = [(turns * number + AHEAD) * interval + SETUP + HOLD for number in range(1, small + 1)]
        if above:
            rest = (sum(backlog) + 9 * small + AHEAD) * interval + SETUP + HOLD
            bounds = [(8 + AHEAD) * interval + SETUP, *[rest] * (small - 1)]
        late = [(wait, bound) for wait, bound in zip(found, bounds, strict=True) if wait > bound]
        self.assertEqual(late, [])

    @seeds(30)
    @given(
        rate=st.sampled_from([30, 60, 100, 600, 1200]),
        backlog=st.lists(st.integers(1, 60), min_size=1, max_size=6),
        hold=st.sampled_from([1, 5, 20]),
        queue=st.sampled_from([1, 3, 1000]),
    )
    def test_rate_is_used(self, rate: int, backlog: list[int], hold: int, queue: int) -> None:
        """As long as there is mail, the rate is used up: no turn is lost to parking, tags or priorities, beyond the
        time that it takes to set up a connection where they are too far apart to keep one."""
        actions = [
            Action(0.0, "publish", batch("bulk", many, "a.x.example", tags=[f"t{n}"], priority=n % 3))
            for n, many in enumerate(backlog)
        ]
        queue = max(queue, hold * rate // 60 + 2)  # less than what goes within `hold` is a limit of its own
        rules = [{"domain": "*", "messages-per-minute": rate, "max-queue": queue}]
        configuration = base((), rules, delivery={"hold": f"{hold}s"})
        seen = World(configuration, {"providers": {"x": provider("x")}}, tuple(actions), 0, 1500.0).play(check=0)
        interval = 60 / rate
        lost = SETUP if interval >= 1.0 else 0.0
        times = sorted(one.time for one in seen.messages())
        self.assertEqual(len(times), sum(backlog))
        self.assertLessEqual(times[-1], len(times) * (interval + lost) + 2 * SETUP + 5)


class Connections(SynchronousTestCase):
    """Lanes and sites that want the same few connections."""

    @seeds(30)
    @given(
        lanes=st.lists(st.integers(1, 150), min_size=2, max_size=4),
        most=st.sampled_from([1, 2]),
        late=st.integers(0, 50),
    )
    def test_lanes(self, lanes: list[int], most: int, late: int) -> None:
        """Lanes of one site (other demands on TLS, other addresses) take turns on its connections."""
        kinds: list[Document] = [{}, {"security": "optional"}, {"ips": [LOCAL[0]]}, {"ips": [LOCAL[1]]}]
        actions = [
            Action(late / 10 if n else 0.0, "publish", batch(f"l{n}", many, "a.x.example", **kinds[n]))
            for n, many in enumerate(lanes)
        ]
        configuration = base((), [{"domain": "*", "max-connections": most, "connection-max-idle": "5s"}])
        seen = World(configuration, {"providers": {"x": provider("x")}}, tuple(actions), 0, 600.0).play(check=0)
        turn = 11 * TALK + SETUP + TALK
        for n, many in enumerate(lanes):
            bounds = [(number // 10 + 2) * len(lanes) * turn for number in range(many)]
            self.assertEqual(too_long(seen, f"l{n}", bounds), [])

    @seeds(30)
    @given(
        sites=st.lists(st.integers(1, 150), min_size=2, max_size=5),
        most=st.sampled_from([1, 2, 3]),
        late=st.integers(0, 50),
    )
    def test_sites(self, sites: list[int], most: int, late: int) -> None:
        """Sites share smtp.max-connections: each has its turn, however much the others have to send."""
        mix = {"providers": {f"p{n}": provider(f"p{n}") for n in range(len(sites))}}
        actions = [
            Action(late / 10 if n else 0.0, "publish", batch(f"s{n}", many, f"a.p{n}.example"))
            for n, many in enumerate(sites)
        ]
        configuration = base((), [{"domain": "*", "max-connections": 20}], smtp={"max-connections": most})
        seen = World(configuration, mix, tuple(actions), 0, 600.0).play(check=0)
        turn = 11 * TALK + SETUP + TALK
        for n, many in enumerate(sites):
            bounds = [(number // 10 + 2) * len(sites) * turn for number in range(many)]
            self.assertEqual(too_long(seen, f"s{n}", bounds), [])
