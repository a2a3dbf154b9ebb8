"""One whole engine (``tap.Engine``) on a reactor in memory, between a played RabbitMQ or a real queue file and played
mail hosts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.lib.jobs import jobs
from benchmarks.lib.loop import Loop, Played
from benchmarks.lib.played_host import PlayedHost
from benchmarks.lib.played_rabbitmq import PlayedRabbitmq
from benchmarks.lib.turns import in_turn
from mailerq.queues import amqp, sqlite  # noqa: F401 (to be there before in_turn)
from mailerq.queues.sqlite_file import QueueFile, row
from mailerq.settings import load
from mailerq.tap import Engine

AMQP = 5672


class PlayedEngine:
    """``broker`` is ``rabbitmq`` or ``embedded``; ``folder`` gets its files. Only one in a process."""

    def __init__(self, broker: str, folder: Path, domains: int) -> None:
        self.accepted = [0]
        self.domains = domains
        self.rabbit = PlayedRabbitmq()
        self.path = folder / "queue.db" if broker == "embedded" else None
        self.loop = Loop(self._far_end)
        in_turn(self.loop)
        path = folder / "bench.yaml"
        path.write_text(json.dumps(self._settings(folder)))
        self.engine = Engine(self.loop, load(str(path)), str(path))
        self._file: QueueFile | None = None

    def _settings(self, folder: Path) -> dict[str, Any]:
        return {
            "broker": f"sqlite:{self.path}" if self.path else f"amqp://guest:guest@127.0.0.1:{AMQP}/",
            "queues": {"success": "success"},
            "dns": {"hosts": {f"d{number}.example": f"127.0.1.{number + 1}:25" for number in range(self.domains)}},
            "journal": str(folder / "journal"),
            "state": str(folder / "state"),
            "control": None,
            "log": {"mails": False},
            "smtp": {"hostname": "bench.example"},
        }

    def _far_end(self, host: str, port: int) -> Played:
        return self.rabbit if port == AMQP else PlayedHost(self.accepted)

    def start(self) -> None:
        """Until it takes jobs."""
        self.engine.startService()
        if self.path is None:
            self.loop.turn_until(lambda: self.rabbit.consumed is not None)
        else:
            self.loop.turn_until(lambda: self.engine.broker.connected)
            self._file = QueueFile(str(self.path))

    def deliver(self, count: int, size: int) -> int:
        """Let it deliver so many jobs, until all is settled; in how many turns."""
        already = self.accepted[0]
        wanted = already + count
        bodies = list(jobs(count, size, self.domains, already))
        if self._file is None:
            self.rabbit.push(bodies)
            turns = self.loop.turn_until(lambda: self.rabbit.acknowledged == wanted)
            assert self.rabbit.published == {"results": wanted, "success": wanted}, self.rabbit.published
        else:
            self._fill(bodies)
            turns = self.loop.turn_until(lambda: self.accepted[0] == wanted and self._settled() == wanted)
        return turns

    def _fill(self, bodies: Iterable[bytes]) -> None:
        assert self._file is not None
        with self._file.transaction():
            self._file.insert([row("outbox", body, self.loop.now) for body in bodies])

    def _settled(self) -> int:
        assert self._file is not None
        found = self._file.state("success", time.time() + 1e9)
        return found.ready if found is not None else 0
