"""Single workers are killed in full flow, again and again: nothing is lost, and nothing is sent twice that one process
would not send twice.

``MAILERQ_FULL=1`` plays it with more jobs and kills.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from twisted.internet.threads import deferToThread

from tests.scenarios.harness import sleep, until
from tests.scenarios.test_crash import FULL, HOSTS, Flow, FlowTest, ctl

JOBS = 5000 if FULL else 2000
KILLS = 25 if FULL else 8


class WorkersTests:
    """What holds with every broker."""

    broker = ""

    async def kill_workers(self, flow: Flow, kills: int) -> None:
        """One after the other, some of them while the one before is not back yet."""
        dice = random.Random()
        for _ in range(kills):
            await flow.flows(dice.randrange(20, 150))
            await until(flow.engine.workers, 30, "a worker")
            flow.engine.kill_worker(dice.randrange(3))
            await sleep(dice.choice((0.0, 0.3, 1.2)))

    async def test_killed(self: Any) -> None:
        """Each job has one final result, over RabbitMQ perhaps a second with the same message-id; a mail comes twice
        only where its result says that it was in doubt."""

        async def play(flow: Flow) -> None:
            await flow.publish(JOBS)
            flow.sink.delay = 0.05
            await flow.live()
            await self.kill_workers(flow, KILLS)
            flow.sink.delay = 0.0
            await flow.all_ended()
            print(self.broker, flow.judge(self, once=self.broker == "sqlite", doubt=True))
            self.assertEqual(await flow.engine.lying("outbox"), 0)

        await self.flow(play, workers=2)

    async def test_in_doubt_fails(self: Any) -> None:
        """With ``in-doubt: fail`` no mail comes twice: one whose final dot was sent by a worker that was killed is not
        sent by another."""

        async def play(flow: Flow) -> None:
            await flow.publish(JOBS)
            flow.sink.delay = 0.1
            await flow.live()
            await self.kill_workers(flow, KILLS)
            flow.sink.delay = 0.0
            await flow.all_ended()
            failed = 0
            for number, found in flow.results.items():
                last = msgspec.json.decode(found[0][1])["results"][-1]
                times = flow.sink.seen[f"n{number}@d{number % HOSTS}.test"]
                if last["type"] == "success":
                    self.assertEqual(times, 1, found)
                else:
                    failed += 1
                    self.assertTrue(last.get("in-doubt"), found)
                    self.assertLessEqual(times, 1, found)
            self.assertGreater(failed, 0)
            print(f"{self.broker}: {failed} failed in doubt")
            self.assertEqual(await flow.engine.lying("outbox"), 0)

        delivery = {"retry-interval": "1s", "drain": "10s", "in-doubt": "fail"}
        await self.flow(play, workers=2, delivery=delivery)

    async def test_all_killed(self: Any) -> None:
        """All processes are killed at once, and begin again as more, fewer, or one: what each of them has left is known
        to those that come after it."""

        async def play(flow: Flow) -> None:
            await flow.publish(JOBS)
            flow.sink.delay = 0.05
            for workers in (2, 3, 1, 2):
                flow.engine.write({**flow.engine.settings, "workers": workers})
                await flow.live()
                await flow.flows(150)
                flow.engine.kill9()
            flow.sink.delay = 0.0
            await flow.live()
            await flow.all_ended()
            print(self.broker, flow.judge(self, once=self.broker == "sqlite", doubt=True))
            names = {path.name for path in flow.engine.folder.glob("journal*") if path.suffix != ".lock"}
            self.assertEqual(names, {"journal.0", "journal.1", "journal.handed"})

        await self.flow(play)


class SqliteWorkersTests(WorkersTests, FlowTest):
    """The embedded queue."""

    broker = "sqlite"

    async def test_stranger(self) -> None:
        """An engine with another configuration is refused by the queue, status 1, whether it is alone or has workers;
        the workers go on."""

        async def play(flow: Flow) -> None:
            await flow.live()
            first, settings = flow.engine.process, flow.engine.settings
            other = str(flow.engine.folder / "other")
            for workers in (1, 2):
                own = {"journal": f"{other}/journal", "state": f"{other}/state", "control": f"{other}/control"}
                flow.engine.write({**settings, **own, "workers": workers})
                flow.engine.start("pid2")
                second, flow.engine.process = flow.engine.process, first
                try:
                    await until(lambda second=second: second.poll() is not None, 30, "the end of the second engine")
                finally:
                    second.kill()
                self.assertEqual(second.returncode, 1)
                self.assertIn("in use by another engine", flow.engine.log)
            await flow.publish(10)
            await flow.all_ended()

        await self.flow(play, workers=2)


class RabbitWorkersTests(WorkersTests, FlowTest):
    """RabbitMQ."""

    broker = "rabbit"

    async def test_connections_closed(self) -> None:
        """Workers that live, and lose the broker, again and again: jobs that come to another while their message is on
        its way are not sent twice."""

        async def play(flow: Flow) -> None:
            await flow.publish(JOBS)
            flow.sink.delay = 0.3
            await flow.live()
            for _ in range(4):
                await flow.flows(100)
                await deferToThread(ctl, "close_all_connections", "test")
                await until(lambda: flow.engine.broker.connected, 30, "the broker")
            flow.sink.delay = 0.0
            await flow.all_ended(90)
            print(f"connections closed: {flow.judge(self, once=False, doubt=False)}")
            self.assertEqual(await flow.engine.lying("outbox"), 0)

        await self.flow(play, workers=2)
