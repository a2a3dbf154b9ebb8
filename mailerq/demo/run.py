"""The demonstration from its beginning to its end."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import IService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mailerq.demo import report
from mailerq.demo.check import Result, differences
from mailerq.demo.hosts import Host
from mailerq.demo.plan import SCRIPTS, Order, orders
from mailerq.demo.process import EngineProcess
from mailerq.interfaces import IBroker, Publication
from mailerq.queues import make_broker
from mailerq.settings import load

PATIENCE = 50.0  # seconds after which what has not come does not come
QUEUES = ("outbox", "results", "success", "failure", "retry", "invalid")
SHOWN = 10  # differences that are shown


class Demo:
    """One run in ``folder``, told to ``out``, with the text ``next_steps`` at the end.

    ``status`` is that of the program: 130 until it has come to its end.
    """

    def __init__(self, reactor: Any, folder: Path, out: TextIO, next_steps: str) -> None:
        self.status = 130
        self._reactor = reactor
        self._folder = folder
        self._out = out
        self._next = next_steps
        self._orders = orders()
        self._hosts = [Host(reactor, script) for script in SCRIPTS]
        self._closed: list[socket.socket] = []
        self._results: dict[int, list[Result]] = {}
        self._seconds: dict[int, float] = {}
        self._engine: EngineProcess | None = None
        self._broker: IBroker | None = None
        self._began = 0.0
        self._running: Deferred[None] | None = None
        self._stopped_early = False

    def start(self) -> None:
        """Run, then stop the reactor."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._failed)
        self._running.addBoth(lambda _: self._reactor.running and not self._stopped_early and self._reactor.stop())

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.status = 1
            self._say(failure.getTraceback())

    async def _run(self) -> None:
        config = self._write_config()
        self._engine = EngineProcess(self._reactor, self._folder, config)
        self._engine.ended = self._engine_ended
        self._say(f"Starting the engine: {' '.join(self._engine.command)}\n")
        self._engine.start()
        settings = load(str(config))
        self._broker = make_broker(self._reactor, settings, random.Random())
        IService(self._broker).startService()
        await self._broker.ready()
        self._say(f"Publishing {len(self._orders)} jobs for {len(SCRIPTS)} domains on its outbox.\n")
        self._began = self._reactor.seconds()
        await self._publish()
        await self._watch()
        await self._engine.stop()
        await self._read_results()
        self._tell(await self._queue_lengths(), config)

    # -- before ------------------------------------------------------------------------------------------------------

    def _write_config(self) -> Path:
        """The hosts listen from now on, and the engine's configuration says where."""
        hosts = {}
        for number, host in enumerate(self._hosts):
            address = f"127.0.0.{20 + 2 * number}"
            port = self._reactor.listenTCP(0, host, interface=address)
            listening = f"{address}:{port.getHost().port}"
            first = [self._closed_port(f"127.0.0.{21 + 2 * number}")] if host.script.closed_first else []
            hosts[host.script.domain] = [*first, listening]
        path = self._folder / "demo.yaml"
        settings = {
            "broker": f"sqlite:{self._folder}/queue.db",
            "journal": f"{self._folder}/journal",
            "dns": {"hosts": hosts},
            "delivery": {"offline-time": "1s", "drain": "2s"},
            "smtp": {"hostname": "demo.sender.example"},
            "log": {"file": f"{self._folder}/mail.log"},
        }
        path.write_text(json.dumps(settings, indent=2))
        return path

    def _closed_port(self, address: str) -> str:
        """A port that is ours, and at which nobody listens."""
        closed = socket.socket()
        closed.bind((address, 0))
        self._closed.append(closed)
        return f"{address}:{closed.getsockname()[1]}"

    async def _publish(self) -> None:
        made: Deferred[bool] = Deferred()
        assert self._broker is not None
        self._broker.publish([Publication("outbox", order.body) for order in self._orders], made.callback)
        if not await made:
            raise RuntimeError("the jobs could not be published")

    # -- meanwhile ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Read results as they come, until each job has one or patience is at its end."""
        progress = report.Progress(self._out, len(self._orders))
        while True:
            await self._read_results()
            lengths = await self._queue_lengths()
            passed = self._reactor.seconds() - self._began
            over = (len(self._results) >= len(self._orders) and not lengths.get("outbox")) or passed > PATIENCE
            delivered = sum(found[0]["results"][-1]["type"] == "success" for found in self._results.values())
            progress.show(passed, delivered, len(self._results) - delivered, lengths.get("retry", 0), over)
            if over:
                return
            await deferLater(self._reactor, 0.1)

    async def _read_results(self) -> None:
        """Take what lies in the results queue."""
        assert self._broker is not None
        while messages := await self._broker.get("results", 500):
            now = self._reactor.seconds() - self._began
            for message in messages:
                result = json.loads(message.body)
                self._results.setdefault(result["order"], []).append(result)
                self._seconds[result["order"]] = now
                message.settle([])

    async def _queue_lengths(self) -> dict[str, int]:
        assert self._broker is not None
        states = await self._broker.states(QUEUES)
        return {state.name: state.ready + (state.waiting or 0) + (state.in_hand or 0) for state in states}

    def _engine_ended(self) -> None:
        assert self._engine is not None and self._running is not None
        self.status = 1
        self._say(
            f"\nThe engine ended by itself ({self._engine.end}). The end of its log:\n{self._engine.last_lines()}"
        )
        self._running.cancel()

    # -- after -------------------------------------------------------------------------------------------------------

    def _tell(self, lengths: dict[str, int], config: Path) -> None:
        kept = {recipient: messages for host in self._hosts for recipient, messages in host.kept.items()}
        wrong = differences(self._orders, self._results, kept, lengths)
        if self._engine is not None and not self._engine.ended_well:
            wrong.append(f"the engine, told to stop, ended with {self._engine.end}")
        found = [result for results in self._results.values() for result in results]
        self._say(f"\nWhat came of them:\n\n{report.by_type(found)}\n")
        self._say(report.by_domain(SCRIPTS, found, self._seconds))
        self._say(f"\n{report.examples(self._orders, self._results)}\n")
        self.status = 1 if wrong else 0
        self._say(_judgement(self._orders, wrong))
        if wrong and self._engine is not None:
            self._say(f"\nThe end of the engine's log:\n{self._engine.last_lines()}")
        else:
            self._say(self._next)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def clean_up(self) -> Any:
        """Before the reactor stops, for whatever reason: the engine ends first."""
        self._stopped_early = True
        if self._engine is not None:
            self._engine.ended = None
        if self._running is not None and not self._running.called:
            self._running.cancel()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        for closed in self._closed:
            closed.close()
        if self._engine is not None:
            await self._engine.stop()
        if self._broker is not None:
            stopped = IService(self._broker).stopService()
            if isinstance(stopped, Deferred):
                await stopped


def _judgement(all_orders: Sequence[Order], wrong: Sequence[str]) -> str:
    if not wrong:
        return (
            f"All {len(all_orders)} jobs have exactly one final result, every attempt is what the script of its host "
            "says,\nand the hosts have each delivered message once, byte for byte."
        )
    more = f"\n  … and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return f"Not as it has to be, {len(wrong)} times:\n" + "\n".join(f"  {line}" for line in wrong[:SHOWN]) + more


NEXT = """
To run it for real:

  cd {folder}
  . {venv}/bin/activate
  mailerq check                          # is etc/mailerq.yaml in order?
  twistd -n mailerq                      # the engine; Ctrl-C stops it
  mailerq publish < jobs.jsonl           # in another terminal: one job a line; README.md has one
  mailerq consume results                # what came of them
"""
