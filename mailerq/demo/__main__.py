"""``python -m mailerq.demo [CHECKOUT VENV]``: ends with status 0 only if all is as it has to be.

The arguments are where ``scripts/demo`` was started, for the commands that it shows at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailerq.demo.run import NEXT, Demo


def main() -> int:
    """Run it in a folder that is removed afterwards."""
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    with tempfile.TemporaryDirectory(prefix="mailerq-demo-") as folder:
        demo = Demo(reactor, Path(folder), sys.stdout, next_steps(sys.argv[1:]))
        reactor.callWhenRunning(demo.start)
        reactor.addSystemEventTrigger("before", "shutdown", demo.clean_up)
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))
        reactor.run()
    if demo.status == 130:
        print("\nStopped, and cleaned up.")
    return demo.status


def next_steps(arguments: Sequence[str]) -> str:
    """What to type to run it for real; the virtual environment as it is seen from the checkout."""
    folder, venv = arguments if len(arguments) == 2 else (os.getcwd(), sys.prefix)
    if Path(venv).is_relative_to(folder):
        venv = str(Path(venv).relative_to(folder))
    return NEXT.format(folder=folder, venv=venv)


if __name__ == "__main__":
    sys.exit(main())
