"""The embedded queue with several workers on one file."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.interfaces import BrokerRefused, Publication
from mailerq.queues import sqlite_clerk, sqlite_lock
from mailerq.queues.sqlite import SqliteBroker
from mailerq.queues.sqlite_file import QueueFile, Unusable, row
from mailerq.queues.sqlite_lock import Group
from tests.contracts import Taker
from tests.test_sqlite import SqliteHooks


class Workers(SqliteHooks, TestCase):
    """Workers of one group."""

    async def worker(self, number: int, window: int = 1000, name: str = "us") -> tuple[SqliteBroker, Taker]:
        """One that takes from the outbox."""
        broker = self.broker(group=Group(name, number))
        taker = Taker()
        broker.consume("outbox", taker, window)
        broker.startService()
        await broker.ready()
        return broker, taker

    async def publish(self, count: int) -> None:
        """So many messages, from somebody else."""
        file = QueueFile(self.path, durable=False)
        with file.transaction():
            file.insert([row("outbox", b"%d" % n, float(n)) for n in range(count)])
        file.close()

    async def refusal(self, broker: SqliteBroker) -> str:
        """Why it is not let in."""
        broker.consume("outbox", Taker(), 10)
        broker.startService()
        return str(await self.assertFailure(broker.ready(), BrokerRefused))

    async def test_together(self) -> None:
        """Each job is given to one worker, and each worker is given some."""
        self.patch(sqlite_clerk, "TURN", 0.3)  # longer than it takes to see that somebody has published
        (_, first), (_, second) = [await self.worker(number) for number in (1, 2)]
        await self.publish(1000)
        await self.until(lambda: len(first.jobs) + len(second.jobs) == 1000)
        self.assertEqual(len({*first.bodies, *second.bodies}), 1000)
        self.assertGreaterEqual(min(len(first.jobs), len(second.jobs)), 200)

    async def test_few(self) -> None:
        """Where there are fewer than one could take at once, each takes its part of them."""
        self.patch(sqlite_clerk, "LONG_TURN", 0.3)
        (_, first), (_, second) = [await self.worker(number) for number in (1, 2)]
        await self.publish(120)
        await self.until(lambda: len(first.jobs) + len(second.jobs) == 120)
        self.assertGreaterEqual(min(len(first.jobs), len(second.jobs)), 30)

    async def test_started_at_once(self) -> None:
        """Workers that are started in the same moment are all let in."""
        brokers = [self.broker(group=Group("us", number)) for number in range(1, 5)]
        for broker in brokers:
            broker.consume("outbox", Taker(), 10)
            broker.startService()
        await gatherResults([broker.ready() for broker in brokers])

    async def test_strangers(self) -> None:
        """An engine that is alone, and a worker of others, are refused where there is a group, whoever of it is left;
        and a worker where there is an engine that is alone."""
        self.patch(sqlite_lock, "NAMING", 0.1)
        (first, _), (second, _) = [await self.worker(number) for number in (1, 2)]
        await first.stopService()
        for group in (None, Group("them", 1)):
            self.assertIn(
                f"in use by another engine (process {os.getppid()})", await self.refusal(self.broker(group=group))
            )
        await second.stopService()
        alone = self.broker()
        alone.consume("outbox", Taker(), 10)
        await self.start(alone)
        self.assertIn(f"(process {os.getpid()})", await self.refusal(self.broker(group=Group("us", 1))))

    async def test_restarted(self) -> None:
        """What a killed worker held goes back once it is started again, to anybody."""
        await self.publish(10)
        first, one = await self.worker(1)
        await self.until(lambda: len(one.jobs) == 10)
        _, other = await self.worker(2)
        await self.crash(first)
        await self.idle()
        self.assertEqual(other.jobs, [])
        _, again = await self.worker(1)
        await self.until(lambda: len(again.jobs) + len(other.jobs) == 10)
        self.assertTrue(all(taken.redelivered for taken in (*again.jobs, *other.jobs)))

    async def test_dead(self) -> None:
        """What a worker held whose process is gone goes to the others before it is started again."""
        self.patch(sqlite_clerk, "MOURN_FELLOWS", 0.1)
        _, taker = await self.worker(1)
        file = QueueFile(self.path, durable=False)
        with file.transaction():
            file._connection.execute("INSERT INTO owners VALUES (77, 999999999, '5', 2)")
            file.insert([row("outbox", b"x", 1.0)])
            file.claim("outbox", 77, 1)
        file.close()
        await self.until(lambda: taker.jobs)

    async def test_settled_by_both(self) -> None:
        """Workers that write all the time do not lose anything, and nothing comes twice."""
        workers = [await self.worker(number, 50) for number in (1, 2)]
        await self.publish(2000)
        seen: list[bytes] = []
        made: list[bool] = []

        def settle(taker: Taker) -> None:
            takens, taker.jobs[:] = list(taker.jobs), []
            for taken in takens:
                seen.append(taken.body)
                taken.settle([Publication("results", taken.body)], made.append)

        while len(made) < 2000:
            for _, taker in workers:
                settle(taker)
            await deferLater(reactor, 0)
        self.assertEqual((len(set(seen)), len(seen), set(made)), (2000, 2000, {True}))
        (state,) = await workers[0][0].states(["results"])
        self.assertEqual(state.ready, 2000)

    async def test_delayed(self) -> None:
        """What is due is given to one of them."""
        takers = [(await self.worker(number))[1] for number in (1, 2)]
        later = [Publication("outbox", b"%d" % n, due=self.reactor.seconds() + 60) for n in range(50)]
        done: list[bool] = []
        self.brokers[0].publish(later, done.append)
        await self.until(lambda: done)
        await self.idle()
        self.assertFalse(any(taker.jobs for taker in takers))
        await self.advance(61)
        await self.until(lambda: sum(len(taker.jobs) for taker in takers) == 50)
        self.assertEqual(len({*takers[0].bodies, *takers[1].bodies}), 50)


class Lock(SynchronousTestCase):
    """Who may be an engine."""

    def test_stranger_while_named(self) -> None:
        """Who comes in while a lock goes from one to many has it, and the one that wanted to share is refused."""
        path = self.mktemp()
        first, second = QueueFile(path), QueueFile(path)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        first.lock(Group("us", 1))
        assert first._lock is not None
        first._lock._write("5\nthem\n")
        self.assertRaises(Unusable, first.register)

    def test_dead_group(self) -> None:
        """Of a group whose processes were killed nothing is left: anybody may be the next."""
        path = self.mktemp()
        QueueFile(path).close()
        code = (
            "import os, sys; from mailerq.queues.sqlite_file import QueueFile, Group\n"
            "f = QueueFile(sys.argv[1]); f.lock(Group('us', 1)); f.register(); os.kill(os.getpid(), 9)"
        )
        subprocess.run(
            [sys.executable, "-c", code, path], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        file = QueueFile(path)
        self.addCleanup(file.close)
        file.lock()
        file.register()
        self.assertEqual(file._one("SELECT count(*) FROM owners"), 1)
