"""Shares of limits: nobody has what another has, nobody starves, and what is free is used."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.shares.division import FRESH, Claim, divide, part_without_store
from mailerq.shares.exchange import Unreadable, read_answer
from mailerq.shares.member import GRACE, LEASE
from mailerq.shares.parts import parts_of, rate_of, wanted_parts
from tests.shares_world import Sharing
from tests.worlds import seeds

claims = st.lists(
    st.builds(
        Claim,
        member=st.sampled_from("abcdefgh"),
        held=st.integers(0, 9),
        want=st.integers(0, 30),
        since=st.floats(-10, 100),
        heard=st.sampled_from((0.0, 1.0, FRESH + 1)),
    ),
    max_size=8,
    unique_by=lambda claim: claim.member,
)


class Divisions(SynchronousTestCase):
    """A limit in whole numbers."""

    @seeds(200)
    @given(st.integers(0, 40), claims)
    def test_never_more(self, limit: int, all_claims: list[Claim]) -> None:
        """All together get at most the limit, where those that may be dead hold no more than it."""
        found = divide(limit, all_claims)
        held = sum(claim.held for claim in all_claims if claim.heard > FRESH)
        self.assertLessEqual(sum(found.values()), max(limit, held))
        self.assertTrue(all(units >= 0 for units in found.values()))

    @seeds(200)
    @given(st.integers(0, 40), claims)
    def test_fair(self, limit: int, all_claims: list[Claim]) -> None:
        """Who gets less than it wants has at most one less than any other that gets no more than it wants."""
        all_claims = [claim for claim in all_claims if claim.heard <= FRESH]
        found = divide(limit, all_claims)
        for poor in all_claims:
            for rich in all_claims:
                if found[poor.member] < poor.want and found[rich.member] <= rich.want:
                    self.assertLessEqual(found[rich.member], found[poor.member] + 1)

    @seeds(100)
    @given(st.integers(0, 40), claims)
    def test_all_is_used(self, limit: int, all_claims: list[Claim]) -> None:
        """Where more is wanted than there is, all of it is given."""
        all_claims = [claim for claim in all_claims if claim.heard <= FRESH]
        wanted = sum(claim.want for claim in all_claims)
        self.assertGreaterEqual(sum(divide(limit, all_claims).values()), min(limit, wanted))

    def test_kept(self) -> None:
        """What nobody wants stays where it is."""
        self.assertEqual(divide(10, [Claim("a", 10, 0), Claim("b", 0, 3)]), {"a": 7, "b": 3})

    def test_turns(self) -> None:
        """Of one unit, who has waited longest is the next, as soon as the turn of who has it is over."""
        waiting = [Claim("b", 0, 1, since=3.0), Claim("c", 0, 1, since=4.0)]
        self.assertEqual(divide(1, [Claim("a", 1, 1, since=1.0), *waiting])["a"], 1)
        self.assertEqual(divide(1, [Claim("a", 1, 1, since=9.0), *waiting])["c"], 1)

    @seeds(50)
    @given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 1000))
    def test_without_a_store(self, limit: int, members: int, spread: int) -> None:
        """The parts that all members have by their number are the limit, together."""
        parts = [part_without_store(limit, members, rank, spread) for rank in range(members)]
        self.assertEqual(sum(parts), limit)

    @seeds(100)
    @given(st.floats(0.1, 1e6), st.booleans())
    def test_parts(self, rate: float, counts_bytes: bool) -> None:
        """Parts together are at most the rate; one that has all of them has the rate; who wants some can use some."""
        parts = parts_of(rate, counts_bytes)
        together = sum(rate_of(1, parts, rate, counts_bytes) for _ in range(parts))
        self.assertLessEqual(together, rate * (1 + 1e-9))
        self.assertEqual(rate_of(parts, parts, rate, counts_bytes), rate)
        self.assertTrue(1 <= wanted_parts(1, parts, rate, counts_bytes) <= parts)


class Worlds(SynchronousTestCase):
    """Members with a store, whatever is late, is lost, or dies."""

    @seeds(12)
    @given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from((0.0, 0.05, 0.3)), st.floats(0.0, 1.5))
    def test_connections(self, seed: int, limit: int, loss: float, latency: float) -> None:
        """There are never more connections than the limit; members begin, die and come back meanwhile, and the store is
        emptied."""
        world = Sharing(seed, limit=limit, loss=loss, latency=latency)
        names = "abc"
        for name in names:
            world.live(name)
            world.run(world.dice.random() * 5)
        world.run(15)
        for _ in range(4):
            what, name = world.dice.randrange(3), world.dice.choice(names)
            if what == 0:
                world.machines[name].die()
            elif what == 1:
                world.live(name)
            elif not loss and latency < 0.5:  # or some are not heard of before what they hold is given to others
                world.store.clear()
            world.run(8)
            self.assertLessEqual(world.most, limit)
        self.assertGreater(len(world.sent), 0)

    @seeds(12)
    @given(st.integers(0, 2**32), st.floats(4.0, 119.0), st.sampled_from((0.0, 0.05, 0.3)), st.floats(0.0, 1.0))
    def test_slow(self, seed: int, rate: float, loss: float, latency: float) -> None:
        """A rate of one part holds in every window as it does for one engine."""
        world = Sharing(seed, rate=rate, loss=loss, latency=latency)
        for name in "abc":
            world.live(name)
        world.run(60)
        world.live(world.dice.choice("abc"))
        world.run(60)
        self.assertLessEqual(world.beyond(), 1.0 + 1e-6)

    @seeds(12)
    @given(st.integers(0, 2**32), st.floats(120.0, 6000.0), st.sampled_from((0.0, 0.05, 0.3)), st.floats(0.0, 1.0))
    def test_fast(self, seed: int, rate: float, loss: float, latency: float) -> None:
        """A rate of several parts is exceeded in no window by more than a unit of each member."""
        world = Sharing(seed, rate=rate, loss=loss, latency=latency)
        for name in "abc":
            world.live(name)
            world.run(world.dice.random() * 10)
        for _ in range(3):
            world.machines[world.dice.choice("abc")].waiting = world.dice.choice((0, 3, 1000))
            world.run(10)
        self.assertLessEqual(world.beyond(), 3.0 + 1e-6)

    def test_nobody_starves(self) -> None:
        """Of one connection and 20 mails a minute, each of four members has its turn, and little is left unused."""
        world = Sharing(1, limit=1, rate=20.0)
        for name in "abcd":
            world.live(name)
        world.run(240)
        sent = Counter(name for _, name in world.sent)
        self.assertEqual(set(sent), set("abcd"))
        self.assertGreater(min(sent.values()) * 2, max(sent.values()))
        self.assertGreater(len(world.sent), 0.85 * 20 * 4 - 2)

    def test_full_rate(self) -> None:
        """Members that have enough to send use what they may, together."""
        world = Sharing(1, rate=300.0)
        for name in "abc":
            world.live(name)
        world.run(10)
        del world.sent[:]
        world.run(60)
        self.assertGreater(len(world.sent), 0.9 * 300)

    def test_who_has_little(self) -> None:
        """A member that has little to send leaves the rest to the other, which has much."""
        world = Sharing(1, rate=300.0, limit=20)
        world.live("a")
        world.live("b").waiting = 2
        world.run(15)
        del world.sent[:]
        world.run(20)
        sent = Counter(name for _, name in world.sent)
        self.assertGreater(sent["a"], 0.6 * 100)
        self.assertGreater(sent["b"], 10)

    def test_death(self) -> None:
        """What a dead member had comes back after the lease."""
        world = Sharing(1, limit=4)
        world.live("a")
        world.run(GRACE + 5)
        self.assertGreaterEqual(world.open, 3)
        world.machines["a"].die()
        world.live("b")
        world.run(LEASE - 5)
        self.assertEqual(world.open, 0)
        world.run(10)
        self.assertGreaterEqual(world.open, 3)

    def test_comes_back(self) -> None:
        """A member that begins a new life has at once what it had in the one before."""
        world = Sharing(1, limit=4)
        world.live("a")
        world.run(GRACE + 5)
        world.live("a")
        world.run(2)
        self.assertGreaterEqual(world.open, 3)

    def test_store_gone(self) -> None:
        """While the store is gone each goes on with what it has, as long as it lasts; the store that comes back empty
        gives nothing twice."""
        world = Sharing(1, limit=6, rate=240.0)
        for name in "ab":
            world.live(name)
        world.run(15)
        world.store_lives = False
        del world.sent[:]
        world.run(60)
        self.assertGreater(len(world.sent), 0.9 * 240)
        world.store.clear()
        world.store_lives = True
        world.run(20)
        self.assertLessEqual(world.most, 6)
        self.assertLessEqual(world.beyond(), 2.0 + 1e-6)

    def test_begins_while_the_store_is_gone(self) -> None:
        """Who begins then waits for the lease, and then uses its part by the number of members that it knew; who knew
        none, nothing."""
        world = Sharing(1, limit=6)
        for name in "abc":
            world.live(name)
        world.run(15)
        world.store_lives = False
        for name in "abc":
            world.live(name)
        world.live("new")
        world.run(LEASE - 2)
        self.assertEqual(world.open, 0)
        world.run(10)
        counts = {name: len(machine.ends) for name, machine in world.machines.items()}
        self.assertEqual(counts["new"], 0)
        self.assertTrue(all(1 <= counts[name] <= 2 for name in "abc"), counts)
        self.assertLessEqual(world.most, 6)

    def test_cut_off(self) -> None:
        """Who is cut off for less than the lease loses nothing, and nobody has more."""
        world = Sharing(1, limit=6)
        for name in "ab":
            world.live(name)
        world.run(15)
        world.machines["a"].cut = True
        world.run(LEASE - 5)
        world.machines["a"].cut = False
        world.run(10)
        self.assertLessEqual(world.most, 6)

    def test_asked_seldom(self) -> None:
        """The store is asked about twice a second, however much is sent."""
        world = Sharing(1, rate=60_000.0)
        world.live("a")
        world.run(30)
        self.assertLess(len(world.asked), 2.5 * 30)
        self.assertGreater(len(world.sent), 300)


class Answers(SynchronousTestCase):
    """What the store says."""

    @seeds(100)
    @given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())))
    def test_whatever_comes(self, text: object) -> None:
        """It is an answer, or Unreadable."""
        try:
            read_answer(text)
        except Unreadable:
            return

    def test_empty(self) -> None:
        """Lua writes an empty list as an empty table."""
        answer = read_answer('{"members":["a"],"told":[[1,0,0.5,{}]]}')
        self.assertEqual((answer.told[0].held, answer.told[0].others), (1, []))
        self.assertEqual(read_answer('{"members":{},"told":{}}').told, [])
