"""What a simulation costs: µs a job and memory, few jobs against many.

    python benchmarks/simulation.py [--jobs 10000 1000000] [--domains 100000] [--profile]

A day of jobs to made up domains, each on a site of its own, 5 % of which greylist, and to one large provider; two of
the providers are away for an hour. Each run is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MIX = """
providers:
  large: {{domains: [large.example], max-connections: 50, latency: {{connect: 30ms, talk: 80ms}},
           outages: [{{after: 6h, lasts: 1h}}]}}
  small: {{count: {small}, greylist: 5m, greylisted: 5%, unknown: 1%, latency: {{connect: 50ms, talk: 150ms}}}}
  shaky: {{count: {shaky}, greylist: 5m, greylisted: 5%, deferred: 1%,
          outages: [{{after: 12h, lasts: 1h, kind: "421"}}]}}
weights: {{large: 20, small: 60, shaky: 20}}
streams:
  news: {{jobs: {jobs}, over: 24h, tags: [a, b, c]}}
"""
SETTINGS = "limits: [{domain: large.example, messages-per-minute: 300, max-connections: 20}]"


def measure(jobs: int, domains: int, profile: bool) -> None:
    """One simulation, in this process."""
    from mailerq.settings import parse
    from mailerq.simulate.mix import parse_mix
    from mailerq.simulate.simulation import Simulation

    shaky = max(1, domains // 5)
    mix = parse_mix(MIX.format(jobs=jobs, small=domains - shaky, shaky=shaky), "mix", {})
    settings = parse(SETTINGS, "settings", {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    simulation = Simulation(settings, mix, 1, observe=False)
    begun = time.process_time()
    if profile:
        import cProfile

        cProfile.runctx("simulation.run()", {}, {"simulation": simulation}, sort="tottime")
    else:
        simulation.run()
    spent = time.process_time() - begun
    simulation.check()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    recorder = simulation.recorder
    print(
        f"{jobs:9} jobs {domains:7} domains: {spent:7.1f} s, {spent / jobs * 1e6:6.1f} µs a job, "
        f"{before:4.0f} MB before, {peak:5.0f} MB at most, {recorder.wake_ups / recorder.messages:.2f} wake-ups and "
        f"{recorder.messages / jobs:.2f} messages a job, drained after {simulation.now / 3600:.2f} h",
        flush=True,
    )


def main() -> None:
    """A process for each number of jobs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--domains", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        measure(arguments.one, arguments.domains, arguments.profile)
        return
    for jobs in arguments.jobs:
        options = ["--one", str(jobs), "--domains", str(arguments.domains)] + ["--profile"] * arguments.profile
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
