"""One policy after the other, tried on the same traffic in the same world."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from mailerq.settings import Settings, content_of
from mailerq.simulate.grouped import Grouped
from mailerq.simulate.job_file import JobFile
from mailerq.simulate.mix import Mix, parse_mix
from mailerq.simulate.simulation import START, Simulation
from mailerq.simulate.summary import Summary, summed

DEFAULT = Path(__file__).with_name("default_mix.yaml")
EACH = 60.0  # seconds of simulated time between two looks at how far it is
Progress = Callable[[Simulation], None]


def load_mix(path: str | None) -> Mix:
    """The mix of a file; None: the one that is built in. Raises ``SettingsError`` with all that is wrong."""
    name = path or str(DEFAULT)
    return parse_mix(content_of(name), name, os.environ)


def simulate(
    name: str,
    settings: Settings,
    mix: Mix,
    seed: int,
    *,
    jobs: JobFile | None = None,
    until: float | None = None,
    by: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Run it until it is drained, or ``until`` so many seconds after its start. ``by``: one of ``grouped.GROUPS``, if
    the summary is wanted by that, too."""
    begun = time.process_time()
    traffic = None if jobs is None else jobs.at
    start = START if jobs is None or jobs.start is None else jobs.start
    simulation = Simulation(settings, mix, seed, traffic=traffic, start=start, observe=by is not None)
    groups = None if by is None else Grouped(simulation, by)
    end = float("inf") if until is None else until
    if progress is not None:

        def look() -> None:
            progress(simulation)
            simulation.at(simulation.now + EACH, look)

        look()
    simulation.run_drained(end)
    simulation.check()
    summary = summed(name, simulation.recorder, simulation.now, time.process_time() - begun)
    return summary if groups is None else attrs.evolve(summary, groups=groups.of())
