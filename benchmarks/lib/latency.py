"""How long it takes from a publication to the host's 250, while half of what can be done is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.lib.brokers import Broker
from benchmarks.lib.cost import Plan, configure, stage
from benchmarks.lib.engine_process import EngineProcess
from benchmarks.lib.jobs import jobs, message
from benchmarks.lib.sinks import OwnSink

TICK = 0.01  # seconds between two publications of some jobs
SETTLE = 2.0  # seconds of the same load before it counts


@attrs.frozen
class Latency:
    """Milliseconds. ``full`` and ``asked`` are messages a second."""

    plan: Plan
    full: float
    asked: float
    count: int
    median: float
    p99: float
    most: float


def latency(plan: Plan, seconds: float) -> Latency:
    """The full rate over ``plan.count`` messages first, then half of it for so many seconds."""
    with stage(plan.broker) as (folder, broker):
        full = full_rate(plan, folder, broker)
        broker.drop_results()
        sink = OwnSink(folder)
        engine = EngineProcess(folder, configure(folder, broker, sink.port, plan))
        try:
            broker.fill(jobs(100, plan.size, plan.domains))
            engine.wait(lambda: sink.count >= 100, 60)
            sent = publish_evenly(broker, plan, full / 2, seconds + SETTLE)
            engine.wait(lambda: sink.count >= 100 + sent, 60)
            late = sink.stamps()["late"][int(full / 2 * SETTLE) :]
        finally:
            engine.stop()
            sink.close()
    late.sort()
    median, p99 = (late[int(len(late) * part)] * 1e3 for part in (0.5, 0.99))
    return Latency(plan, full, full / 2, len(late), median, p99, late[-1] * 1e3)


def full_rate(plan: Plan, folder: Path, broker: Broker) -> float:
    """Messages a second that our own sink answers, from a filled outbox; the first tenth does not count."""
    sink = OwnSink(folder)
    broker.fill(jobs(plan.count, plan.size, plan.domains))
    engine = EngineProcess(folder, configure(folder, broker, sink.port, plan))
    try:
        engine.wait(lambda: sink.count >= plan.count / 10, 60 + plan.count / 100, 0.005)
        began, few = time.monotonic(), sink.count
        engine.wait(lambda: sink.count >= plan.count, 60 + plan.count / 100, 0.005)
        rate = (plan.count - few) / (time.monotonic() - began)
        engine.wait(lambda: broker.ready("results") >= plan.count, 60)
        return rate
    finally:
        engine.stop()
        sink.close()


def publish_evenly(broker: Broker, plan: Plan, rate: float, seconds: float) -> int:
    """Some jobs each tick, stamped with the time; how many in all."""
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        wanted = int((now - began) * rate)
        broker.fill(_stamped(plan, sent, wanted))
        sent = wanted
        time.sleep(max(0.0, now + TICK - time.monotonic()))
    return sent


def _stamped(plan: Plan, first: int, end: int) -> Iterator[bytes]:
    """As ``jobs``, with the time in a header."""
    mime = json.dumps(message(plan.size - 40))[1:-1]
    for number in range(first, end):
        address = f"u{number}@d{number % plan.domains}.example"
        yield (
            f'{{"envelope": "sender@bench.example", "recipient": "{address}", '
            f'"mime": "X-Published: {time.monotonic():.6f}\\r\\n{mime}", "number": {number}}}'
        ).encode()
