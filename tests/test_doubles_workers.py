"""Several workers in memory, on one queue and beside each other's journals: they are killed one by one, and the broker
loses them, which they notice late. Nothing is lost, and no mail comes twice that is not in doubt.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq import fellows, journal
from mailerq.settings import parse
from mailerq.worker import Worker
from tests.memory_engine import MemoryEngine
from tests.mx import Connector, Mx, Net
from tests.test_doubles import ACKNOWLEDGED, CONFIG, HOST, SEEDS, LossyBroker


class SharedBroker(LossyBroker):
    """One of several clients of the same queues. ``drop``: the broker lets go of it, which it does not notice yet."""

    peers: list[SharedBroker]
    dropped = False

    def _tell_peers(self) -> None:
        for peer in self.peers:
            if peer is not self and peer.connected:
                peer._soon()

    def _make(self, taken: Any, publications: Any, now: float) -> bool:
        made = super()._make(taken, publications, now)
        self._tell_peers()
        return made

    def _give_back(self, taken: Any) -> None:
        if not self.dropped:
            super()._give_back(taken)
            self._tell_peers()

    def _work(self) -> None:
        if not self.dropped:  # what it says is read by nobody
            super()._work()

    def drop(self) -> None:
        """What it has in hand is given to others."""
        self.dropped = True
        self._read_old()
        self._forget_what_was_said()
        for taken in self._in_hand.values():
            self.queues.give_back(taken._message)
        self._tell_peers()

    def notice(self) -> None:
        """It learns that."""
        self.dropped = False
        in_hand, self._in_hand = self._in_hand, {}
        under_way, self._under_way = self._under_way, []
        for taken in in_hand.values():
            taken.stale = True
        self._under_way = [(taken, publications, done, False) for taken, publications, done, _ in under_way]
        self.lose("gone")

    def _read_old(self) -> None:
        while self.unread and self.unread[0][0] < self._clock.seconds() - ACKNOWLEDGED:
            self.queues.remove(self.unread.pop(0)[1])

    def lose(self, reason: str) -> None:
        self._read_old()
        super().lose(reason)
        self._tell_peers()


class Own:
    """The reactor of one process: what it has begun ends with it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.calls: list[Any] = []
        self.links: Any = _Links(net)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)

    def callLater(self, *arguments: Any, **named: Any) -> Any:
        """A timer."""
        call = self.net.callLater(*arguments, **named)
        self.calls.append(call)
        if len(self.calls) > 1000:
            self.calls = self.getDelayedCalls()
        return call

    def getDelayedCalls(self) -> list[Any]:
        """Its own."""
        return [call for call in self.calls if call.active()]

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """A connection."""
        connector = Connector(self, host, port, factory, bindAddress)  # type: ignore[arg-type]
        factory.doStart()
        connector.timer = self.callLater(timeout, connector.fail, TimeoutError())
        self.callLater(0, connector.go)
        return connector


class _Links(list[Any]):
    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def append(self, link: Any) -> None:
        super().append(link)
        self.net.links.append(link)


class Machine:
    """Some workers."""

    def __init__(self, base: str, count: int, config: dict[str, Any]) -> None:
        self.base = base
        self.count = count
        self.settings = parse(json.dumps(config), "test", {})
        self.net = Net()
        self.net.rightNow = self.ticked = 1_800_000_000.0
        self.brokers: list[SharedBroker] = []
        self.queues: Any = None
        self.workers: list[MemoryEngine | None] = [None] * count
        for index in range(count):
            self.begin(index)

    def begin(self, index: int) -> None:
        """A worker is started."""
        own: Any = Own(self.net)
        worker = MemoryEngine(self.settings, {}, self.base, own, SharedBroker, worker=Worker(index, self.count))
        broker: Any = worker.broker
        if self.queues is None:
            self.queues = broker.queues
        broker.queues = self.queues
        self.brokers.append(broker)
        broker.peers = self.brokers
        self.workers[index] = worker

    def kill(self, index: int) -> None:
        """It is killed."""
        worker = self.workers[index]
        if worker is not None:
            broker: Any = worker.broker
            self.brokers.remove(broker)
            if broker.dropped:
                broker._in_hand, broker._under_way = {}, []
            worker.kill()
            assert worker.fellows is not None
            worker.fellows.close()
            self.workers[index] = None

    def lives(self) -> list[MemoryEngine]:
        """Those that live."""
        return [worker for worker in self.workers if worker is not None]

    def run(self, seconds: float) -> None:
        """Time passes."""
        end = self.net.seconds() + seconds
        while self.ticked + 1.0 <= end:
            self.ticked += 1.0
            self.net.run(self.ticked - self.net.seconds())
            for worker in self.lives():
                worker.journal.tick(worker.broker.connected)
        self.net.run(end - self.net.seconds())

    def close(self) -> None:
        """They end."""
        for worker in self.lives():
            worker.journal.close()
            assert worker.fellows is not None
            worker.fellows.close()


class WorkerTests(SynchronousTestCase):
    """Kills and losses at random."""

    def play(self, seed: int, *, kills: bool, losses: bool, config: dict[str, Any] = CONFIG) -> None:
        """Many jobs, and something happens again and again."""
        self.patch(journal, "ROOM", 100_000)
        self.patch(fellows, "AGAIN", 0.05)
        dice = LossyBroker.dice = random.Random(seed)
        folder = Path(self.mktemp())
        folder.mkdir()
        config = {**config, "queues": {**config["queues"], "window": 40}}
        machine = Machine(str(folder / "journal"), dice.choice((2, 3)), config)
        script: dict[str, Any] = {
            "rcpt": lambda line: dice.choices(("accept", "4xx", "close"), (20, 2, 1))[0],
            "end": lambda line: dice.choices(("accept", "drip", "close", "4xx"), (10, 10, 1, 1))[0],
        }
        mx = machine.net.add(HOST, Mx(script=script))
        names = [f"n{number}" for number in range(90)]
        for name in names:
            body = {"recipient": f"{name}@host.example", "name": name, "mime": f"Subject: {name}\r\n\r\nx"}
            machine.lives()[0].publish(json.dumps(body).encode())
        for _ in range(14):
            machine.run(dice.choice((0.0, 0.001, 0.01, 0.05, 1.0)))
            self.happen(machine, dice, kills, losses)
        script.clear()
        for index in range(machine.count):
            if machine.workers[index] is None:
                machine.begin(index)
        machine.run(90)
        state = machine.queues.state("outbox", machine.net.seconds())
        self.assertEqual((state.ready, state.waiting), (0, 0), f"seed {seed}")
        self.judge(seed, names, machine, mx)
        machine.close()

    def happen(self, machine: Machine, dice: random.Random, kills: bool, losses: bool) -> None:
        """A worker is killed, or lost by the broker."""
        index = dice.randrange(machine.count)
        worker = machine.workers[index]
        if worker is None:
            machine.begin(index)
        elif kills and (not losses or dice.random() < 0.5):
            machine.kill(index)
            if dice.random() < 0.5:
                machine.run(dice.choice((0.0, 0.1)))
                machine.begin(index)
        elif losses:
            broker: Any = worker.broker
            broker.drop()
            machine.run(dice.choice((0.0, 0.003, 0.1, 0.5)))
            broker.notice()
            machine.run(dice.choice((0.0, 0.1, 0.4)))
            broker.startService()

    def judge(self, seed: int, names: list[str], machine: Machine, mx: Mx) -> None:
        """One result of each job, whose copies are the same; no mail came more often than its results say."""
        copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in machine.queues.take("results", 10_000):
            copies[message.publication.message_id].append(json.loads(message.publication.body))
        found = Counter(results[0]["name"] for results in copies.values())
        wrong = {name: found[name] for name in names if found[name] != 1}
        details = [(key, results) for key, results in copies.items() if results[0]["name"] in wrong]
        self.assertEqual(wrong, {}, f"seed {seed}: {details}")
        allowed: Counter[str] = Counter()
        for results in copies.values():
            self.assertEqual(len({json.dumps(result) for result in results}), 1, f"seed {seed}: {results}")
            for entry in results[0]["results"]:
                allowed[results[0]["name"]] += entry["type"] == "success" or entry.get("in-doubt", False)
        sent = Counter(mail.recipients[0].partition("@")[0] for mail in mx.mails)
        more = {name: (sent[name], allowed[name], copies) for name in sent if sent[name] > allowed[name]}
        self.assertEqual(more, {}, f"seed {seed}")

    def test_killed(self) -> None:
        """Workers are killed one by one."""
        for seed in range(SEEDS):
            self.play(seed, kills=True, losses=False)

    def test_lost(self) -> None:
        """Workers lose the broker, and notice it late."""
        for seed in range(SEEDS):
            self.play(seed, kills=False, losses=True)

    def test_both(self) -> None:
        """Both."""
        for seed in range(SEEDS):
            self.play(seed, kills=True, losses=True)

    def test_in_doubt_fails(self) -> None:
        """With ``in-doubt: fail`` no mail comes twice."""
        config = {**CONFIG, "delivery": {**CONFIG["delivery"], "in-doubt": "fail"}}
        for seed in range(SEEDS):
            self.play(seed, kills=True, losses=True, config=config)
