"""A whole engine as a child process, a real broker, remote hosts on real sockets.

The engine is ``twistd -n mailerq`` with a configuration and a folder of its own. Queues are read and filled by a broker
object in the process of the test.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.task import deferLater

from mailerq.interfaces import Publication
from mailerq.queues import make_broker
from mailerq.settings import load
from tests.rabbit import Rabbit, free_ports, rabbitmq_home

reactor: Any = real_reactor
ROOT = Path(__file__).resolve().parents[2]
_rabbit: Rabbit | None = None


def rabbit() -> Rabbit:
    """The RabbitMQ node of this test run."""
    global _rabbit
    if _rabbit is None:
        if rabbitmq_home() is None:
            raise AssertionError("rabbitmq-server is not installed")
        _rabbit = Rabbit()
        atexit.register(_rabbit.remove)
        _rabbit.start()
        _rabbit.wait_ready()
    return _rabbit


async def sleep(seconds: float) -> None:
    """Real seconds."""
    await deferLater(reactor, seconds, lambda: None)


async def until(condition: Callable[[], Any], within: float = 30.0, what: str = "it") -> None:
    """Wait until it is true; AssertionError if that takes too long."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {within:g} s")
        await sleep(0.02)


class Engine:
    """One engine, with its folder; with several ``workers`` in its settings it is a parent and as many processes.
    ``settings`` is the configuration as a mapping (``$PORT`` in it is ``port``); ``broker``: ``sqlite``, ``rabbit`` or
    the address of one; ``prefix``: before the names of its queues."""

    def __init__(self, settings: Mapping[str, Any], broker: str, prefix: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="engine-"))
        self.port = free_ports(1)[0]
        self.prefix = prefix
        address = {"sqlite": f"sqlite:{self.folder}/queue.db", "rabbit": ""}.get(broker, broker) or rabbit().url()
        queues = {name: f"{prefix}{name}" for name in ("outbox", "results", "success", "failure", "retry", "invalid")}
        changed = dict(settings.get("queues", {}))
        config = {
            **settings,
            "broker": address,
            "queues": {**queues, **changed},
            "journal": str(self.folder / "journal"),
        }
        self.names = {name: config["queues"][name] for name in queues if config["queues"][name] is not None}
        self.config = self.folder / "c.yaml"
        self.write(config)
        self.process: subprocess.Popen[bytes] | None = None
        self.within: tuple[str, ...] = ()  # the command that runs it, if it is not to run as it is
        self.broker: Any = None

    def write(self, config: Mapping[str, Any]) -> None:
        """The configuration file."""
        self.settings = config
        self.count = int(config.get("workers", 1))
        self.config.write_text(json.dumps(config, indent=1).replace('"$PORT"', str(self.port)))

    @property
    def log(self) -> str:
        """All that its lives have logged."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self, pidfile: str = "pid") -> None:
        """A new life; see ``running``."""
        twistd = Path(sys.executable).with_name("twistd")
        environment = {name: value for name, value in os.environ.items() if name != "MAILERQ_CONFIG"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.within,
                    str(twistd),
                    "-n",
                    f"--pidfile={self.folder}/{pidfile}",
                    "mailerq",
                    "-c",
                    str(self.config),
                ],
                cwd=self.folder,
                env={**environment, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            self._begun = log.tell()

    async def running(self, within: float = 30.0) -> None:
        """Wait until it takes jobs."""
        try:
            await until(
                lambda: self.log[self._begun :].count("taking jobs") >= self.count or not self.alive,
                within,
                "the engine",
            )
            assert self.alive, "the engine ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from None

    @property
    def alive(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The processes that work: its children, or itself where it has no workers."""
        if not self.alive or self.process is None:
            return []
        return children(self.process.pid) if self.count > 1 else [self.process.pid]

    def kill_worker(self, which: int) -> int:
        """One of its workers, at once; returns its process number. AssertionError if there is none now."""
        found = self.workers()
        assert found, "no worker lives"
        os.kill(found[which % len(found)], signal.SIGKILL)
        return found[which % len(found)]

    def kill9(self) -> None:
        """At once, with its workers."""
        if self.process is None:
            return
        workers = self.workers() if self.count > 1 else []
        self.process.kill()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        self.process.wait(10)
        end = time.monotonic() + 10  # somebody else is to bury them
        while any(runs(worker) for worker in workers) and time.monotonic() < end:
            time.sleep(0.005)

    async def stop(self, within: float = 40.0) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        await until(lambda: not self.alive, within, "the end of the engine")
        return int(self.process.returncode)

    def peak(self) -> int:
        """The most memory that one of its working processes has used, in bytes (VmHWM)."""
        return max(_peak(worker) for worker in self.workers())

    async def remove(self) -> None:
        """Nothing stays."""
        self.kill9()
        if self.broker is not None:
            await self.broker.stopService()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- its queues

    async def connect(self) -> None:
        """A broker object of our own, ready."""
        self.broker = make_broker(reactor, load(str(self.config)), Random())
        self.broker.startService()
        await self.broker.ready()

    async def publish(self, bodies: Sequence[bytes | Publication], queue: str = "outbox") -> None:
        """Put messages on a queue, and wait until that is sure."""
        name = self.names.get(queue, queue)
        messages = [one if isinstance(one, Publication) else Publication(name, one) for one in bodies]
        for start in range(0, len(messages), 500):
            done: list[bool] = []
            self.broker.publish(messages[start : start + 500], done.append)
            await until(lambda done=done: done, 60, "the broker's confirmation")
            assert done == [True], "the broker did not take it"

    async def take(self, queue: str, count: int = 500) -> list[bytes]:
        """What lies in a queue; it is removed."""
        takens = await self.broker.get(self.names.get(queue, queue), count)
        for taken in takens:
            taken.settle([])
        return [taken.body for taken in takens]

    async def lying(self, queue: str) -> int:
        """How many lie in a queue."""
        states = await self.broker.states([self.names.get(queue, queue)])
        return sum(state.ready + (state.waiting or 0) + (state.in_hand or 0) for state in states)


def children(parent: int) -> list[int]:
    """The processes that a process has started, and that still run, the oldest first."""
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [number for number in map(int, text.split()) if runs(number)]


def runs(number: int) -> bool:
    """Whether a process of that number is more than a memory."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _peak(number: int) -> int:
    status = Path(f"/proc/{number}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Mute:
    """A host to which no connection comes about: its backlog is full."""

    def __init__(self, address: str, port: int) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address, port))
            self.fillers.append(filler)

    def close(self) -> None:
        """Nobody listens any more."""
        for one in (*self.fillers, self.listener):
            one.close()
