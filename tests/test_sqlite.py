"""The embedded queue."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.interfaces import BrokerRefused, Publication
from mailerq.queues import make_broker, sqlite_clerk, sqlite_file
from mailerq.queues.sqlite import SqliteBroker
from mailerq.queues.sqlite_file import QueueFile, row
from tests.contracts import BrokerContract, BrokerHooks, Taker


class LaterReactor:
    """The real reactor, with a clock that can be put forward."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.callLater = reactor.callLater
        self.callFromThread = reactor.callFromThread

    def seconds(self) -> float:
        """Epoch seconds."""
        return time.time() + self.offset


def settings(path: str, max_priority: int | None = None) -> Any:
    """As little as the broker looks at."""
    queues = SimpleNamespace(
        outbox="outbox", results="results", failure="failure", retry=None, max_priority=max_priority, persistent=False
    )
    return SimpleNamespace(broker=SimpleNamespace(kind="sqlite", path=path), queues=queues)


class SqliteHooks(BrokerHooks):
    """The hooks of the contract, on a file."""

    def setUp(self) -> None:
        """A place for a file."""
        self.path = os.path.join(self.mktemp(), "deep", "queue.db")
        self.reactor = LaterReactor()
        self.brokers: list[SqliteBroker] = []

    async def tearDown(self) -> None:
        """Stop all."""
        for broker in self.brokers:
            if broker.running:
                await broker.stopService()

    def broker(self, max_priority: int | None = None, **more: Any) -> SqliteBroker:
        """One on the file."""
        broker = SqliteBroker(self.reactor, settings(self.path, max_priority), **more)
        self.brokers.append(broker)
        return broker

    async def make_broker(self, max_priority: int | None = None) -> SqliteBroker:
        """On a fresh file."""
        return self.broker(max_priority)

    async def crash(self, broker: Any) -> SqliteBroker:
        """Stop, but leave the claims as a killed process would."""
        if broker.running:
            broker._clerk._close = broker._clerk.file.close
            await broker.stopService()
        return self.broker()

    async def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self.reactor.offset += seconds

    async def now(self) -> float:
        """What the clock says."""
        return self.reactor.seconds()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Look again and again."""
        end = time.monotonic() + 10
        while not condition():
            if time.monotonic() > end:
                self.fail("it has not come")
            await deferLater(reactor, 0.001)

    async def idle(self) -> None:
        """Long enough for the thread to have come round."""
        await deferLater(reactor, 0.05)


class SqliteContract(SqliteHooks, BrokerContract, TestCase):
    """SqliteBroker keeps the promises of IBroker."""


class Files(SqliteHooks, TestCase):
    """What can be wrong with a file is said clearly."""

    async def refusal(self, broker: SqliteBroker | None = None) -> str:
        """Why a broker on the file is refused."""
        broker = broker or self.broker()
        broker.startService()
        refused = await self.assertFailure(broker.ready(), BrokerRefused)
        await self.assertFailure(broker.ready(), BrokerRefused)
        await self.assertFailure(broker.states(["outbox"]), BrokerRefused)
        answers: list[bool] = []
        broker.publish([Publication("outbox", b"1")], answers.append)
        await self.until(lambda: answers)
        self.assertEqual(answers, [False])
        return str(refused)

    def make_directory(self) -> None:
        """Where the file will be."""
        os.makedirs(os.path.dirname(self.path))

    async def test_missing_directory_is_made(self) -> None:
        """The directory is made for its owner alone, the file is not for others."""
        await self.start(self.broker())
        self.assertEqual(os.stat(os.path.dirname(self.path)).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path).st_mode & 0o007, 0)

    async def test_no_database(self) -> None:
        """A file of something else is refused, and stays as it is."""
        self.make_directory()
        with open(self.path, "wb") as file:
            file.write(b"This is a text, and a long one. " * 100)
        self.assertIn(f"{self.path}: ", await self.refusal())
        with open(self.path, "rb") as file:
            self.assertEqual(len(file.read()), 3200)

    async def test_database_of_another_program(self) -> None:
        """Somebody else's database is refused."""
        self.make_directory()
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE cats (name TEXT)")
        connection.close()
        self.assertIn("another program", await self.refusal())

    async def test_newer_version(self) -> None:
        """A file that a newer program wrote is refused."""
        self.make_directory()
        QueueFile(self.path).close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.assertIn("newer mailerq (version 99", await self.refusal())

    async def test_a_directory_instead(self) -> None:
        """A path that is a directory, and a directory that is a file, are refused."""
        os.makedirs(self.path)
        self.assertIn(self.path, await self.refusal())
        self.path = self.mktemp()
        with open(self.path, "wb"):
            pass
        self.path += "/queue.db"
        self.assertIn(self.path, await self.refusal())

    async def test_damaged(self) -> None:
        """A file with holes torn into it is refused, or read as far as it goes; nothing hangs."""
        self.make_directory()
        file = QueueFile(self.path)
        with file.transaction():
            file.insert([row("outbox", b"x" * 3000, 1.0)] * 100)
        file.close()
        size = os.path.getsize(self.path)
        with open(self.path, "r+b") as raw:
            raw.seek(100)
            raw.write(b"\xa5" * (size // 2))
        why = await self.refusal()
        self.assertIn(self.path, why)
        self.assertIn("damaged", why)

    async def test_second_engine(self) -> None:
        """A second engine is refused with the file and the process of the first; once that has ended, it is not."""
        first = await self.started()
        await self.consuming(first, 0)
        await self.put(first, b"1")
        second = self.broker()
        second.consume("outbox", Taker(), 10)
        why = await self.refusal(second)
        self.assertEqual(why, f"{self.path}: in use by another engine (process {os.getpid()})")
        await self.stop(first)
        third = await self.started()
        await self.consuming(third, 1)

    async def test_second_engine_that_consumes_late(self) -> None:
        """Where ``consume`` comes after ``ready``, the taker is told."""
        first = await self.started()
        await self.put(first, b"1")
        await self.consuming(first, 1)  # it has the file: only then is the second one the second
        second = await self.started()
        taker = await self.consuming(second, 0)
        await self.until(lambda: taker.reasons)
        self.assertIn("in use by another engine", taker.reasons[0])
        self.assertFalse(second.connected)

    async def test_beside_an_engine(self) -> None:
        """A broker that does not consume may be used beside an engine, which sees what it publishes."""
        engine = await self.started()
        taker = await self.consuming(engine, 0)
        other = await self.started()
        await self.put(other, b"1")
        await self.until(lambda: taker.bodies == [b"1"])
        (state,) = await other.states(["outbox"])
        self.assertEqual(state.in_hand, 1)
        await self.put(other, b"later", due=await self.now() + 30)
        await self.advance(31)
        await self.until(lambda: taker.bodies == [b"1", b"later"])

    async def test_claims_of_the_living_stay(self) -> None:
        """A new engine frees what a dead engine held, but not what a living reader of another queue holds."""
        reader = await self.started()
        await self.put(reader, b"r", queue="results")
        (taken,) = await reader.get("results", 1)
        await self.consuming(await self.started(), 0)
        await self.idle()
        self.assertEqual(await reader.get("results", 1), [])
        await self.settle(taken)

    async def test_claims_of_the_dead_are_freed(self) -> None:
        """What somebody held who died while the engine runs is freed by the engine after a while."""
        self.patch(sqlite_clerk, "MOURN", 0.01)
        engine = await self.started()
        file = QueueFile(self.path)
        with file.transaction():
            file.insert([row("outbox", b"1", 1.0)])
            file._connection.execute("INSERT INTO owners VALUES (77, 999999999, '5', 0)")
            file.claim("outbox", 77, 1)
        file.close()
        self.assertEqual((await self.consuming(engine, 1)).bodies, [b"1"])

    async def test_made_by_configuration(self) -> None:
        """``make_broker`` makes this one for ``sqlite``."""
        self.assertIsInstance(make_broker(self.reactor, settings(self.path), None), SqliteBroker)


class Trouble(SqliteHooks, TestCase):
    """What happens while the disk is full, and to what cannot be written."""

    def setUp(self) -> None:
        """A file whose size can be limited."""
        super().setUp()
        self.files: list[QueueFile] = []
        self.logged: list[str] = []
        observer = lambda event: self.logged.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def open_file(self) -> QueueFile:
        """The file, kept for ``limit``."""
        self.files.append(QueueFile(self.path))
        return self.files[-1]

    def limit(self, pages: int) -> None:
        """How large the file may be: 1 is as large as it is now."""
        self.files[-1]._connection.execute(f"PRAGMA max_page_count = {pages}")

    async def test_disk_full(self) -> None:
        """While the disk is full nothing is lost or taken; what was asked is made once there is room; said once."""
        broker = self.broker(open_file=self.open_file)
        await self.start(broker)
        await self.put(broker, *(b"%d" % n for n in range(20)))
        taker = await self.consuming(broker, 10, window=10)
        await self.idle()
        self.limit(1)
        answers: list[bool] = []
        for taken in taker.jobs[:10]:
            taken.settle([Publication("results", taken.body * 20_000)], answers.append)
        await deferLater(reactor, 0.4)
        self.assertEqual((answers, len(taker.jobs)), ([], 10))
        self.limit(1_000_000)
        await self.until(lambda: len(answers) == 10 and len(taker.jobs) == 20)
        self.assertEqual(answers, [True] * 10)
        self.assertEqual(await self.bodies_in(broker, "results"), [b"%d" % n * 20_000 for n in range(10)])
        self.assertEqual(len([line for line in self.logged if "is full" in line]), 1, self.logged)
        self.assertEqual(len([line for line in self.logged if "written again" in line]), 1, self.logged)

    async def test_stop_while_full(self) -> None:
        """A stop while the disk is full ends, answers with False, and the message comes again."""
        broker = self.broker(open_file=self.open_file)
        await self.start(broker)
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        await self.idle()
        self.limit(1)
        answers: list[bool] = []
        taker.jobs[0].settle([Publication("results", b"r" * 100_000)], answers.append)
        await self.stop(broker)
        self.assertEqual(answers, [False])
        broker = await self.started()
        self.assertEqual((await self.consuming(broker, 1)).bodies, [b"1"])
        self.assertEqual(await self.bodies_in(broker, "results"), [])

    async def test_unfit_publication(self) -> None:
        """What no queue can hold is refused alone; its message comes again, its neighbours are settled."""
        broker = await self.started()
        await self.put(broker, b"1", b"2", b"3")
        taker = await self.consuming(broker, 3)
        answers: dict[int, bool] = {}
        for number, queue in enumerate(["results", "\ud83d", "results"]):
            publication = Publication(queue, taker.jobs[number].body)
            taker.jobs[number].settle([publication], lambda made, number=number: answers.setdefault(number, made))
        await self.until(lambda: len(answers) == 3)
        self.assertEqual(answers, {0: True, 1: False, 2: True})
        await self.until(lambda: len(taker.jobs) == 4)
        self.assertEqual((taker.jobs[3].body, taker.jobs[3].redelivered), (b"2", True))
        self.assertEqual(await self.bodies_in(broker, "results"), [b"1", b"3"])

    async def test_settled_by_somebody_else(self) -> None:
        """A message that is no longer ours when it is settled leaves no publication."""
        broker = await self.started()
        await self.put(broker, b"1", b"2")
        taker = await self.consuming(broker, 2)
        with sqlite3.connect(self.path) as connection:
            connection.execute("DELETE FROM messages WHERE body = ?", (b"1",))
        connection.close()
        answers: list[bool] = []
        for taken in taker.jobs:
            taken.settle([Publication("results", taken.body)], answers.append)
        await self.until(lambda: len(answers) == 2)
        self.assertEqual(answers, [False, True])
        self.assertEqual(await self.bodies_in(broker, "results"), [b"2"])

    async def test_settled_twice(self) -> None:
        """A second settlement publishes nothing and is answered with False."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        answers: list[bool] = []
        for _ in range(2):
            taker.jobs[0].settle([Publication("results", b"r")], answers.append)
        await self.until(lambda: len(answers) == 2)
        self.assertEqual(sorted(answers), [False, True])
        self.assertEqual(await self.bodies_in(broker, "results"), [b"r"])

    async def test_lost_and_back(self) -> None:
        """If the file fails in mid-work the taker is told, what is in hand is stale, and it comes again."""
        broker = self.broker(open_file=self.open_file)
        await self.start(broker)
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        self.files[-1]._connection.close()
        answers: list[bool] = []
        taker.jobs[0].settle([Publication("results", b"r")], answers.append)
        await self.until(lambda: taker.reasons)
        self.assertTrue(taker.jobs[0].stale)
        await self.until(lambda: len(taker.jobs) == 2)
        self.assertEqual(answers, [False])
        self.assertTrue(taker.jobs[1].redelivered)
        self.assertEqual(await self.bodies_in(broker, "results"), [])
        await self.settle(taker.jobs[1])

    async def test_failing_callbacks(self) -> None:
        """A callback that raises is logged; the others are called."""
        broker = await self.started()
        answers: list[bool] = []
        broker.publish([Publication("results", b"1")], lambda made: 1 / 0)  # type: ignore[arg-type,return-value]
        broker.publish([Publication("results", b"2")], answers.append)
        await self.until(lambda: answers)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_after_the_stop(self) -> None:
        """After the stop all is answered with no, nothing raises."""
        broker = await self.started()
        await self.put(broker, b"1")
        taker = await self.consuming(broker, 1)
        await self.stop(broker)
        answers: list[bool] = []
        taker.jobs[0].settle([], answers.append)
        taker.jobs[0].give_back()
        broker.publish([], answers.append)
        await self.until(lambda: len(answers) == 2)
        self.assertEqual(answers, [False, False])
        await self.assertFailure(broker.states(["outbox"]), ConnectionError)

    async def test_large_bodies(self) -> None:
        """Bodies of 50 MB come back as they were, and bound what is taken at once."""
        broker = await self.started()
        body = bytes(range(256)) * (50 << 12)
        await self.put(broker, body, body)
        taker = await self.consuming(broker, 2)
        self.assertTrue(all(taken.body == body for taken in taker.jobs))
        await self.settle(taker.jobs[0], Publication("results", body))

    async def test_many_due_at_once(self) -> None:
        """Thousands that are due in the same moment all come."""
        broker = await self.started()
        due = await self.now() + 60
        await self.put(broker, *[b"%d" % n for n in range(2500)], due=due)
        taker = await self.consuming(broker, 0, window=5000)
        await self.advance(61)
        await self.until(lambda: len(taker.jobs) == 2500)
        self.assertEqual(taker.bodies, [b"%d" % n for n in range(2500)])


class Tables(SynchronousTestCase):
    """The file by itself."""

    def setUp(self) -> None:
        """A file."""
        self.file = QueueFile(self.mktemp())
        self.addCleanup(self.file.close)

    def fill(self, *rows: Any) -> None:
        """Insert in one transaction."""
        with self.file.transaction():
            self.file.insert(rows)

    def test_space_is_used_again(self) -> None:
        """Taking and settling over and over does not make the file grow."""
        sizes = []
        owner = self.file.register()
        for _ in range(5):
            self.fill(*[row("outbox", b"x" * 2000, 1.0)] * 500)
            with self.file.transaction():
                found = self.file.claim("outbox", owner, 500)
                self.file.delete([message[0] for message in found], owner)
            sizes.append(self.file._one("PRAGMA page_count"))
        self.assertEqual(sizes[1:], [sizes[1]] * 4)

    def test_costs_do_not_grow(self) -> None:
        """Taking, promoting and asking for the next due time use an index, whatever lies in the file."""
        plan = self.file._connection.execute
        for statement, index in (
            (sqlite_file._SELECT + " LIMIT 5", "SEARCH messages USING INDEX ready (queue=?)"),
            ("SELECT min(due) FROM messages WHERE due IS NOT NULL", "COVERING INDEX waiting"),
            (
                "SELECT id FROM messages WHERE due IS NOT NULL AND due <= 5 ORDER BY due LIMIT 9",
                "INDEX waiting (due>? AND due<?)",
            ),
            ("UPDATE messages SET owner = NULL WHERE owner = 5", "USING INDEX held (owner=?)"),
        ):
            steps = plan(f"EXPLAIN QUERY PLAN {statement}", ("outbox",) if "?" in statement else ()).fetchall()
            self.assertEqual(len(steps), 1, steps)
            self.assertIn(index, steps[0][3])

    def test_peek(self) -> None:
        """Peeking shows all that is ready in the order of taking, page by page, and takes nothing."""
        rows = [row("q", b"%d" % n, float(n // 3), priority=n % 2) for n in range(50)]
        self.fill(*rows, row("q", b"later", 1.0, due=99.0))
        peeked = [message[3] for message in self.file.peek("q", 4)]
        owner = self.file.register()
        with self.file.transaction():
            self.assertEqual(peeked, [message[3] for message in self.file.claim("q", owner, 99)])
        self.assertEqual(len(peeked), 50)

    def test_batches_of_every_size(self) -> None:
        """However many are inserted at once, all are there and in order."""
        for count in (1, 3, 4, 5, 63, 64, 85, 256, 257, 700):
            self.fill(*[row(f"q{count}", b"%d" % n, 1.0) for n in range(count)])
            bodies = [message[3] for message in self.file.peek(f"q{count}")]
            self.assertEqual(bodies, [b"%d" % n for n in range(count)])

    def test_claim_is_bound_by_bytes(self) -> None:
        """A claim stops at the size asked for, but takes one at least."""
        self.fill(*[row("outbox", b"x" * 1000, 1.0)] * 9)
        owner = self.file.register()
        with self.file.transaction():
            self.assertEqual([len(self.file.claim("outbox", owner, 9, most)) for most in (1, 2500, 99999)], [1, 3, 5])

    def test_dead_owner(self) -> None:
        """The claims of a process that is no more are freed by the next to register."""
        self.fill(row("results", b"1", 1.0))
        with self.file.transaction():
            self.file._connection.execute("INSERT INTO owners VALUES (77, 999999999, '5', 0)")
            self.file.claim("results", 77, 1)
        self.assertEqual(list(self.file.peek("results")), [])
        self.file.register()
        (message,) = self.file.peek("results")
        self.assertEqual(message[1], 1)

    def test_claims_do_not_write_bodies(self) -> None:
        """A claim, and giving back, write a row where it lies: the body is not written again."""
        self.fill(*[row("outbox", b"x" * 100_000, 1.0)] * 10)
        self.file.register()
        owner = self.file.register()
        log = self.file.path + "-wal"
        self.file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(3):
            with self.file.transaction():
                found = self.file.claim("outbox", owner, 10)
            with self.file.transaction():
                self.file.give_back([message[0] for message in found], owner)
        self.assertEqual(len(found), 10)
        self.assertLess(os.path.getsize(log), 500_000)

    def test_redelivered(self) -> None:
        """What was claimed before says so, also in a file of an earlier version."""
        self.fill(row("q", b"1", 1.0), row("q", b"2", 2.0))
        owner = self.file.register()
        with self.file.transaction():
            self.file._connection.execute("UPDATE messages SET taken = 0 WHERE body = x'32'")
            found = self.file.claim("q", owner, 9)
            self.file.give_back([message[0] for message in found], owner)
            again = self.file.claim("q", owner, 9)
        self.assertEqual([message[1] for message in found + again], [0, 0, 1, 1])

    def test_oldest(self) -> None:
        """The oldest is found across priorities; what is due counts as ready since then."""
        self.fill(row("q", b"", 50.0, priority=9), row("q", b"", 20.0, priority=3), row("q", b"", 30.0))
        self.assertEqual(self.file.state("q", 100.0), ("q", 3, 0, 0, 80.0))
        self.fill(row("q", b"", 1.0, due=10.0), row("q", b"", 1.0, due=1000.0))
        self.assertEqual(self.file.state("q", 100.0), ("q", 4, 1, 0, 90.0))
        self.assertEqual(self.file.state("other", 100.0), None)
        with self.file.transaction():
            self.file.declare(["other"])
        self.assertEqual(self.file.state("other", 100.0), ("other", 0, 0, 0, None))
