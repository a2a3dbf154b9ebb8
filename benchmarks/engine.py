"""The whole engine against mail hosts that take everything: µs of processor time a message, messages a second, and
where the time goes.

    python benchmarks/engine.py [--broker embedded rabbitmq] [--count 20000] [--sizes 2000 50000] [--workers 2]
    python benchmarks/engine.py --steps           # where the time goes
    python benchmarks/engine.py --workers 2 --share 0.3   # where neither broker nor host is the limit
    python benchmarks/engine.py --latency         # from a publication to the host's 250, at half the full rate
    python benchmarks/engine.py --start           # from exec to the first delivery
    python benchmarks/engine.py --tls             # what STARTTLS costs on connections that are used again
    python benchmarks/engine.py --memory          # with 10,000 jobs in hand
    python benchmarks/engine.py --publish         # `mailerq publish`

The outbox is filled first; then the engine is started and runs until every job has its result (results and success,
confirmed, and the job acknowledged). What an engine costs that finds an empty outbox is measured too, and taken off.
RabbitMQ is a node of its own on loopback ports; its processor time stands beside the engine's, as does that of the host
(Postfix's ``smtp-sink``, or our own where the time of each message matters). Needs ``smtp-sink`` (package postfix), and
``rabbitmq-server`` for ``rabbitmq``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import attrs

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.lib import cost  # noqa: E402
from benchmarks.lib.cost import Cost, Plan  # noqa: E402
from benchmarks.lib.latency import latency  # noqa: E402
from benchmarks.lib.secured import warm_cost  # noqa: E402
from benchmarks.lib.starting import first_delivery, in_hand  # noqa: E402

HEAD = f"{'broker':<10}{'bytes':>8}{'engine µs':>12}{'broker µs':>12}{'host µs':>10}{'messages/s':>12}{'MB':>8}"


def show_costs(plans: list[Plan], lines: bool) -> None:
    print(HEAD, flush=True)
    for plan in plans:
        show(cost.measure(plan), lines)


def show(found: Cost, lines: bool = False) -> None:
    print(
        f"{found.plan.broker:<10}{found.plan.size:>8}{found.engine:>12.1f}{found.broker:>12.1f}{found.sink:>10.1f}"
        f"{found.rate:>12,.0f}{found.memory:>8.0f}",
        flush=True,
    )
    if not found.samples:
        return
    steps = found.samples["steps"]
    total = sum(steps.values())
    for step, count in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"      {100 * count / total:5.1f} %  {found.engine * count / total:6.1f} µs  {step}")
    if lines:
        for line, count in list(found.samples["lines"].items())[:40]:
            print(f"            {100 * count / total:5.1f} %  {line}")


def show_tls(plans: list[Plan], rounds: int) -> None:
    print("our own mail host, without TLS and with STARTTLS by turns, once all connections are open", flush=True)
    for plan in plans:
        engine: dict[bool, list[float]] = {False: [], True: []}
        host: dict[bool, list[float]] = {False: [], True: []}
        connections = 0
        for _ in range(rounds):
            for tls in (False, True):
                mine, its, connections = warm_cost(attrs.evolve(plan, tls=tls))
                engine[tls].append(mine)
                host[tls].append(its)
        plain, secured = median(engine[False]), median(engine[True])
        print(
            f"{plan.broker:<10}{plan.size:>8}  engine {plain:.1f} µs, with TLS {secured:.1f}: {secured - plain:+.1f} "
            f"(host {median(host[False]):.1f}, {median(host[True]):.1f}); medians of {rounds}; "
            f"{connections} connections in all",
            flush=True,
        )


def show_latency(plans: list[Plan], seconds: float) -> None:
    print(
        "".join(
            f"{word:>10}" for word in ("broker", "bytes", "full/s", "asked/s", "count", "p50 ms", "p99 ms", "max ms")
        )
    )
    for plan in plans:
        found = latency(plan, seconds)
        print(
            f"{plan.broker:>10}{plan.size:>10}{found.full:>10,.0f}{found.asked:>10,.0f}{found.count:>10,}"
            f"{found.median:>10.1f}{found.p99:>10.1f}{found.most:>10.1f}",
            flush=True,
        )


def show_start(plans: list[Plan], times: int) -> None:
    for plan in plans:
        found = first_delivery(plan, times)
        print(
            f"{plan.broker:<10} from exec to the first delivery: {found[len(found) // 2]:.2f} s "
            f"(median of {times}; {found[0]:.2f} to {found[-1]:.2f})",
            flush=True,
        )


def show_memory(plans: list[Plan], count: int) -> None:
    for plan in plans:
        empty, most = in_hand(plan, count)
        print(
            f"{plan.broker:<10}{plan.size:>8}  {count:,} jobs in hand: {most:.0f} MB ({empty:.0f} MB with none)",
            flush=True,
        )


def show_publishing(plans: list[Plan]) -> None:
    for plan in plans:
        print(f"{plan.broker:<10}{plan.size:>8}  mailerq publish: {cost.publishing(plan):.1f} µs a message", flush=True)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", nargs="+", choices=["embedded", "rabbitmq"], default=["embedded", "rabbitmq"])
    parser.add_argument("--count", type=int, default=20000, help="messages a run")
    parser.add_argument("--sizes", type=int, nargs="+", help="bytes a message (2000 and 50000; else 2000)")
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes")
    parser.add_argument("--share", type=float, default=0, help="of a core that each worker may use (all; needs root)")
    parser.add_argument("--rounds", type=int, default=3, help="with --tls: runs of each kind (3)")
    parser.add_argument("--steps", action="store_true", help="sample where the time goes (costs about 2 %%)")
    parser.add_argument("--lines", action="store_true", help="with --steps: the hottest lines too")
    parser.add_argument("--log", action="store_true", help="with the two log lines a message, to a file")
    for name in ("latency", "start", "tls", "memory", "publish"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--seconds", type=float, default=15.0, help="with --latency: how long (15)")
    return parser.parse_args(given)


def main() -> None:
    """Measure what is asked for."""
    asked = arguments_of()
    other = asked.latency or asked.start or asked.tls or asked.memory or asked.publish
    sizes = asked.sizes or ([2000] if other else [2000, 50000])
    plans = [
        Plan(broker, size, asked.count, asked.domains, asked.workers, asked.log, steps=asked.steps, share=asked.share)
        for broker in asked.broker
        for size in sizes
    ]
    log = "on" if asked.log else "off"
    processes = "one process" if asked.workers == 1 else f"{asked.workers} workers"
    print(f"{asked.count} messages, {asked.domains} domains, {processes}; mail log {log}", flush=True)
    if asked.latency:
        show_latency(plans, asked.seconds)
    if asked.start:
        show_start(plans, 5)
    if asked.tls:
        show_tls(plans, asked.rounds)
    if asked.memory:
        show_memory(plans, 10000)
    if asked.publish:
        show_publishing(plans)
    if not other:
        show_costs(plans, asked.lines)


if __name__ == "__main__":
    main()
