"""How much work there is: looks at sites, and connections at a host that bears few of them.

- A site is looked at at most ``PER_EVENT`` times for each message, each connection that is begun, and each mail that
  comes, is parked or ends, and ``PER_MINUTE`` times a minute besides, however many wait.
- A host that bears ``N`` connections at once and says so is tried with more as rare probes: after the first half minute
  it refuses at most two, and one a minute.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.worlds import Action, Document, Seen, World, base, seeds, worlds

PER_EVENT = 2.0
PER_MINUTE = 4.0


class WakeUps(SynchronousTestCase):
    """Looks at sites grow with what is sent, not with what waits."""

    def looks(self, seen: Seen) -> tuple[int, float]:
        """How often sites were looked at, and how often they may be."""
        recorder, minutes = seen.simulation.recorder, seen.simulation.now / 60
        connects = sum(one.kind == "connect" for one in seen.observations)
        sites = len(seen.world.mix["providers"])
        events = recorder.messages + connects + recorder.parked + len(seen.published) + len(seen.ended)
        return recorder.wake_ups, PER_EVENT * events + PER_MINUTE * minutes * sites

    @seeds(60)
    @given(worlds(events=()))
    def test_any_world(self, world: World) -> None:
        """In any world."""
        looks, may_be = self.looks(world.play(check=0))
        self.assertLessEqual(looks, may_be)

    @seeds(20)
    @given(
        many=st.sampled_from([10, 300, 1500]),
        rule=st.sampled_from(
            [
                {"messages-per-minute": 6000},
                {"messages-per-minute": 60},
                {"messages-per-minute": "10/h"},
                {"bytes-per-minute": "600KB"},
                {"max-connections": 1},
                {"connects-per-minute": 10, "connection-max-messages": 5},
                {"ip-messages-per-minute": 60},
                {"ip-max-connections": 1},
                {"max-starting": 1, "connection-max-messages": 1},
            ]
        ),
        tagged=st.booleans(),
    )
    def test_backlog(self, many: int, rule: Document, tagged: bool) -> None:
        """However many wait for one limit."""
        rules: list[Document] = [{"domain": "*", **rule}]
        if tagged:
            rules = [{"tag": "t", "messages-per-minute": 60}, {"domain": "*", "max-connections": 2}]
        actions = [Action(0.0, "publish", {"many": many, "domain": "a.x.example", "tags": ["t"]})]
        mix = {"providers": {"x": {"domains": ["a.x.example"], "mx": {"mx.x.example": ["192.0.2.1"]}}}}
        looks, may_be = self.looks(World(base((), rules), mix, tuple(actions), 0, 200.0).play(check=0))
        self.assertLessEqual(looks, may_be)


class Windows(SynchronousTestCase):
    """Connections at a host that bears few."""

    @seeds(30)
    @given(
        bears=st.integers(1, 8),
        many=st.sampled_from([100, 400, 1000]),
        initial=st.sampled_from([1, 5, 20]),
        talk=st.sampled_from(["50ms", "500ms"]),
        code=st.sampled_from(["421 4.7.0 Too many connections", "450 4.7.0 Too many concurrent connections from you"]),
    )
    def test_few_refused(self, bears: int, many: int, initial: int, talk: str, code: str) -> None:
        """It is met with that many after the first refusals, and with one more as a rare probe."""
        provider = {
            "domains": ["a.x.example"],
            "mx": {"mx.x.example": ["192.0.2.1"]},
            "max-connections": bears,
            "too-many": code,
            "latency": {"connect": "20ms", "talk": talk},
        }
        rules = [{"domain": "*", "max-connections": 30, "initial-connections": initial, "max-starting": 30}]
        configuration = base((), rules)
        actions = tuple(
            Action(60.0 * n, "publish", {"many": many, "domain": "a.x.example", "size": 2000}) for n in range(5)
        )
        seen = World(configuration, {"providers": {"x": provider}}, actions, 0, 900.0).play(check=0)
        minutes = seen.simulation.recorder.minutes[0]
        refused = sum(minutes.turned_away)
        ready = set(seen.ready_at)
        times = [one.time for one in seen.observations if one.kind == "connect" and one.connection not in ready]
        first = [time for time in times if time <= times[0] + 30] if times else []
        self.assertLessEqual(len(first), initial + 30)
        self.assertLessEqual(refused - len(first), 2 + len(minutes.turned_away))
        self.assertEqual({kind for _, kind in seen.ended.values()}, {"success"})

    @seeds(40)
    @given(worlds())
    def test_never_above(self, world: World) -> None:
        """No connection is begun above the window of its local address."""
        seen = Seen(world)
        above: list[str] = []
        scheduler = seen.scheduler
        original = scheduler._connect

        def connect(owner: object, link: object, security: str) -> object:
            site, source = link.lane.site, link.source  # type: ignore[attr-defined]
            size = site.allowance.windows[source].size
            if site.census.open_from[source] > max(1, int(size)):
                above.append(f"{site} from {source}: {size}")
            return original(owner, link, security)

        scheduler._connect = connect
        for action in sorted(world.actions, key=lambda action: action.time):
            seen.run(action.time, 0)
            seen.act(action)
        seen.run(world.ends, 0)
        self.assertEqual(above, [])
