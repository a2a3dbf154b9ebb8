"""How the process of a worker is started."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mailerq
from mailerq.worker import Worker
from mailerq.workers.life import TO_PARENT, TO_WORKER, Life
from mailerq.workers.parent import Spawn

LOCK = 5  # the file handle of the worker that keeps the parent's lock


def spawner(reactor: Any, *, own_output: bool) -> Spawn:
    """``own_output``: workers write their log to where this process has its standard output; else this process writes
    it for them, to wherever its own goes."""
    folder = os.getcwd()
    module = type(reactor).__module__

    def spawn(life: Life, worker: Worker, lock: int) -> None:
        arguments = ["--worker", str(worker), "--reactor", module, *([] if own_output else ["--bare"])]
        nothing = os.open(os.devnull, os.O_RDONLY)
        handles: dict[int, int | str] = {0: nothing, TO_WORKER: "w", TO_PARENT: "r", LOCK: lock}
        handles |= {1: 1, 2: 2} if own_output else {1: "r", 2: "r"}
        try:
            reactor.spawnProcess(
                life,
                sys.executable,
                [sys.executable, "-m", "mailerq.workers.main", *arguments],
                env=_environment(folder),
                childFDs=handles,
            )
        finally:
            os.close(nothing)

    return spawn


def _environment(folder: str) -> dict[str, str]:
    """Ours. Where we have moved since the start (``twistd --rundir``), this package would not be found any more by a
    path that was relative to there."""
    environment = dict(os.environ)
    if os.getcwd() != folder:
        home = str(Path(mailerq.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, environment.get("PYTHONPATH")]))
    return environment
