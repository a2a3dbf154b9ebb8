"""The rows of the contract through whole engines: child processes, a real broker, real sockets.

All rows of one kind of broker run at the same time, in one engine for each group of settings; the first test that
wants them waits for all.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mailerq.interfaces import Publication
from tests.certificates import make
from tests.dns import TestDns
from tests.memory_engine import make_host
from tests.row import Host, Names, Ran, Row
from tests.rows import ROWS, settings_of
from tests.scenarios.harness import Engine, Mute, reactor, sleep

LONGEST = 45.0  # seconds for all rows of a group
AT_ONCE = 30  # jobs published in one go: the hosts and the DNS are in this process
EARLY, LATE = 1.2, 6.0  # seconds by which real time may differ from that of the rows
GROUPS = list(dict.fromkeys(row.group for row in ROWS if row.real))
_played: dict[tuple[str, int], Played] = {}


def played_by(workers: int) -> dict[int, Row]:
    """The rows that can be judged, by number. What becomes of a second job may depend on what the first has taught
    about its host, and on the connection that is there; of several workers each has its own."""
    return {number: row for number, row in enumerate(ROWS, 1) if row.real and (workers == 1 or len(row.jobs) == 1)}


@attrs.define
class Played:
    """What came of all rows with one kind of broker."""

    rans: dict[int, Ran] = attrs.field(factory=dict)
    logs: dict[str, str] = attrs.field(factory=dict)
    status: dict[str, int | str] = attrs.field(factory=dict)


class Group:
    """The rows of one group of settings, their hosts, their DNS and their engine."""

    def __init__(self, name: str, broker: str, workers: int) -> None:
        self.rows = {number: row for number, row in played_by(workers).items() if row.group == name}
        self.dns = TestDns(reactor)
        self.ports: list[Any] = []
        self.rans: dict[int, Ran] = {}
        self.own: set[str] = set()
        self.whole: dict[bytes, int] = {}
        self.over: dict[tuple[int, int], float] = {}
        settings = {**settings_of(name), "workers": workers}
        settings["dns"] = {**settings["dns"], "servers": [f"127.0.0.1:{self.dns.listen()}"]}
        names = [f"mx{number}.row{row}.test" for row in self.rows for number in (1, 2, 3)]
        self.good = make(*names)
        settings["limits"] = [
            {"domain": f"row{number}.test", **row.limits} for number, row in self.rows.items() if row.limits
        ]
        self.engine = Engine(settings, broker, f"{name}.{workers}.")
        ca = self.engine.folder / "ca.pem"
        ca.write_bytes(self.good.pem())
        settings["smtp"] = {**settings["smtp"], "ca": str(ca)}
        self.engine.write({**self.engine.settings, "smtp": settings["smtp"]})

    def set_up(self) -> None:
        """Let hosts listen and DNS know."""
        for number, row in self.rows.items():
            addresses = tuple(
                host.address or f"127.2.{at * 4 + number // 200}.{number % 200 + 1}"
                for at, host in enumerate(row.hosts)
            )
            names = Names(f"row{number}", addresses, self.engine.port, time.time())
            for name, lines in row.zone().items():
                self.dns.zone[names.replace(name)] = [names.replace(line) for line in lines]
            hosts = [self.listen(host, address) for host, address in zip(row.hosts, addresses, strict=True)]
            self.rans[number] = Ran(row, names, hosts, slack=(EARLY, LATE))
            for at, job in enumerate(row.jobs):
                if isinstance(job.properties, bytes):
                    self.whole[job.properties] = number
                else:
                    body = job.body(names.replace, at)
                    self.own |= set(re.findall(rf"row{number}\.[a-z]+", body.decode("utf-8", "replace")))

    def listen(self, wanted: Host, address: str) -> Any:
        """A host on a real socket."""
        if wanted.kind == "mute":
            self.ports.append(Mute(address, self.engine.port))
        if wanted.kind != "mx":
            return None
        mx = make_host(wanted, "mx", reactor)
        if wanted.certificate == "good":
            mx.certificate = self.good
        self.ports.append(mx.listen(self.engine.port, address))
        self.ports.append(mx)
        return mx

    async def play(self) -> None:
        """Run the engine until all rows are over."""
        self.set_up()
        self.engine.start()
        await self.engine.connect()
        await self.engine.running()
        end = time.monotonic() + LONGEST
        number = 0
        while time.monotonic() < end and not self.all_over():
            await self.publish()
            await self.look(own=number % 10 == 0)
            number += 1
            await sleep(0.05)

    async def publish(self) -> None:
        """The jobs whose time has come."""
        now = time.time()
        messages: list[Publication] = []
        for number, ran in self.rans.items():
            if len(messages) >= AT_ONCE:
                break
            for at, job in enumerate(ran.row.jobs):
                before = None if job.after is None else self.over.get((number, job.after))
                if at in ran.published or (job.after is not None and (before is None or now < before + job.delay)):
                    continue
                ran.names = attrs.evolve(ran.names, started=now)
                ran.published[at] = now
                body = job.body(ran.names.replace, at)
                messages.append(Publication(self.engine.names["outbox"], body, encoding=job.encoding))
        if messages:
            await self.engine.publish(messages)

    async def look(self, own: bool) -> None:
        """Take all that came out."""
        for queue in (*[name for name in self.engine.names if name != "outbox"], *(sorted(self.own) if own else ())):
            for body in await self.engine.take(queue):
                found = re.search(rb"row(\d+)\.", body)
                number = self.whole.get(body) or (int(found[1]) if found else 0)
                if number in self.rans:
                    self.rans[number].add(queue, body, time.time())
        for number, ran in self.rans.items():
            for at in ran.published:
                if (number, at) not in self.over and ran.ended(at):
                    self.over[number, at] = time.time()

    def all_over(self) -> bool:
        """Whether all jobs have ended, and enough time has passed since."""
        now = time.time()
        return all(
            (number, at) in self.over and now > self.over[number, at] + ran.row.lasts
            for number, ran in self.rans.items()
            for at in range(len(ran.row.jobs))
        )

    async def close(self) -> int:
        """The exit status of the engine."""
        try:
            return await self.engine.stop()
        finally:
            for one in self.ports:
                if hasattr(one, "drop"):
                    one.drop()
                elif isinstance(one, Mute):
                    one.close()
                else:
                    await one.stopListening()
            await self.dns.stop()
            await sleep(0.1)


async def play_group(name: str, broker: str, workers: int, played: Played) -> None:
    """All rows of a group, noting what came of them."""
    group = Group(name, broker, workers)
    try:
        try:
            await group.play()
        finally:
            played.status[name] = await group.close()
    except Exception as error:
        played.status[name] = f"{type(error).__name__}: {error}"
    finally:
        played.logs[name] = group.engine.log
        played.rans.update(group.rans)
        await group.engine.remove()


async def played_over(broker: str, workers: int) -> Played:
    """All rows with that broker and so many workers, once."""
    if (broker, workers) not in _played:
        played = _played[broker, workers] = Played()
        await gatherResults([Deferred.fromCoroutine(play_group(name, broker, workers, played)) for name in GROUPS])
    return _played[broker, workers]


def lines_about(log: str, row: str) -> str:
    """What an engine logged about a row, and its warnings."""
    wanted = re.compile(rf"\b{row}\.|Traceback|Error|critical|Unhandled")
    return "\n".join(line for line in log.splitlines() if wanted.search(line))[-6000:]


class RowTests:
    """One test for each row and one for each engine's end; which rows, its subclasses say."""

    broker = ""
    workers = 1
    timeout = 150

    async def check_row(self: Any, number: int, row: Row) -> None:
        """What came of one row."""
        played = await played_over(self.broker, self.workers)
        ran = played.rans.get(number)
        problems = ["was not played"] if ran is None else ran.problems()
        if problems:
            log = lines_about(played.logs.get(row.group, ""), f"row{number}")
            self.fail(f"{row.sentence}\n" + "\n".join(problems) + f"\n--- the engine's log:\n{log}")

    async def check_end(self: Any, group: str) -> None:
        """The engine ended well, and nothing broke inside."""
        played = await played_over(self.broker, self.workers)
        log = played.logs.get(group, "")
        self.assertIn(played.status.get(group), (0, -signal.SIGTERM), log[-4000:])
        self.assertNotIn("Traceback", log, log[-4000:])


def _row_test(number: int, row: Row) -> Callable[[Any], Any]:
    async def test(self: Any) -> None:
        await self.check_row(number, row)

    test.__doc__ = row.sentence
    return test


def _end_test(group: str) -> Callable[[Any], Any]:
    async def test(self: Any) -> None:
        await self.check_end(group)

    test.__doc__ = f"The engine with the settings {group!r} ends well, and has logged no traceback."
    return test


class TwoRowTests(RowTests):
    """The same for two workers, but for what one process remembers from one job to the next."""

    workers = 2


class OneRowTests(RowTests):
    """All rows."""


for _number, _row in played_by(1).items():
    setattr(OneRowTests, f"test_{_number:03}", _row_test(_number, _row))
for _number, _row in played_by(2).items():
    setattr(TwoRowTests, f"test_{_number:03}", _row_test(_number, _row))
for _group in GROUPS:
    setattr(RowTests, f"test_end_{_group.replace('-', '_')}", _end_test(_group))


class SqliteRowTests(OneRowTests, TestCase):
    """The embedded queue."""

    broker = "sqlite"


class RabbitRowTests(OneRowTests, TestCase):
    """RabbitMQ."""

    broker = "rabbit"


class SqliteTwoRowTests(TwoRowTests, TestCase):
    """The embedded queue, and two workers."""

    broker = "sqlite"


class RabbitTwoRowTests(TwoRowTests, TestCase):
    """RabbitMQ, and two workers."""

    broker = "rabbit"
