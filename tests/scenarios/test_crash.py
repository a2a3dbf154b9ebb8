"""Nothing is lost and nothing is doubled: engines that are killed, stopped and reloaded in full flow, and brokers that
go away under them.

``MAILERQ_FULL=1`` plays it with the full numbers of jobs and kills; it takes some minutes then.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailerq.queues.amqp_taken import AmqpTaken
from tests.scenarios.harness import Engine, rabbit, reactor, sleep, until

FULL = bool(os.environ.get("MAILERQ_FULL"))
JOBS = 5000 if FULL else 4000
KILLS = 10
HOSTS = 5
MEMORY = 150 * 1024 * 1024


class Sink(Factory):
    """A host that takes everything, ``delay`` seconds after the final dot. ``seen``: how often each recipient's mail
    has come whole; ``open``: its connections."""

    noisy = False

    def __init__(self) -> None:
        self.delay = 0.0
        self.seen: Counter[str] = Counter()
        self.open: set[Talk] = set()

    def buildProtocol(self, addr: Any) -> Talk:
        return Talk(self)


class Talk(Protocol):
    """One connection, PIPELINING and all."""

    transport: Any

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.buffer = b""
        self.recipient = ""
        self.in_message = False
        self.waiting = False
        self.later: Any = None

    def connectionMade(self) -> None:
        self.sink.open.add(self)
        self.transport.write(b"220 sink ESMTP\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        self.sink.open.discard(self)
        if self.later is not None and self.later.active():
            self.later.cancel()

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        self.go_on()

    def go_on(self) -> None:
        """All that can be answered now."""
        answers = []
        while not self.waiting:
            end = b"\r\n.\r\n" if self.in_message else b"\r\n"
            line, found, rest = self.buffer.partition(end)
            if not found:
                break
            self.buffer = rest
            if self.in_message:
                self.in_message = False
                self.sink.seen[self.recipient] += 1
                if self.sink.delay:
                    self.waiting = True
                    self.later = reactor.callLater(self.sink.delay, self.taken)
                else:
                    answers.append(b"250 2.0.0 Taken\r\n")
            else:
                answers.append(self.command(line))
        if answers:
            self.transport.write(b"".join(answers))

    def taken(self) -> None:
        """The answer to a message, late."""
        self.waiting = False
        if self.connected:
            self.transport.write(b"250 2.0.0 Taken\r\n")
            self.go_on()

    def command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
        if verb == b"RCPT":
            self.recipient = line.partition(b"<")[2].partition(b">")[0].decode()
        elif verb == b"DATA":
            self.in_message = True
            return b"354 Go ahead\r\n"
        elif verb == b"QUIT":
            self.transport.loseConnection()
            return b"221 Bye\r\n"
        return b"250 2.0.0 Fine\r\n"


class Flow:
    """An engine in full flow: its hosts, its jobs, and the results that came out of it."""

    def __init__(self, broker: str, name: str, **settings: Any) -> None:
        self.broker = broker
        self.sink = Sink()
        self.addresses = [f"127.3.0.{number + 1}" for number in range(HOSTS)]
        config: dict[str, Any] = {
            "queues": {"success": None, "failure": None, "retry": None},
            "delivery": {"retry-interval": "1s", "drain": "10s"},
            "smtp": {"port": "$PORT", "tls": "none", "timeouts": {"reply": "10s", "end": "10s"}},
            "dns": {"hosts": {f"d{number}.test": address for number, address in enumerate(self.addresses)}},
            "limits": [{"domain": "*", "max-connections": 10, "initial-connections": 10, "max-starting": 10}],
            **settings,
        }
        self.engine = Engine(config, broker, f"{name}.")
        self.ports = [
            reactor.listenTCP(self.engine.port, self.sink, interface=address, backlog=200) for address in self.addresses
        ]
        self.results: dict[int, list[tuple[Any, bytes]]] = defaultdict(list)
        self.count = 0

    async def publish(self, count: int, host: int | None = None, equal: bool = False) -> None:
        """So many more jobs: each with a number of its own, unless they are ``equal``."""
        text = "From: a@example.com\\r\\nSubject: hello\\r\\n\\r\\n" + "Hello. " * 100
        bodies = [
            b'{"recipient":"n%d@d%d.test","envelope":"a@example.com","number":%d,"mime":"%b"}'
            % (number, number % HOSTS if host is None else host, number, text.encode())
            for number in ([0] * count if equal else range(self.count, self.count + count))
        ]
        self.count += count
        await self.engine.publish(bodies)

    async def live(self) -> None:
        """A life of the engine begins."""
        self.engine.start()
        await self.engine.running()

    async def flows(self, more: int) -> None:
        """Wait until so many more mails have come to the hosts."""
        await self.reach(min(sum(self.sink.seen.values()) + more, self.count))

    async def reach(self, many: int) -> None:
        """Wait until so many mails have come to the hosts since the beginning: some may have come before the last of
        several workers is there."""
        await until(lambda: sum(self.sink.seen.values()) >= many, 30, f"mail number {many}")

    async def collect(self) -> None:
        """Take the results that are there."""
        while takens := await self.engine.broker.get(self.engine.names["results"], 1000):
            for taken in takens:
                identity = taken.properties().get("message_id") if isinstance(taken, AmqpTaken) else None
                self.results[msgspec.json.decode(taken.body)["number"]].append((identity, taken.body))
                taken.settle([])

    async def all_lie(self, within: float = 15.0) -> None:
        """Wait until each job has a result or lies in the outbox: a broker gives back in its own time what an engine
        that is gone had in hand."""
        end = time.monotonic() + within
        while len(self.results) + await self.engine.lying("outbox") < self.count and time.monotonic() < end:
            await sleep(0.1)
            await self.collect()

    async def all_ended(self, within: float = 60.0) -> None:
        """Wait until each job has a result, and a little longer for what should not come."""
        end = time.monotonic() + within
        while len(self.results) < self.count:
            if time.monotonic() > end or not self.engine.alive:
                raise AssertionError(f"{self.count - len(self.results)} of {self.count} jobs have no result")
            if self.engine.broker.connected:
                await self.collect()
            await sleep(0.1)
        await sleep(1.0)
        await self.collect()

    def judge(self, test: TestCase, *, once: bool, doubt: bool) -> str:
        """Each job has one result, a success. ``once``: no result came twice; otherwise its copies have the same
        message-id. ``doubt``: a mail may have come twice to a host, if an entry says that it was in doubt."""
        doubled = {number: found for number, found in self.results.items() if len(found) > 1}
        if once:
            test.assertEqual(len(doubled), 0, f"results came twice: {list(doubled.items())[:3]}")
        for number, found in doubled.items():
            test.assertEqual(len({identity for identity, _ in found}), 1, f"job {number}: {found}")
            test.assertIsNotNone(found[0][0], f"job {number}: {found}")
        unexplained = []
        again = 0
        for number, found in self.results.items():
            entries = msgspec.json.decode(found[0][1])["results"]
            test.assertEqual(entries[-1]["type"], "success", found)
            times = self.sink.seen[f"n{number}@d{number % HOSTS}.test"]
            doubts = sum(entry.get("in-doubt", False) for entry in entries)
            test.assertGreaterEqual(times, 1, f"job {number} never came: {found}")
            again += times - 1
            if times > 1 + (doubts if doubt else 0):
                unexplained.append((number, times, entries))
        test.assertEqual(unexplained[:3], [], f"{len(unexplained)} mails came more often than is explained")
        return f"{len(doubled)} results twice, {again} mails twice (in doubt)"

    async def close(self) -> None:
        """Nothing stays."""
        await self.engine.remove()
        for port in self.ports:
            await port.stopListening()
        for talk in list(self.sink.open):
            talk.transport.abortConnection()
        await until(lambda: not self.sink.open, 5)


class FlowTest(TestCase):
    """Tests with an engine in full flow."""

    timeout = 600 if FULL else 120
    broker = "sqlite"
    workers = 1
    part = 1.0  # of the jobs and kills

    async def flow(self, play: Callable[[Flow], Any], **settings: Any) -> None:
        """Play something with a flow; the engine's log is shown where it fails."""
        name = re.sub(r"\W+", "-", self.id().rpartition(".")[2]) + f"-{random.randrange(10**6)}"
        flow = Flow(self.broker, name, **{"workers": self.workers, **settings})
        try:
            await flow.engine.connect()
            await play(flow)
            self.assertNotIn("Traceback", flow.engine.log)
        except Exception as error:
            log = [line for line in flow.engine.log.splitlines() if "mailerq.mail#info" not in line]
            raise self.failureException(f"{error!s:.6000}\n--- the engine's log:\n" + "\n".join(log[-60:])) from error
        finally:
            await flow.close()


class CrashTests:
    """What holds with every broker."""

    broker = ""

    async def test_killed(self: Any) -> None:
        """kill -9 in full flow, again and again: each job has one final result; over RabbitMQ a result may come twice,
        with the same message-id; a mail comes twice only where its result says that it was in doubt."""

        async def play(flow: Flow) -> None:
            await flow.publish(int(JOBS * self.part))
            flow.sink.delay = 0.05
            for _ in range(int(KILLS * self.part)):
                await flow.live()
                await flow.flows(random.randrange(20, 300))
                flow.engine.kill9()
            flow.sink.delay = 0.0
            await flow.live()
            await flow.all_ended()
            print(self.broker, flow.judge(self, once=self.broker == "sqlite", doubt=True))
            self.assertEqual(await flow.engine.lying("outbox"), 0)

        await self.flow(play)

    async def test_equal_jobs(self: Any) -> None:
        """kill -9 with many equal jobs in hand: as many results as there were jobs. Over RabbitMQ rather some more, for
        those whose acknowledgement was lost, than one too few."""

        async def play(flow: Flow) -> None:
            await flow.publish(1000, equal=True)
            flow.sink.delay = 0.05
            for _ in range(4):
                await flow.live()
                seen = sum(flow.sink.seen.values())
                await until(lambda: sum(flow.sink.seen.values()) > seen + 50)  # noqa: B023
                flow.engine.kill9()
            flow.sink.delay = 0.0
            await flow.live()
            end = time.monotonic() + 40
            while time.monotonic() < end and self.count(flow.results[0]) < 1000:
                await sleep(0.3)  # those in doubt are tried again later, and wait in the engine's hand
                await flow.collect()
            await sleep(1.0)
            await flow.collect()
            if self.broker == "sqlite":
                self.assertEqual(self.count(flow.results[0]), 1000)
            else:
                self.assertGreaterEqual(self.count(flow.results[0]), 1000)

        await self.flow(play)

    def count(self, results: list[tuple[str | None, bytes]]) -> int:
        """How many results there are; copies of one, which have the same message-id, count once."""
        if self.broker == "sqlite":  # it keeps no message-id, and has no copies
            return len(results)
        return len({identity for identity, _ in results})

    async def test_stopped(self: Any) -> None:
        """SIGTERM in full flow: it ends well, nothing is lost, nothing comes twice."""

        async def play(flow: Flow) -> None:
            await flow.publish(2000)
            flow.sink.delay = 0.05
            for _ in range(3):
                await flow.live()
                await flow.flows(200)
                begun = time.monotonic()
                self.assertIn(await flow.engine.stop(), (0, -signal.SIGTERM))
                self.assertLess(time.monotonic() - begun, 5.0)
                await flow.collect()
                await flow.all_lie()
                self.assertEqual(len(flow.results) + await flow.engine.lying("outbox"), flow.count)
                self.assertEqual(sum(flow.sink.seen.values()), len(flow.results))
            flow.sink.delay = 0.0
            await flow.live()
            await flow.all_ended()
            flow.judge(self, once=True, doubt=False)

        await self.flow(play)

    async def test_stopped_while_hosts_are_silent(self: Any) -> None:
        """SIGTERM while hosts are silent: it ends after delivery.drain; what they had is in doubt, and goes again."""

        async def play(flow: Flow) -> None:
            await flow.publish(200)
            flow.sink.delay = 60.0
            await flow.live()
            await flow.reach(20)
            begun = time.monotonic()
            self.assertIn(await flow.engine.stop(), (0, -signal.SIGTERM))
            self.assertTrue(1.5 < time.monotonic() - begun < 6.0, time.monotonic() - begun)
            begun_with = sum(flow.sink.seen.values())
            flow.sink.delay = 0.0
            await flow.live()
            await flow.all_ended()
            flow.judge(self, once=True, doubt=True)
            doubts = sum(b'"in-doubt":true' in found[0][1] for found in flow.results.values())
            self.assertEqual(doubts, begun_with)

        await self.flow(play, delivery={"retry-interval": "1s", "drain": "2s"})

    async def test_reloaded(self: Any) -> None:
        """SIGHUP in full flow, with other limits, and with a file that is wrong: it goes on."""

        async def play(flow: Flow) -> None:
            await flow.publish(2000)
            flow.sink.delay = 0.02
            await flow.live()
            settings = dict(flow.engine.settings)
            for most in (3, 20, "wrong", 10):
                await flow.flows(100)
                flow.engine.write({**settings, "limits": [{"domain": "*", "max-connections": most}]})
                flow.engine.signal(signal.SIGHUP)
                await sleep(0.2)
            await flow.all_ended()
            self.assertEqual(flow.engine.log.count("not reloaded"), 1)
            self.assertGreaterEqual(flow.engine.log.count("reloaded"), 3)
            self.assertIn(await flow.engine.stop(), (0, -signal.SIGTERM))
            flow.judge(self, once=True, doubt=False)

        await self.flow(play)

    async def test_many_wait(self: Any) -> None:
        """100,000 jobs wait for a slow site: the engine stays below 150 MB, and others are not held up."""

        async def play(flow: Flow) -> None:
            await flow.publish(100_000 if FULL else int(30_000 * self.part), host=0)
            waiting = flow.count
            await flow.live()
            await flow.flows(3)
            for number in range(1, HOSTS):
                await flow.publish(20, host=number)
            await until(lambda: len(flow.sink.seen) >= 80, 60, "mail for the other sites")
            others = sum("@d0" not in recipient for recipient in flow.sink.seen)
            await sleep(20 if FULL else 4 * self.part)
            peak = flow.engine.peak()
            print(f"{self.broker}: {peak / 2**20:.0f} MB with {waiting} jobs waiting; {others} others went")
            self.assertLess(peak, MEMORY)
            self.assertGreaterEqual(others, 70)
            self.assertLess(sum(flow.sink.seen.values()), 200)

        await self.flow(play, limits=[{"domain": "d0.test", "messages-per-minute": 60}])


class SecondEngineTests:
    """Where there is one process."""

    async def test_second_engine(self: Any) -> None:
        """A second engine with the same configuration says why it cannot run, and ends with status 1; the first goes
        on."""

        async def play(flow: Flow) -> None:
            await flow.live()
            first = flow.engine.process
            flow.engine.start("pid2")
            second, flow.engine.process = flow.engine.process, first
            try:
                await until(lambda: second.poll() is not None, 20, "the end of the second engine")
            finally:
                second.kill()
            self.assertEqual(second.returncode, 1)
            self.assertIn("cannot run", flow.engine.log)
            await flow.publish(10)
            await flow.all_ended()

        await self.flow(play)


class SqliteCrashTests(CrashTests, SecondEngineTests, FlowTest):
    """The embedded queue."""

    broker = "sqlite"


class RabbitCrashTests(CrashTests, SecondEngineTests, FlowTest):
    """RabbitMQ."""

    broker = "rabbit"


class RabbitFaultTests(FlowTest):
    """A RabbitMQ that goes away under an engine in full flow."""

    broker = "rabbit"

    async def fault(self, name: str, break_it: Callable[[], None], mend: Callable[[], None]) -> None:
        """Let the fault happen in full flow; all must end well."""

        async def play(flow: Flow) -> None:
            await flow.publish(int(3000 * self.part))
            flow.sink.delay = 0.05
            await flow.live()
            await flow.flows(300)
            await deferToThread(break_it)
            await sleep(0.5)
            await deferToThread(mend)
            flow.sink.delay = 0.0
            await flow.all_ended(90)
            print(f"{name}: {flow.judge(self, once=False, doubt=False)}")
            self.assertEqual(await flow.engine.lying("outbox"), 0)
            self.assertIn(await flow.engine.stop(), (0, -signal.SIGTERM))

        await self.flow(play)

    async def test_stop_app(self) -> None:
        """The broker is stopped in order and started again."""
        await self.fault("stop_app", lambda: ctl("stop_app"), lambda: ctl("start_app"))

    async def test_killed_node(self) -> None:
        """The broker is killed and started again."""

        await self.fault("kill -9 of the node", rabbit().kill9, restart)

    async def test_closed_connections(self) -> None:
        """The broker closes all connections, three times."""

        def close() -> None:
            for _ in range(3):
                ctl("close_all_connections", "test")

        await self.fault("close_all_connections", close, lambda: None)

    async def test_no_broker(self) -> None:
        """An engine that is started without its broker waits for it; one that has lost it ends when it is told to."""

        async def play(flow: Flow) -> None:
            await flow.publish(300)
            await deferToThread(rabbit().kill9)
            flow.sink.delay = 0.05
            flow.engine.start()
            await sleep(2.0)
            self.assertTrue(flow.engine.alive)
            await deferToThread(restart)
            await flow.engine.running()
            await flow.flows(50)
            await deferToThread(rabbit().kill9)
            await sleep(0.3)
            begun = time.monotonic()
            self.assertIn(await flow.engine.stop(), (0, -signal.SIGTERM))
            self.assertLess(time.monotonic() - begun, 15.0)
            await deferToThread(restart)
            flow.sink.delay = 0.0
            await flow.live()
            await flow.all_ended()
            print(f"no broker: {flow.judge(self, once=False, doubt=True)}")

        await self.flow(play)

    async def test_memory_alarm(self) -> None:
        """The broker reads nothing for a while."""
        await self.fault(
            "memory alarm",
            lambda: ctl("set_vm_memory_high_watermark", "0.00001"),
            lambda: ctl("set_vm_memory_high_watermark", "0.4"),
        )


def restart() -> None:
    """The node, after it was killed."""
    rabbit().start()
    rabbit().wait_ready()


def ctl(*arguments: str) -> None:
    """rabbitmqctl."""
    rabbit().ctl(*arguments)
