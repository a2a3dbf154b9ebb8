"""A stage for plays about limits: one engine, and hosts that note when what came.

Times are epoch seconds, as the test's process sees them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from tests.mx import Mx, Session, address_of, local
from tests.scenarios.harness import ROOT, Engine, reactor, sleep, until

TEXT = "From: a@example.com\r\nSubject: hello\r\n\r\n" + "Hello. " * 20


class Stamper(Mx):
    """A host that notes each MAIL and each connection: (time, local address of the engine, local part of the sender).

    ``delay``: seconds it takes to answer a message. ``most``: with more connections than that open, the next is greeted
    with 421. ``grey``: how long, in seconds, a mail from an address and a sender that it does not know is put off.
    """

    def __init__(self, delay: float = 0.0, most: int = 10**6, grey: float = 0.0) -> None:
        super().__init__(reactor)
        self.delay = delay
        self.most = most
        self.grey = grey
        self.known: dict[tuple[str, str], float] = {}
        self.came: list[tuple[float, str, str]] = []
        self.connected: list[tuple[float, str, int]] = []
        self.refused: list[tuple[float, int]] = []

    def buildProtocol(self, addr: Any) -> Stamped:
        session = Stamped(self)
        self.connections = [one for one in self.connections if one.connected]
        self.connections.append(session)
        return session


class Stamped(Session):
    """One connection to a Stamper."""

    mx: Stamper

    def connectionMade(self) -> None:
        now, others = reactor.seconds(), self.mx.open - 1
        self.source = self.transport.getPeer().host
        if others >= self.mx.most:
            self.mx.refused.append((now, others))
            self.send(b"421 4.7.0 mx.test too many connections from your address\r\n")
            self.mute = True
            self.transport.loseConnection()
            return
        self.mx.connected.append((now, self.source, others + 1))
        super().connectionMade()

    def on_mail(self, line: bytes) -> None:
        self.mx.came.append((reactor.seconds(), self.source, local(address_of(line)[0])))
        super().on_mail(line)

    def on_rcpt(self, line: bytes) -> None:
        key = (self.source, self.sender or "")
        first = self.mx.known.setdefault(key, reactor.seconds())
        if self.mx.grey and reactor.seconds() - first < self.mx.grey:
            self.send(b"451 4.7.1 Greylisting in action, please come back later\r\n")
        else:
            super().on_rcpt(line)

    def perform(self, said: Any, step: str, accepting: bytes) -> str:
        if step != "end" or not self.mx.delay:
            return super().perform(said, step, accepting)
        self.mute = True  # what comes meanwhile is read after the answer
        reactor.callLater(self.mx.delay, self.answer, accepting)
        return "2"

    def answer(self, reply: bytes) -> None:
        """The answer to a message, late."""
        if self.connected:
            self.mute = False
            self.send(reply)
            self.dataReceived(b"")


class Stage:
    """An engine and its hosts, one for each domain, at ``127.4.0.1``, ``127.4.0.2``, …

    ``broker``: ``sqlite``, or the address of a RabbitMQ.
    """

    def __init__(self, hosts: Mapping[str, Stamper], broker: str = "sqlite", **settings: Any) -> None:
        self.hosts = dict(hosts)
        addresses = {domain: f"127.4.0.{number}" for number, domain in enumerate(hosts, 1)}
        config: dict[str, Any] = {
            "smtp": {"port": "$PORT", "tls": "none"},
            "dns": {"hosts": addresses},
            **settings,
        }
        config["smtp"] = {"port": "$PORT", "tls": "none", **config["smtp"]}
        self.engine = Engine(config, broker, "" if broker == "sqlite" else f"limits-{os.getpid()}.")
        self.ports = [
            reactor.listenTCP(self.engine.port, host, interface=addresses[domain], backlog=200)
            for domain, host in hosts.items()
        ]
        self.results: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}
        reactor.addSystemEventTrigger("before", "shutdown", self.engine.kill9)

    async def live(self) -> None:
        """A life of the engine begins."""
        self.engine.start()
        await self.engine.running()

    async def publish(self, domain: str, count: int, text: str = TEXT, **more: Any) -> None:
        """So many jobs; the senders' local parts are their numbers."""
        jobs = [
            {"recipient": f"r{number}@{domain}", "envelope": f"{number}@example.com", "mime": text, **more}
            for number in range(count)
        ]
        await self.engine.publish([json.dumps(job).encode() for job in jobs])

    def count(self, *domains: str) -> int:
        """How many mails have come for those domains, or for all."""
        return sum(len(self.hosts[domain].came) for domain in domains or self.hosts)

    async def arrive(self, count: int, *domains: str, within: float = 30.0) -> None:
        """Wait until so many mails have come in all."""
        await until(lambda: self.count(*domains) >= count, within, f"mail {count}")

    async def collect(self) -> None:
        """Take the results that are there."""
        while bodies := await self.engine.take("results", 1000):
            self.results += map(json.loads, bodies)

    async def results_of(self, count: int, *domains: str, within: float = 30.0) -> None:
        """Wait for so many results, of those domains or of all."""
        end = reactor.seconds() + within
        while sum(job["domain"] in (domains or self.hosts) for job in self.results) < count:
            if reactor.seconds() > end:
                raise AssertionError(f"{len(self.results)} results of {count} within {within:g} s")
            await self.collect()
            await sleep(0.1)

    async def hang_up(self, limits: Sequence[Mapping[str, Any]]) -> float:
        """Other limits, and SIGHUP; returns when it was sent, after the engine has said that it knows them."""
        said = self.engine.log.count("reloaded")
        self.engine.write({**self.engine.settings, "limits": limits})
        at: float = reactor.seconds()
        self.engine.signal(1)
        await until(lambda: self.engine.log.count("reloaded") > said, 10, "the reload")
        return at

    async def command(self, *words: str) -> str:
        """What ``mailerq WORDS`` prints for this engine; AssertionError if it fails."""
        arguments = ["-m", "mailerq", words[0], "-c", str(self.engine.config), *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        out, errors, status = await getProcessOutputAndValue(
            sys.executable, arguments, environment, str(self.engine.folder)
        )
        if status:
            raise AssertionError(f"mailerq {' '.join(words)} ended with {status}: {errors.decode()}{out.decode()}")
        text: str = out.decode()
        return text

    def seen(self) -> dict[str, Any]:
        """All that was seen, for a test to judge."""
        return {
            "came": {domain: host.came for domain, host in self.hosts.items()},
            "connected": {domain: host.connected for domain, host in self.hosts.items()},
            "refused": {domain: host.refused for domain, host in self.hosts.items()},
            "results": self.results,
            **self.notes,
        }

    async def close(self) -> None:
        """Nothing stays, but the whole log in the folder that ``MAILERQ_LOGS`` names."""
        if folder := os.environ.get("MAILERQ_LOGS"):
            Path(folder, f"{os.getpid()}.log").write_text(self.engine.log)
        log = [line for line in self.engine.log.splitlines() if "mailerq.mail#info" not in line]
        self.notes["log"] = "\n".join(log[-60:])
        await self.engine.remove()
        for port in self.ports:
            await port.stopListening()
        for host in self.hosts.values():
            host.drop()
