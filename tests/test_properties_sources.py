"""Local addresses: weights, those that are refused or paused, greylisting, and warm-up day by day."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.simulate.recorder import Observation
from mailerq.simulate.simulation import START
from tests.worlds import LOCAL, Action, Document, Seen, World, base, seeds

DAY = 86400.0
HOST: Document = {"domains": ["a.x.example"], "mx": {"mx.x.example": ["192.0.2.1"]}}


def by_source(seen: Seen) -> Counter[str | None]:
    """How many messages left from each address."""
    return Counter(one.local for one in seen.messages())


class Weights(SynchronousTestCase):
    """How mail is spread over the addresses."""

    @seeds(40)
    @given(
        weights=st.lists(st.integers(1, 4), min_size=2, max_size=3),
        messages=st.integers(1, 3),
        many=st.integers(30, 200),
        gap=st.sampled_from([0.0, 1.0]),
    )
    def test_rounds(self, weights: list[int], messages: int, many: int, gap: float) -> None:
        """Connections are opened from the addresses by their weights: exactly so in each round of as many as all
        weights together, while nothing keeps one of them back. With one message for each connection mails are spread
        so, too."""
        ips = [f"{ip}*{weight}" for ip, weight in zip(LOCAL, weights, strict=False)]
        rules = [{"domain": "*", "connection-max-messages": messages, "connection-max-idle": 0, "max-connections": 500}]
        rules[0]["connection-min-messages"] = 0  # else the next address waits for whether one more is worth it
        configuration = base((), [{**rules[0], "max-starting": 500, "initial-connections": 500}], smtp={"ips": ips})
        if gap:
            actions = [Action(n * gap, "publish", {"many": 1, "domain": "a.x.example"}) for n in range(many)]
        else:
            actions = [Action(0.0, "publish", {"many": many, "domain": "a.x.example"})]
        seen = World(configuration, {"providers": {"x": HOST}}, tuple(actions), 0, many * gap + 60).play(check=0)
        opened = [one.local for one in seen.observations if one.kind == "connect"]
        size = sum(weights)
        wanted = Counter(dict(zip(LOCAL, weights, strict=False)))
        for first in range(0, len(opened) - size + 1, size):
            self.assertEqual(Counter(opened[first : first + size]), wanted)
        self.assertEqual(len(seen.messages()), many)

    @seeds(30)
    @given(refused=st.sampled_from(LOCAL), kind=st.sampled_from(["pause", "rate", "full"]), many=st.integers(20, 100))
    def test_passed_over(self, refused: str, kind: str, many: int) -> None:
        """One address that may not send costs the others nothing: all is out as soon as without it."""
        limit: list[Document] = [{"domain": "*", "connection-max-idle": 0}]
        actions = [Action(1.0, "publish", {"many": many, "domain": "a.x.example"})]
        if kind == "pause":
            actions.append(Action(0.5, "pause", {"scope": {"ip": refused}}))
        elif kind == "rate":
            limit.append({"ip": refused, "messages-per-minute": "1/h"})
        else:
            limit.append({"ip": refused, "connects-per-minute": "1/h"})
        world = World(base(LOCAL, limit), {"providers": {"x": HOST}}, tuple(actions), 0, 120.0)
        without = World(
            base(tuple(ip for ip in LOCAL if ip != refused), limit[:1]), world.mix, tuple(actions[:1]), 0, 120.0
        )
        seen, other = world.play(check=0), without.play(check=0)
        self.assertEqual(len(seen.messages()), many)
        if kind == "pause":
            self.assertEqual(by_source(seen)[refused], 0)
        last, expected = seen.messages()[-1].time, other.messages()[-1].time
        self.assertLessEqual(last, expected * 1.25 + 2.0)


class Greylisting(SynchronousTestCase):
    """A host that knows us by our address."""

    @seeds(30)
    @given(
        many=st.integers(1, 60),
        wait=st.sampled_from(["20s", "50s", "3m"]),
        weights=st.lists(st.integers(1, 3), min_size=2, max_size=3),
        pause=st.booleans(),
    )
    def test_same_address(self, many: int, wait: str, weights: list[int], pause: bool) -> None:
        """All attempts of a mail that was greylisted leave from one address, so that it is accepted when it was told,
        whatever else leaves from the others."""
        ips = [f"{ip}*{weight}" for ip, weight in zip(LOCAL, weights, strict=False)]
        configuration = base((), [{"domain": "*", "max-connections": 5}], smtp={"ips": ips})
        actions = [Action(0.0, "publish", {"many": many, "domain": "a.x.example"})]
        if pause:
            actions.append(Action(5.0, "pause", {"scope": {"ip": LOCAL[0]}, "lasts": 200.0}))
        mix = {"providers": {"x": {**HOST, "greylist": wait}}}
        seen = World(configuration, mix, tuple(actions), 0, 2000.0).play(check=0)
        left: dict[int, set[str | None]] = {}
        for one in seen.messages():
            left.setdefault(one.number, set()).add(one.local)
        self.assertEqual([number for number, sources in left.items() if len(sources) > 1], [])
        self.assertEqual({kind for _, kind in seen.ended.values()}, {"success"})
        self.assertEqual(len(seen.ended), many)


class WarmUp(SynchronousTestCase):
    """An address that is new."""

    @seeds(12)
    @given(
        days=st.lists(st.sampled_from([100, 300, 2000]), min_size=1, max_size=3),
        batches=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=6),
        others=st.booleans(),
        kills=st.lists(st.integers(0, 600), max_size=2),
    )
    def test_days(self, days: list[int], batches: list[tuple[int, int]], others: bool, kills: list[int]) -> None:
        """On each of its days with mail, counted in UTC, it sends no more than that day's rate, evenly, over all sites
        of the provider together and over restarts; what is more leaves from the other addresses at once."""
        schedule = [{"ip": LOCAL[0], "mx": "*.x.example", "days": [f"{rate}/d" for rate in days]}]
        ips = LOCAL[:2] if others else LOCAL[:1]
        configuration = {**base(ips, [{"domain": "*", "max-connections": 5}]), "schedules": schedule}
        providers = {
            "x": HOST,
            "y": {"domains": ["a.y.example"], "mx": {"mx2.x.example": ["192.0.2.2"]}},
        }
        actions = [
            Action(hour * 3600.0, "publish", {"many": many, "domain": f"a.{'xy'[many % 2]}.example"})
            for hour, many in batches
        ]
        for time in kills:
            actions += [Action(time * 360.0, "kill"), Action(time * 360.0 + 10, "restart")]
        seen = World(configuration, {"providers": providers}, tuple(actions), 0, 4 * DAY).play(check=0)
        sent = [one for one in seen.messages() if one.local == LOCAL[0]]
        self.assertEqual(list(_too_early(sent, days)), [])
        if others and not kills:
            slow = [number for number, job in seen.published.items() if _wait(seen, number, job) > 60]
            self.assertEqual(slow, [])


def _wait(seen: Seen, number: int, job: Document) -> float:
    return float(next(one.time for one in seen.messages() if one.number == number) - job["time"])


def _too_early(sent: list[Observation], days: list[int]) -> Any:
    """Those that came sooner after the one before than the rates of the days between them allow."""
    dates = sorted({int((START + one.time) // DAY) for one in sent})
    for one, other in pairwise(sent):
        date, passed, time = int((START + one.time) // DAY), 0.0, START + one.time
        while time < START + other.time:
            rate = days[min(sum(known <= date for known in dates), len(days)) - 1] / DAY
            end = min((date + 1) * DAY, START + other.time)
            passed += (end - time) * rate
            time, date = end, date + 1
        if passed < 1 - 1e-4:
            yield one, other, passed
