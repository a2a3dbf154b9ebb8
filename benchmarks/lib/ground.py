"""What runs of the growth benchmark share: one RabbitMQ node for all, a folder and new queues for each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.lib.brokers import Broker, Embedded, Rabbitmq
from benchmarks.lib.engine_process import EngineProcess, write_config
from benchmarks.lib.jobs import jobs
from benchmarks.lib.sinks import OwnSink

SIZE = 2000
DROP_AT = 20000  # results that are left to lie at most


class Ground:
    """Close it at the end."""

    def __init__(self) -> None:
        self._rabbit: Rabbitmq | None = None

    @contextmanager
    def fresh(self, broker: str) -> Iterator[Place]:
        """New queues, a new folder, a new mail host."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            running: Broker
            if broker == "embedded":
                running = Embedded(folder)
            else:
                running = self._rabbit = self._rabbit or Rabbitmq(folder)
                running.clear()
            sink = OwnSink(folder)
            try:
                yield Place(folder, running, sink)
            finally:
                sink.close()
                if broker == "embedded":
                    running.close()

    def close(self) -> None:
        """End RabbitMQ."""
        if self._rabbit is not None:
            self._rabbit.close()
            self._rabbit = None


@attrs.define
class Place:
    """Where one run takes place. ``domains``: how many the jobs are spread over; ``size``: bytes of each message."""

    folder: Path
    broker: Broker
    sink: OwnSink
    domains: int = 20
    size: int = SIZE
    filled: int = 0
    kept: int = 0

    def configure(self, domains: int, **more: Any) -> Path:
        """A configuration with so many fixed hosts, and the sections that are given."""
        smtp: dict[str, Any] = {"hostname": "bench.example", "port": self.sink.port, "tls": "none"}
        sections = {"smtp": smtp | more.pop("smtp", {})}
        return write_config(self.folder, self.broker.config, self.sink.port, domains, **(sections | more))

    def fill(self, count: int) -> None:
        """More jobs, numbered on."""
        self.broker.fill(jobs(count, self.size, self.domains, self.filled))
        self.filled += count

    def keep(self, waiting: int) -> None:
        """Let so many wait, whatever was delivered meanwhile; and let no results heap up."""
        taken = self.sink.count
        if waiting + taken - self.filled > max(20, waiting // 50):
            self.fill(waiting + taken - self.filled)
        if taken - self.kept > DROP_AT:
            self.kept = taken
            self.broker.drop_results()

    def steady(self, engine: EngineProcess, waiting: int, first: int, last: int) -> float:
        """µs a message from the ``first`` message to the ``last``, while so many wait."""

        def reached(count: int) -> bool:
            self.keep(waiting)
            return self.sink.count >= count

        began, few = self._when(engine, lambda: reached(first), first)
        ended, many = self._when(engine, lambda: reached(last), last)
        return (ended - began) / (many - few) * 1e6

    def _when(self, engine: EngineProcess, over: Any, count: int) -> tuple[float, int]:
        engine.wait(over, 60 + count / 100, 0.02)
        return engine.cpu(), self.sink.count

    def whole(self, engine: EngineProcess, count: int) -> float:
        """CPU seconds until so many have their results."""
        engine.wait(lambda: self.sink.count >= count, 60 + count / 50, 0.02)
        engine.wait(lambda: self.broker.ready("results") >= count, 60)
        time.sleep(0.1)
        return engine.cpu()
