"""Limits that several workers share hold for all of them together: random worlds, several schedulers on one clock."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.crews import CrewSeen, play
from tests.windows import violations
from tests.worlds import Action, Document, World, base, seeds, worlds

crews = st.integers(2, 4)


class Limits(SynchronousTestCase):
    """Whatever is configured, whatever hosts do, however jobs are spread: no rate, no number of connections."""

    @seeds(60)
    @given(worlds(), crews)
    def test_held(self, world: World, many: int) -> None:
        """In every window, and at every moment."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(40)
    @given(worlds(events=("reload",)), crews)
    def test_changed(self, world: World, many: int) -> None:
        """Where limits change."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(60)
    @given(worlds(events=("kill",)), crews)
    def test_killed(self, world: World, many: int) -> None:
        """Where single workers are killed and begin again."""
        self.assertEqual(violations(play(world, many)), [])

    @seeds(20)
    @given(worlds(events=("kill", "reload")), crews)
    def test_on_disk(self, world: World, many: int) -> None:
        """In the real files, with kills and reloads."""
        self.assertEqual(violations(play(world, many, on_disk=True)), [])

    def test_it_is_seen(self) -> None:
        """Workers that do not share are found out."""
        found = []

        @seeds(40)
        @given(worlds())
        def one(world: World) -> None:
            found.extend(violations(play(world, 3, alone=True)))

        one()
        self.assertTrue(found)


def one_site(many: int, rule: Document, *, jobs: int = 300, domains: int = 1, talk: str = "80ms", **more: Any) -> World:
    """So many jobs for each of some sites, under one rule."""
    providers = {
        f"p{n}": {
            "domains": [f"a.s{n}.example"],
            "mx": {f"mx0.s{n}.example": [f"192.0.2.{n + 1}"]},
            "latency": {"connect": "30ms", "talk": talk},
        }
        for n in range(domains)
    }
    actions = [Action(0.0, "publish", {"many": jobs, "domain": f"a.s{n}.example"}) for n in range(domains)]
    return World(base((), [{"domain": "*", **rule}], **more), {"providers": providers}, tuple(actions), many, 900.0)


class Turns(SynchronousTestCase):
    """No worker's mail starves, and nothing that may be used is left unused."""

    def messages_by_worker(self, seen: CrewSeen) -> Counter[int]:
        """How many messages each worker has sent."""
        return Counter(seen.worker_of[one.connection] for one in seen.messages())

    def test_one_connection(self) -> None:
        """Where one connection may be, workers have it in turn, for twenty messages or a second each."""
        seen = play(one_site(0, {"max-connections": 1}, talk="5ms"), 3)
        self.assertEqual(violations(seen), [])
        self.assertEqual(len(seen.ended), 300)
        turns = [seen.worker_of[one.connection] for one in seen.observations if one.kind == "connect"]
        self.assertEqual(set(turns[:3]), {0, 1, 2})
        self.assertLessEqual(len(turns), 300 / 20 + 6)
        self.assertLessEqual(max(time for time, _ in seen.ended.values()), 40.0)

    def test_few_mails_of_one(self) -> None:
        """A worker with one mail has its turn soon, though another has many."""
        seen = CrewSeen(one_site(0, {"max-connections": 1}, jobs=500, talk="5ms"), 2)
        seen.takes(1, False)
        seen.act(seen.world.actions[0])
        seen.run(2.0, 0)
        seen.takes(0, False)
        seen.takes(1, True)
        seen.act(Action(2.0, "publish", {"many": 1, "domain": "a.s0.example"}))
        seen.run(4.0, 0)
        self.assertEqual(self.messages_by_worker(seen)[1], 1)

    def test_all_workers(self) -> None:
        """One site uses all workers where no limit forbids it."""
        seen = play(one_site(0, {"max-connections": 12, "initial-connections": 12}, jobs=600), 3)
        self.assertGreater(min(self.messages_by_worker(seen).values()), 100)
        self.assertEqual(violations(seen), [])

    def test_first_connections(self) -> None:
        """All workers together begin with ``initial-connections``, or one each."""
        for initial, many, most in ((6, 3, 6), (2, 3, 3)):
            rule = {"max-connections": 20, "max-starting": 20, "initial-connections": initial}
            seen = play(one_site(0, rule, jobs=600), many)
            first = [one for one in seen.observations if one.time < 0.1 and one.kind == "connect"]
            self.assertEqual(len(first), most)

    def test_shares_become_even(self) -> None:
        """One that came first and holds all gives up to half of them."""
        rule = {"max-connections": 6, "initial-connections": 6, "max-starting": 6}
        seen = CrewSeen(one_site(0, rule, jobs=900), 2)
        seen.takes(1, False)
        seen.act(seen.world.actions[0])
        seen.run(5.0, 0)
        seen.takes(1, True)
        seen.act(Action(5.0, "publish", {"many": 900, "domain": "a.s0.example"}))
        seen.run(12.0, 0)
        opened = [len(worker.scheduler.sites[("mx0.s0.example",)].links) for worker in seen.crew.workers.values()]
        self.assertEqual(opened, [3, 3])
        self.assertEqual(violations(seen), [])
        connects = sum(one.kind == "connect" for one in seen.observations if one.time > 5.0)
        self.assertLessEqual(connects, 8)

    def test_rate_is_used(self) -> None:
        """A site with a rate goes at that rate, though its mail is spread over workers."""
        for rule in ({"messages-per-minute": 600}, {"messages-per-minute": 60}, {"ip-messages-per-minute": 600}):
            seen = play(one_site(1, rule, jobs=300), 3)
            self.assertEqual(violations(seen), [])
            times = sorted(one.time for one in seen.messages())
            rate = 600 if 600 in rule.values() else 60
            self.assertLessEqual(times[-1] - times[0], 299 * 60 / rate * 1.03 + 1.0, rule)

    def test_room(self) -> None:
        """Where all sites of all workers share a few connections, all have their turn."""
        seen = play(one_site(0, {"max-connections": 20}, jobs=60, domains=8, smtp={"max-connections": 2}), 3)
        self.assertEqual(violations(seen), [])
        self.assertEqual({kind for _, kind in seen.ended.values()}, {"success"})
        self.assertEqual(len(seen.ended), 480)

    @seeds(40)
    @given(worlds(kind=True, ends=1500.0), crews)
    def test_all_end(self, world: World, many: int) -> None:
        """Hosts that take everything get everything, in not much more than the time that one process takes; longer
        where few connections may be begun, for each worker needs some."""
        alone, seen = world.play(check=0), play(world, many)
        self.assertGreaterEqual(len(seen.ended), len(alone.ended))
        if len(alone.ended) == len(alone.published):
            last = max(time for time, _ in alone.ended.values())
            few = any("connects-per-minute" in key for rule in world.configuration["limits"] for key in rule)
            self.assertLessEqual(max(time for time, _ in seen.ended.values()), last * (2.5 if few else 1.6) + 20.0)
