"""What STARTTLS costs a message on connections that are used again: a warm engine, with it and without."""

from __future__ import annotations

from benchmarks.lib.cost import Plan, certificate, configure, stage
from benchmarks.lib.engine_process import EngineProcess
from benchmarks.lib.ground import Place
from benchmarks.lib.sinks import OwnSink

LEVEL = 5000  # jobs that wait all the time
WARM = 4000  # messages until all connections are open


def warm_cost(plan: Plan) -> tuple[float, float, int]:
    """µs of processor time a message, of the engine and of the mail host, over ``plan.count`` messages; how many
    connections there were."""
    with stage(plan.broker) as (folder, broker):
        sink = OwnSink(folder, tls=certificate(folder) if plan.tls else None)
        place = Place(folder, broker, sink, size=plan.size, domains=plan.domains)
        place.fill(LEVEL)
        engine = EngineProcess(folder, configure(folder, broker, sink.port, plan))
        try:
            engine.wait(lambda: sink.count >= WARM, 60)
            before, few = sink.cpu(), sink.count
            used = place.steady(engine, LEVEL, WARM, WARM + plan.count)
            host = (sink.cpu() - before) / (sink.count - few) * 1e6
            return used, host, sink.stamps()["connections"]
        finally:
            engine.stop()
            sink.close()
