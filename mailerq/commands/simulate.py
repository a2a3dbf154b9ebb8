"""Try a configuration in a simulated world: when the queue would be empty, which limits would hold it up, and what each
provider would see. Nothing is sent, and no queue is touched."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mailerq.commands import Failed
from mailerq.commands.status_line import StatusLine
from mailerq.units import parse_time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is sent, where, for how long, and what is compared and drawn."""
    jobs = "jobs, JSON lines as for the outbox (or results, as they came back); with their `time`, if they have one"
    parser.add_argument("--jobs", metavar="FILE", help=jobs)
    parser.add_argument("--over", metavar="TIME", type=_time, help="spread those jobs evenly over that time, as in 24h")
    parser.add_argument("--mix", metavar="FILE", help="the providers, and streams of jobs (default: built in)")
    parser.add_argument("--compare", metavar="FILE", help="another configuration, for the same traffic")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="the same seed is the same day (default: 0)")
    parser.add_argument("--until", metavar="TIME", type=_time, help="end there (default: when all jobs have ended)")
    parser.add_argument("--draw", metavar="FILE.svg", help="draw what each provider saw")
    by = "report and draw by tag, or by local address, rather than by provider"
    parser.add_argument("--by", choices=("tag", "ip"), help=by)


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Simulate, and print the report."""
    from mailerq.settings import load
    from mailerq.simulate.grouped import group_report
    from mailerq.simulate.job_file import JobFile, NoJobs
    from mailerq.simulate.report import report
    from mailerq.simulate.run import load_mix, simulate

    if arguments.over is not None and not arguments.jobs:
        raise Failed("--over spreads the jobs of --jobs, which is not given")
    if arguments.draw:
        _check_drawing(Path(arguments.draw))
    mix = load_mix(arguments.mix)
    policies = [settings] + ([load(arguments.compare)] if arguments.compare else [])
    try:
        jobs = JobFile(arguments.jobs, arguments.over) if arguments.jobs else None
    except NoJobs as error:
        raise Failed(str(error)) from None
    if jobs is None and not any(stream.jobs for stream in mix.streams.values()):
        raise Failed(f"{arguments.mix} has no streams of jobs, and no --jobs are given")
    if jobs is not None and jobs.refused:
        text = f"{jobs.refused} lines of {jobs.path} are no jobs, the first is line {jobs.first_refused}"
        print(f"mailerq: note: {text}", file=sys.stderr)
    done = []
    for name, policy in zip(_names(policies), policies, strict=True):
        progress = Progress(name)
        named: Any = {"jobs": jobs, "until": arguments.until, "by": arguments.by}
        done.append(simulate(name, policy, mix, arguments.seed, progress=progress.show, **named))
        progress.end()
    print(report(done))
    if arguments.by:
        print("\n" + group_report(done, arguments.by))
    if arguments.draw:
        _draw(arguments.draw, done)
    return 0


def _names(policies: list[Any]) -> list[str]:
    """The names of the files, as short as tells them apart."""
    paths = [Path(policy.source) for policy in policies]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _check_drawing(path: Path) -> None:
    """Before the work is done, not after it."""
    if path.suffix.lower() != ".svg":
        raise Failed(f"--draw {path}: the drawing is SVG, so its name should end in .svg")
    if not path.parent.is_dir():
        raise Failed(f"--draw {path}: there is no folder {path.parent}")


def _draw(path: str, done: list[Any]) -> None:
    import attrs

    from mailerq.simulate.drawing import draw

    shown = [attrs.evolve(one, providers=one.groups or one.providers) for one in done]
    Path(path).write_text(draw(shown), encoding="utf-8")


class Progress:
    """On a terminal, what time it is in the simulation, and how many jobs are left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = StatusLine()

    def show(self, simulation: Any) -> None:
        """At most ten times a second."""
        if not self._line.is_due():
            return
        from mailerq.simulate.report import duration

        ended, came = simulation.ledger.ended, simulation.ledger.arrived
        self._line.show(f"{self._name}: {duration(simulation.now)} simulated, {ended} of {came} jobs have ended")

    def end(self) -> None:
        """Wipe it away."""
        self._line.end()
