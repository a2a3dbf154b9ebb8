"""The process of one worker: ``python -m mailerq.workers.main``, started by the parent and by nobody else.

It is given the file handles 3 (what the parent says) and 4 (what it says to the parent). Handle 5, if there is one, is
a lock that lasts until the last worker has ended.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

FROM_PARENT, TO_PARENT = 3, 4


def arguments() -> argparse.Namespace:
    """Those of the command line."""
    parser = argparse.ArgumentParser(prog="mailerq.workers.main", description="A worker. Its parent starts it.")
    parser.add_argument("--worker", required=True, help="which one of how many: 0/2")
    parser.add_argument("--reactor", required=True, help="the module of the reactor")
    parser.add_argument("--bare", action="store_true", help="log lines without their time: the parent writes them")
    return parser.parse_args()


def main() -> None:
    """Run until SIGTERM, or until the parent is gone; then finish what is on the wire, and end."""
    for number in (signal.SIGINT, signal.SIGHUP):  # at a terminal these go to all: the parent says what is to be done
        signal.signal(number, signal.SIG_IGN)
    given = arguments()
    import_module(given.reactor).install()
    from twisted.internet import reactor, stdio

    from mailerq import garbage
    from mailerq.tap import Engine
    from mailerq.worker import written
    from mailerq.workers.link import Link, Orphaned, await_start
    from mailerq.workers.worker_log import begin_logging

    garbage.one_heap()
    worker = written(given.worker)
    begin_logging(worker.index, bare=given.bare)
    clock: Any = reactor
    try:
        link = Link(clock, await_start(FROM_PARENT, clock.seconds()))
    except Orphaned as error:
        sys.exit(f"mailerq, worker {worker.index}: {error}")
    stand: Any = stdio.StandardIO  # its types are those of Windows
    stand(link, FROM_PARENT, TO_PARENT, reactor=clock)
    engine = Engine(clock, *_settings(link.begin), worker, link)
    stop = _stopper(clock)
    link.orphaned = stop
    clock.callWhenRunning(_on_signals, stop, clock)
    clock.callWhenRunning(engine.startService)
    clock.callWhenRunning(garbage.settle)
    clock.addSystemEventTrigger("before", "shutdown", engine.stopService)
    clock.run()


def _settings(begin: Any) -> tuple[Any, str]:
    from mailerq.settings import parse, running

    first = parse(begin.first, begin.source, os.environ)
    return running(parse(begin.config, begin.source, os.environ), first)[0], begin.source


def _stopper(reactor: Any) -> Any:
    """Stops the reactor, once."""
    from twisted.internet.error import ReactorNotRunning

    stopping: list[bool] = []

    def stop() -> None:
        if not stopping:
            stopping.append(True)
            reactor.callWhenRunning(end)

    def end() -> None:
        with suppress(ReactorNotRunning):  # the engine has refused to run
            reactor.stop()

    return stop


def _on_signals(stop: Any, reactor: Any) -> None:
    """After the reactor has put its own in place."""
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
