"""How long an engine takes to its first delivery, and how much memory jobs in hand need."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from benchmarks.lib.cost import Plan, configure, stage
from benchmarks.lib.engine_process import EngineProcess
from benchmarks.lib.jobs import jobs
from benchmarks.lib.sinks import OwnSink


def first_delivery(plan: Plan, times: int) -> list[float]:
    """Seconds from exec to the answer to the first message, with one job waiting; sorted."""
    found = []
    with stage(plan.broker) as (folder, broker):
        for _ in range(times):
            sink = OwnSink(folder)
            broker.fill(jobs(1, plan.size, 1))
            engine = EngineProcess(folder, configure(folder, broker, sink.port, plan))
            try:
                engine.wait(partial(_has_one, sink), 60, 0.005)
                found.append(sink.stamps()["first"] - engine.began)
                time.sleep(0.3)  # for the result
            finally:
                engine.stop()
                sink.close()
    return sorted(found)


def _has_one(sink: OwnSink) -> bool:
    return sink.count >= 1


def in_hand(plan: Plan, count: int) -> tuple[float, float]:
    """Megabytes of an engine with nothing to do, and the most that it had with ``count`` jobs in hand, which wait for
    hosts that say nothing."""
    with stage(plan.broker) as (folder, broker):
        sink = OwnSink(folder, silent=True)
        more: dict[str, Any] = {"queues": {"window": count}, "limits": [{"domain": "*", "max-queue": count}]}
        engine = EngineProcess(folder, configure(folder, broker, sink.port, plan, **more))
        try:
            until = time.monotonic() + 2
            engine.wait(lambda: time.monotonic() > until, 10)
            empty = engine.memory("VmRSS")
            broker.fill(jobs(count, plan.size, plan.domains))
            engine.wait(lambda: broker.ready("outbox") == 0, 60)
            time.sleep(3)
            return empty, engine.memory()
        finally:
            engine.stop()
            sink.close()
