"""What ``twistd mailerq`` starts: the engine, or, with several ``workers``, the parent of as many engines.

The parent delivers nothing, so the parts of an engine are imported only where one is to run here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import MultiService
from twisted.python import usage

from mailerq import __version__
from mailerq.cli import find_config
from mailerq.settings import AUTO, Settings, SettingsError, content_of, load


class Options(usage.Options):
    """``twistd mailerq [-c FILE]``."""

    synopsis = "[-c FILE]"
    longdesc = "Takes jobs from a queue, delivers them by SMTP, publishes what came of each. SIGHUP reloads."

    optParameters = [  # noqa: RUF012 (usage.Options reads it so)
        ["config", "c", None, "configuration file [$MAILERQ_CONFIG, etc/mailerq.yaml, /etc/mailerq/mailerq.yaml]"],
    ]

    def opt_version(self) -> None:
        """Print the version, and end."""
        print(f"mailerq {__version__}")
        sys.exit(0)


def makeService(options: Options) -> MultiService:
    """The service, from the configuration; a wrong one ends with all its errors."""
    from twisted.internet import reactor

    path = find_config(options["config"])
    settings = load_or_end(path)
    count = processes(settings)
    return engine(reactor, settings, path) if count == 1 else parent(reactor, settings, path, count, options)


def load_or_end(path: str | None) -> Settings:
    """The settings of a file; a wrong one ends the process with all its errors."""
    try:
        return load(path)
    except SettingsError as error:
        raise SystemExit("mailerq: the configuration cannot be used:\n" + "\n".join(error.errors)) from None


def engine(reactor: Any, settings: Settings, path: str | None) -> MultiService:
    """The engine that is alone."""
    from mailerq import garbage
    from mailerq.tap import Engine

    garbage.one_heap()
    reactor.callWhenRunning(garbage.settle)
    return Engine(reactor, settings, path)


def parent(reactor: Any, settings: Settings, path: str | None, count: int, options: Options) -> MultiService:
    """The parent of ``count`` engines."""
    from mailerq.workers.parent import Parent
    from mailerq.workers.spawn import spawner

    spawn = spawner(reactor, own_output=_logs_to_output(options.parent))
    there = path and os.path.abspath(path)  # twistd may go elsewhere
    return Parent(reactor, settings, lambda: content_of(there) if there else "", count, spawn)


def _logs_to_output(twistd: Any) -> bool:
    """Whether twistd, called with these options, logs to standard output, and nowhere else."""
    if twistd is None:
        return True
    elsewhere = (twistd.get(name) for name in ("syslog", "logger"))
    return bool(twistd.get("nodaemon")) and twistd.get("logfile") in (None, "-") and not any(elsewhere)


def processes(settings: Settings) -> int:
    """How many workers there are to be; ``auto``: as many as processors that this process may use."""
    return len(os.sched_getaffinity(0)) if settings.workers == AUTO else settings.workers
