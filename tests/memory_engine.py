"""A whole engine in memory: the real way of a mail, over a clock, connections in memory and queues in memory.

``play(row)`` is one row of ``rows.py``, from its jobs to what came of them.
"""

from __future__ import annotations

import errno
import json
import os
import random
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.task import deferLater

from mailerq.content.contents import Contents
from mailerq.content.keeping import Keeping, Rules
from mailerq.content.steps import make_chain
from mailerq.delivery import Deliveries
from mailerq.events import Events
from mailerq.fellows import open_journal
from mailerq.interfaces import Publication
from mailerq.queues.memory import MemoryBroker
from mailerq.route import Answer, NoHosts, Route, ascii_name, direct, fixed, literal, mx_names, null_mx, routed, site
from mailerq.scheduler import Scheduler
from mailerq.settings import Settings, parse
from mailerq.stores.memory import MemoryStore
from mailerq.tap import smtp_connector
from mailerq.worker import ALONE, Worker
from tests.certificates import make
from tests.mx import EXTENSIONS, Mx, Net
from tests.row import QUEUES, Host, Names, Ran, Row
from tests.rows import settings_of

START = 1_800_000_000.0
PORT = 2525
PATIENCE = 660.0  # with a worker that says nothing of a message
LIVES = count(0x100000000000)  # no two engines have the same name


class Zone:
    """A resolver that knows everything at once: names and their lines as ``tests/dns.py`` has them."""

    def __init__(self, clock: Any, settings: Settings, zone: dict[str, list[str]]) -> None:
        self._clock = clock
        self._dns = settings.dns
        self._port = settings.smtp.port
        self.zone = zone

    def cached(self, domain: str) -> Answer | None:
        """Nothing is: all is looked up."""
        return None

    def cached_host(self, hostname: str, port: int) -> Answer | None:
        """Nothing is."""
        return None

    def lookup(self, domain: str, callback: Callable[[Answer], None]) -> None:
        """The answer in the next turn."""
        self._clock.callLater(0, callback, self._domain(domain))

    def hosts_of(self, hostname: str, port: int, callback: Callable[[Answer], None]) -> None:
        """The answer in the next turn."""
        key = site(hostname, port)
        self._clock.callLater(0, callback, direct(hostname, key, self._addresses(hostname), port))

    def _domain(self, domain: str) -> Answer:
        own = literal(domain, self._port)
        name = ascii_name(domain)
        if own is not None or not isinstance(name, str):
            return own or name  # type: ignore[return-value]
        if (route := fixed(name, self._dns, self._port)) is not None:
            return route
        lines = self.zone.get(name)
        if lines is None:
            return NoHosts(f"{name} does not exist", True)
        if lines in (["SERVFAIL"], ["SILENT"]):
            return NoHosts("the servers do not answer")
        listed = [line.split()[1:] for line in lines if line.startswith("MX")]
        if not listed:
            return direct(name, name, self._addresses(name), self._port)
        mx = mx_names([(int(preference), host.rstrip(".")) for preference, host in listed])
        if mx is None:
            return null_mx(name)
        found: Route | NoHosts = routed(
            name, mx, {host: self._addresses(host) for _, host in mx}, self._port, float("inf")
        )
        return found

    def _addresses(self, name: str) -> tuple[str, ...]:
        if name.replace(".", "").isdecimal() or ":" in name:
            return (name,)
        lines = [line.split() for line in self.zone.get(name, ())]
        for kind, value, *_ in lines:
            if kind == "CNAME":
                return self._addresses(value)
        return tuple(value for kind, value, *_ in lines if kind in ("A", "AAAA"))


class Local:
    """Loopback addresses are here, no others."""

    def has(self, address: str) -> bool:
        """Whether ``address`` is on this host."""
        return address.startswith("127.") or address == "::1"

    def towards(self, address: str) -> str:
        """The one that the system would take."""
        return "127.0.0.1"


class MemoryEngine:
    """The parts of ``tap.Engine``, joined in the same way."""

    def __init__(
        self,
        settings: Settings,
        zone: dict[str, list[str]],
        journal: str,
        net: Net | None = None,
        broker: type[MemoryBroker] = MemoryBroker,
        *,
        worker: Worker = ALONE,
    ) -> None:
        self.net = net or Net()
        if not self.net.seconds():
            self.net.rightNow = START
        self.settings = settings
        dice = random.Random(1)
        self.broker = broker(self.net, settings)
        self.events = Events(self.net.seconds, lambda call: self.net.callLater(0, call))
        self.contents, keeping = self._content(settings)
        connector = smtp_connector(self.net, lambda: self.settings)
        self.scheduler = Scheduler(self.net, settings, connector, dice, contents=self.contents)
        life = f"{next(LIVES):x}"
        self.journal, self.fellows = open_journal(journal, worker, self.net.seconds, life, PATIENCE)
        self.resolver: Any = Zone(self.net, settings, zone)
        self.deliveries = Deliveries(
            self.net,
            settings,
            broker=self.broker,
            resolver=self.resolver,
            scheduler=self.scheduler,
            journal=self.journal,
            events=self.events,
            local=Local(),  # type: ignore[arg-type]
            fellows=self.fellows,
            keeping=keeping,
        )
        self.broker.consume(settings.queues.outbox, self.deliveries, settings.queues.window)
        self.broker.startService()

    def _content(self, settings: Settings) -> tuple[Contents, Keeping | None]:
        """Slow steps run in a later turn; the store is in memory."""
        contents = Contents(self.net, make_chain(settings), partial(deferLater, self.net, 0))
        self.store: MemoryStore | None = None
        if settings.store is None:
            return contents, None
        self.store = contents.store = MemoryStore(self.net)
        contents.store_retry = settings.store.retry
        said = settings.store
        return contents, Keeping(self.net, self.store, Rules(said.policy, said.delete, said.ttl))

    def kill(self) -> None:
        """What ``kill -9`` leaves: the queues, with what was in hand given back, and the journal as it stands."""
        self.deliveries.taken = lambda taken: None  # type: ignore[method-assign]
        self.broker.running = False  # type: ignore[assignment]
        self.broker.lose("killed")
        for call in list(self.net.getDelayedCalls()):
            call.cancel()
        for link in self.net.links:
            link.over = True
            link.far_end.protocol.mute = True
        self.net.links.clear()
        os.close(self.journal._lock)  # the end of a process lets go of its locks

    def publish(self, body: bytes, encoding: str | None = None) -> None:
        """Put a job on the outbox."""
        outbox = self.settings.queues.outbox
        self.broker.publish([Publication(outbox, body, encoding=encoding)], lambda done: None)

    def take_all(self, queues: list[str]) -> list[tuple[str, bytes]]:
        """All that lies in those queues, which are empty then."""
        found: list[tuple[str, bytes]] = []
        for queue in queues:
            self.broker.get(queue, 1000).addCallback(
                lambda takens, queue=queue: [(found.append((queue, one.body)), one.settle([])) for one in takens]
            )
        return found


def make_host(wanted: Host, name: str, clock: Any = None) -> Mx:
    """The Mx that a row asks for."""
    certificate = None
    if wanted.certificate is not None:
        names = {"other": "other.example"}.get(wanted.certificate, name)
        certificate = make(names, days=-1 if wanted.certificate == "old" else 30)
    return Mx(
        clock,
        script=dict(wanted.script),
        extensions=EXTENSIONS if wanted.extensions is None else wanted.extensions,
        certificate=certificate,
        users=dict(wanted.users) if wanted.users else None,
        idle_after=wanted.idle_after,
    )


def play(row: Row, number: int = 1) -> Ran:
    """One row, from its jobs to what came of them."""
    addresses = tuple(host.address or f"127.1.{at}.1" for at, host in enumerate(row.hosts, 1))
    names = Names(f"row{number}", addresses, PORT, START)
    config = settings_of(row.group)
    if row.limits:
        config["limits"] = [{"domain": names.domain, **row.limits}]
    zone = {names.replace(name): [names.replace(line) for line in lines] for name, lines in row.zone().items()}
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(config).replace('"$PORT"', str(PORT))
        engine = MemoryEngine(parse(text, "row", {}), zone, str(Path(folder) / "journal"))
        hosts = [put_host(engine.net, address, host) for address, host in zip(addresses, row.hosts, strict=True)]
        ran = Ran(row, names, hosts)
        run(engine, ran)
        engine.journal.close()
    return ran


def put_host(net: Net, address: str, wanted: Host) -> Mx | None:
    """Let the host be in the network."""
    if wanted.kind == "mx":
        mx: Mx = net.add(address, make_host(wanted, "mx"))
        return mx
    problems = {"refuses": errno.ECONNREFUSED, "resets": errno.ECONNRESET, "far": errno.ENETUNREACH}
    if wanted.kind in problems:
        net.add(address, error.getConnectError((problems[wanted.kind], "as it is")))
    return None


def run(engine: MemoryEngine, ran: Ran) -> None:
    """Publish the jobs when their time has come, until all have ended, and a little longer."""
    net = engine.net
    queues = [*QUEUES, *(f"{ran.names.row}.{name}" for name in ("mine", "good", "bad", "again", "out"))]
    end = until = START + ran.row.longest
    over: dict[int, float] = {}
    jobs = ran.row.jobs
    while net.seconds() < until:
        for number, job in enumerate(jobs):
            ready = job.after is None or (job.after in over and net.seconds() >= over[job.after] + job.delay)
            if number not in ran.published and ready:
                body = job.body(ran.names.replace, number)
                ran.published[number] = net.seconds()
                engine.publish(body, job.encoding)
        net.run(ran.row.step)
        for queue, body in engine.take_all(queues):
            ran.add(queue, body, net.seconds())
        for number in ran.published:
            if number not in over and ran.ended(number):
                over[number] = net.seconds()
        if len(over) == len(jobs) and until == end:
            until = net.seconds() + ran.row.lasts
