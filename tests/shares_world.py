"""Members that share limits through a store in memory, over one clock: messages take time and are lost, members and the
store die and come back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.task import Clock

from mailerq.limits import Value
from mailerq.shares.exchange import Answer, Question
from mailerq.shares.member import LEASE, Member
from mailerq.terms import Terms
from mailerq.throttle import Pace
from tests.shares_store import SharesStore

SITE = ("mx.test",)
COUNT = (*SITE, "open", None)
STEP = 0.05
DEADLINE, PERIOD, SOON = 2.0, 0.5, 0.05


class Machine:
    """One member, and what it does: it keeps ``busy`` connections where it may, each for a while, and sends a unit
    whenever its part of the rate allows it. ``waiting``: mails that it has."""

    def __init__(self, world: Sharing, name: str, life: int) -> None:
        self.world = world
        self.name = name
        self.member = Member(name, f"{life:06}", world.clock.seconds, members=world.known.get(name, ()))
        self.member.on_wake = self.wake
        self.member.listen(lambda keys: self.looked_up.clear())
        self.looked_up: dict[str, Pace] = {}
        self.terms = Terms((), {}, commons=self.member)
        self.own: dict[Any, Pace] = {}
        self.waiting = 1000
        self.ends: list[float] = []  # of the connections
        self.count = self.member.count(COUNT)
        self.alive = True
        self.cut = False
        self.asking = False
        self.answered_at = world.clock.seconds()
        self.next = self.full_at = world.clock.seconds()

    # -- with the store, as limits_store/client.py does it

    def wake(self) -> None:
        self.next = min(self.next, self.world.clock.seconds() + SOON)

    def step(self) -> None:
        now = self.world.clock.seconds()
        if now - self.answered_at >= LEASE:
            self.member.lost()
        if not self.asking and now >= self.next:
            self.ask(now)
        self.work(now)

    def ask(self, now: float) -> None:
        self.asking = True
        full = now >= self.full_at
        if full:
            self.full_at = now + PERIOD
        self.next = self.full_at
        question, keys = self.member.question(now, full=full)
        dice = self.world.dice
        late = self.world.clock.callLater(DEADLINE, self.missed)

        def arrive() -> None:
            if self.world.store_lives and not self.cut and dice.random() >= self.world.loss:
                answer = self.world.store.ask(question, keys)
                if dice.random() >= self.world.loss:
                    self.world.clock.callLater(dice.random() * self.world.latency, told, answer)

        def told(answer: Answer) -> None:
            if self.alive and late.active() and not self.cut:
                late.cancel()
                self.asking = False
                self.answered_at = self.world.clock.seconds()
                self.member.answered(answer, self.answered_at)
                self.world.known[self.name] = tuple(self.member.members)

        self.world.clock.callLater(dice.random() * self.world.latency, arrive)
        self.world.asked.append(question)

    def missed(self) -> None:
        self.asking = False
        self.member.missed()

    # -- its work

    def work(self, now: float) -> None:
        dice, limit = self.world.dice, self.world.limit
        gone = [end for end in self.ends if end <= now]
        self.ends = [end for end in self.ends if end > now]
        for _ in gone:
            self.count.closed()
        refused = []
        while self.waiting and len(self.ends) < 50:
            if self.count.mine >= self.count.allowed(limit):
                refused = [(self.count, limit)]
                break
            self.count.opened()
            self.ends.append(now + 0.1 + dice.random() * 2.0)
        self.member.refused(SITE, refused, self.waiting)
        pace = self.pace(now)
        while self.waiting and pace.next_time(now) <= now:
            pace.take(now)
            self.world.sent.append((now, self.name))
            self.waiting -= self.world.uses_up

    def pace(self, now: float) -> Pace:
        """As a budget has it: looked up once, and anew when it was told that other parts hold."""
        found = self.looked_up.get("rate")
        if found is None:
            name = ("messages_per_minute", None, None, None)
            found = self.terms.pace(self.own, SITE, name, Value(self.world.rate, 1, False), now)
            self.looked_up["rate"] = found
        return found

    def die(self) -> None:
        self.alive = False
        self.ends.clear()


class Sharing:
    """``machines`` by name; ``limit`` connections and ``rate`` a minute for all of them together."""

    def __init__(
        self, seed: int, *, limit: int = 5, rate: float = 60.0, loss: float = 0.0, latency: float = 0.1
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.dice = Random(seed)
        self.store = SharesStore(self.clock.seconds)
        self.store_lives = True
        self.limit, self.rate, self.loss, self.latency = limit, rate, loss, latency
        self.known: dict[str, tuple[str, ...]] = {}
        self.asked: list[Question] = []
        self.sent: list[tuple[float, str]] = []
        self.most = 0
        self.uses_up = 0
        self.machines: dict[str, Machine] = {}
        self._lives = 0

    def live(self, name: str) -> Machine:
        """A machine begins, anew if it was there before."""
        if name in self.machines:
            self.machines[name].die()
        self._lives += 1
        machine = self.machines[name] = Machine(self, name, self._lives)
        return machine

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end and not until():
            self.clock.advance(STEP)
            for machine in self.machines.values():
                if machine.alive:
                    machine.step()
            self.most = max(self.most, self.open)

    @property
    def open(self) -> int:
        """Connections, of all."""
        return sum(len(machine.ends) for machine in self.machines.values())

    def beyond(self) -> float:
        """By how many units the fullest window, of whatever length, is above rate x length."""
        each = self.rate / 60.0
        lowest = worst = float("-inf")
        for number, (time, _) in enumerate(sorted(self.sent)):
            lowest = max(lowest, time * each - number)  # of the best beginning so far
            worst = max(worst, number + 1 - time * each + lowest)
        return worst
