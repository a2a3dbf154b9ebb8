"""What the whole engine costs a message: it finds a filled outbox, and works until each job has its result."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.lib.brokers import BROKERS, Broker
from benchmarks.lib.engine_process import ROOT, EngineProcess, write_config
from benchmarks.lib.jobs import jobs
from benchmarks.lib.sinks import OwnSink, SmtpSink

STARTED = 3.0  # seconds after which an engine that finds nothing to do has started


@attrs.frozen
class Plan:
    """What is run. ``tls``: against a host that offers STARTTLS, and is used so. ``share``: what each worker
    may use of a core; 0: all that there is."""

    broker: str
    size: int = 2000
    count: int = 20000
    domains: int = 20
    workers: int = 1
    log: bool = False
    own_sink: bool = False
    tls: bool = False
    steps: bool = False
    share: float = 0


@attrs.frozen
class Cost:
    """µs of processor time a message; ``rate`` is messages a second, ``memory`` the most megabytes there were."""

    plan: Plan
    engine: float
    broker: float
    sink: float
    rate: float
    memory: float
    samples: dict[str, Any] | None


@contextmanager
def stage(broker: str) -> Iterator[tuple[Path, Broker]]:
    """A folder and a running broker, with queues that are new."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        running = BROKERS[broker](folder)
        try:
            yield folder, running
        finally:
            running.close()


def certificate(folder: Path) -> Path:
    """A certificate and its key, for a host of any name."""
    from tests.certificates import make

    made = make("sink.example")
    path = folder / "certificate.pem"
    path.write_bytes(made.pem() + made.key_pem())
    return path


def configure(folder: Path, broker: Broker, port: int, plan: Plan, **more: Any) -> Path:
    """The configuration of a plan."""
    security = "opportunistic" if plan.tls else "none"
    smtp = {"hostname": "bench.example", "port": port, "tls": security}
    log = {"mails": plan.log, "file": str(folder / "mail.log")}
    sections: dict[str, Any] = {"smtp": smtp, "log": log, "workers": plan.workers}
    return write_config(folder, broker.config, port, plan.domains, **(sections | more))


def measure(plan: Plan) -> Cost:
    """One row of the table."""
    with stage(plan.broker) as (folder, broker):
        own = plan.own_sink or plan.tls
        sink = OwnSink(folder, tls=certificate(folder) if plan.tls else None) if own else SmtpSink()
        try:
            config = configure(folder, broker, sink.port, plan)
            idle = starting_cost(folder, config, plan)
            broker.fill(jobs(plan.count, plan.size, plan.domains))
            return _run(plan, _start(folder, config, plan), broker, sink, idle)
        finally:
            sink.close()


def _start(folder: Path, config: Path, plan: Plan) -> EngineProcess:
    return EngineProcess(folder, config, sampled=plan.steps, cores=plan.share * plan.workers)


def starting_cost(folder: Path, config: Path, plan: Plan) -> float:
    """CPU seconds of an engine that finds nothing to do."""
    engine = _start(folder, config, plan)
    try:
        until = time.monotonic() + STARTED
        engine.wait(lambda: time.monotonic() > until, STARTED + 10)
        return engine.cpu()
    finally:
        engine.stop()


def _run(plan: Plan, engine: EngineProcess, broker: Broker, sink: Any, idle: float) -> Cost:
    """``engine`` has just been started."""
    broker_before, sink_before = broker.cpu(), sink.cpu()
    seen: list[tuple[float, int]] = []

    def over() -> bool:
        found = broker.ready("results")
        if found:
            seen.append((time.monotonic(), found))
        return found >= plan.count

    try:
        engine.wait(over, 60 + plan.count / 100, 0.1)
        used, memory = engine.cpu() - idle, engine.memory()
        broker_used, sink_used = broker.cpu() - broker_before, sink.cpu() - sink_before
    finally:
        engine.stop()
    samples = json.loads(engine.samples.read_text()) if plan.steps else None
    each = 1e6 / plan.count
    return Cost(plan, used * each, broker_used * each, sink_used * each, _rate(seen), memory, samples)


def _rate(seen: list[tuple[float, int]]) -> float:
    """Messages a second, from the first look that found some."""
    (began, few), (ended, all_) = seen[0], seen[-1]
    return (all_ - few) / (ended - began) if ended > began else float("nan")


def publishing(plan: Plan) -> float:
    """µs a message of ``mailerq publish``, which reads lines and publishes them; what it costs to start is taken
    off."""
    with stage(plan.broker) as (folder, broker):
        config = configure(folder, broker, 25, plan)
        lines = folder / "jobs"
        costs = []
        for count in (1, plan.count):
            lines.write_bytes(b"".join(body + b"\n" for body in jobs(count, plan.size, plan.domains)))
            before = _children()
            with lines.open("rb") as file:
                command = [sys.executable, "-m", "mailerq", "publish", "-c", str(config)]
                subprocess.run(command, stdin=file, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
            costs.append(_children() - before)
    return (costs[1] - costs[0]) / (plan.count - 1) * 1e6


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
