"""CPU of the AMQP client per message: take one 2 KB job, publish one confirmed 600-byte result, acknowledge.

    python benchmarks/amqp_client.py [amqp://…] [-n COUNT] [-r ROUNDS]

Without an address a RabbitMQ of its own is started. Prints microseconds of this process's CPU per message, the median
of the rounds. Queues named ``bench.*`` are made and deleted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mailerq.interfaces import ITaken, Publication
from mailerq.queues.amqp import AmqpBroker
from mailerq.queues.amqp_link import MAIN
from tests.rabbit import Rabbit

JOB = b'{"recipient":"someone@example.org","mime":"' + b"x" * 1960 + b'"}'
RESULT = b'{"recipient":"someone@example.org","results":["' + b"y" * 550 + b'"]}'


class Settler:
    """Settles each job at once with one result, and counts."""

    def __init__(self, expected: int) -> None:
        self.left = expected
        self.done: Deferred[None] = Deferred()
        self.number = 0

    def taken(self, taken: ITaken) -> None:
        """One job."""
        self.number += 1
        taken.settle([Publication("bench.results", RESULT, message_id=f"{self.number:032x}")], self.settled)

    def settled(self, sure: bool) -> None:
        """One less."""
        self.left -= sure
        if not self.left:
            self.done.callback(None)

    def lost(self, reason: str) -> None:
        """Not in a benchmark."""
        raise SystemExit(reason)


def settings(url: str) -> Any:
    """What the broker needs."""
    names = dict.fromkeys(("inbox", "success", "failure", "retry", "invalid", "dsn"))
    queues = SimpleNamespace(
        outbox="bench.outbox", results="bench.results", type="classic", declare=True, durable=True, persistent=True,
        max_priority=None, max_unconfirmed=500, **names,
    )  # fmt: skip
    return SimpleNamespace(broker=SimpleNamespace(addresses=(url,), ca=None, heartbeat=30), queues=queues)


async def one_round(url: str, count: int) -> tuple[float, float]:
    """CPU and wall seconds for ``count`` messages."""
    broker = AmqpBroker(reactor, settings(url), Random())
    broker.startService()
    await broker.ready()
    filled: Deferred[bool] = Deferred()
    broker.publish([Publication("bench.outbox", JOB)] * count, filled.callback)
    assert await filled
    settler = Settler(count)
    cpu, wall = time.process_time(), time.perf_counter()
    broker.consume("bench.outbox", settler, 1000)
    await settler.done
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    main = broker._session.link.channels[MAIN]
    for queue in ("bench.outbox", "bench.results"):
        await main.queue_delete(queue=queue)
    await broker.stopService()
    return cpu, wall


async def rounds(url: str, count: int, times: int) -> None:
    """Print each and the median."""
    figures = []
    for _ in range(times):
        cpu, wall = await one_round(url, count)
        figures.append(cpu / count * 1e6)
        print(f"{figures[-1]:.1f} µs CPU a message; {count / wall:.0f} messages a second")
    print(f"median {statistics.median(figures):.1f} µs")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("-r", type=int, default=5)
    asked = parser.parse_args()
    rabbit = None
    if asked.url is None:
        rabbit = Rabbit()
        rabbit.start()
        rabbit.wait_ready()
        asked.url = rabbit.url()
    try:
        react(lambda _: Deferred.fromCoroutine(rounds(asked.url, asked.n, asked.r)), [])
    finally:
        if rabbit is not None:
            rabbit.remove()


if __name__ == "__main__":
    main()
