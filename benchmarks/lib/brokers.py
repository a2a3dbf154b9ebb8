"""The two brokers that are measured: filled, asked, emptied by the benchmark in the cheapest way."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Protocol

from benchmarks.lib.amqp_probe import AmqpProbe
from benchmarks.lib.processes import cpu
from mailerq.queues.sqlite_file import QueueFile, row

BATCH = 500
QUEUES = ("outbox", "results", "success", "failure", "retry", "invalid")


class Broker(Protocol):
    """``config`` is what stands at ``broker:`` in the configuration."""

    name: str
    config: str

    def fill(self, bodies: Iterable[bytes]) -> None:
        """Put jobs on the outbox."""

    def ready(self, queue: str) -> int:
        """How many messages are ready."""

    def drop_results(self) -> None:
        """Remove what is in the result queues."""

    def cpu(self) -> float:
        """Seconds of processor time that a broker's own process has used."""

    def close(self) -> None:
        """End it."""


class Embedded:
    """The embedded queue, in a file in ``folder``."""

    name = "embedded"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue.db"
        self.config = f"sqlite:{self.path}"
        self._file = QueueFile(str(self.path))

    def fill(self, bodies: Iterable[bytes]) -> None:
        """In transactions of some hundred."""
        each = iter(bodies)
        while batch := [row("outbox", body, time.time()) for body in islice(each, BATCH)]:
            with self._file.transaction():
                self._file.insert(batch)

    def ready(self, queue: str) -> int:
        found = self._file.state(queue, time.time())
        return found.ready if found is not None else 0

    def drop_results(self) -> None:
        connection = self._file._connection
        query = "SELECT id FROM messages WHERE queue = ? AND owner IS NULL AND due IS NULL LIMIT 500"
        for queue in QUEUES[1:]:
            while ids := [number for (number,) in connection.execute(query, (queue,))]:
                with self._file.transaction():
                    connection.execute(f"DELETE FROM messages WHERE id IN ({','.join(map(str, ids))})")

    def cpu(self) -> float:
        """It has no process."""
        return 0.0

    def close(self) -> None:
        self._file.close()


class Rabbitmq:
    """A RabbitMQ node of our own."""

    name = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        from tests.rabbit import Rabbit

        self.node = Rabbit()
        try:
            self.node.start()
            self.node.wait_ready()
            self.config = self.node.url()
            self.pid = int(self.node.ctl("eval", "os:getpid().").strip().strip('"'))
            self.probe = AmqpProbe(self.node.port)
            self.clear()
        except BaseException:
            self.node.remove()
            raise

    def clear(self) -> None:
        """All queues new and empty."""
        for queue in QUEUES:
            self.probe.delete(queue)
            self.probe.declare(queue)

    def fill(self, bodies: Iterable[bytes]) -> None:
        """Persistent; all are there when it returns."""
        self.probe.publish("outbox", bodies)
        self.probe.ready("outbox")  # on the same channel: answered when all before is done

    def ready(self, queue: str) -> int:
        return self.probe.ready(queue)

    def drop_results(self) -> None:
        for queue in QUEUES[1:]:
            self.probe.purge(queue)

    def cpu(self) -> float:
        return cpu(self.pid)

    def close(self) -> None:
        self.probe.close()
        self.node.remove()


BROKERS: dict[str, type[Embedded | Rabbitmq]] = {"embedded": Embedded, "rabbitmq": Rabbitmq}
