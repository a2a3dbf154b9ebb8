"""``twistd`` with a sampler: every millisecond of CPU time the stack of the main thread is looked at, and counted for
the step of a mail's way that it stands in. The table is written as JSON to ``$SAMPLES`` at the end.

Cheap (about 2 % of the CPU) and honest: it does not slow down small functions more than large ones, as a tracing
profiler does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from types import FrameType
from typing import Any

STEPS = {
    "mailerq/queues/": "taken and settled (queues/)",
    "txamqp/": "taken and settled (queues/)",
    "mailerq/job.py": "read (job.py)",
    "mailerq/mail.py": "read (job.py)",
    "mailerq/resolver.py": "routed (resolver.py, route.py)",
    "mailerq/route.py": "routed (resolver.py, route.py)",
    "mailerq/site.py": "waits (scheduler.py, site.py)",
    "mailerq/budget.py": "waits (scheduler.py, site.py)",
    "mailerq/agenda.py": "waits (scheduler.py, site.py)",
    "mailerq/hosts.py": "waits (scheduler.py, site.py)",
    "mailerq/scheduler.py": "waits (scheduler.py, site.py)",
    "mailerq/smtp/": "talk (smtp/)",
    "mailerq/reply.py": "talk (smtp/)",
    "mailerq/journal.py": "remembered (journal.py)",
    "mailerq/result.py": "written down (result.py, attempt.py)",
    "mailerq/attempt.py": "written down (result.py, attempt.py)",
    "mailerq/verdict.py": "decided (verdict.py, retry.py)",
    "mailerq/retry.py": "decided (verdict.py, retry.py)",
    "mailerq/events.py": "logged (events.py, log.py)",
    "mailerq/log.py": "logged (events.py, log.py)",
    "mailerq/delivery.py": "the way itself (delivery.py)",
    "mailerq/settling.py": "the way itself (delivery.py)",
    "mailerq/making.py": "made (content/)",
    "mailerq/content/": "made (content/)",
    "mailerq/stores/": "made (content/)",
}

samples: Counter[str] = Counter()
lines: Counter[str] = Counter()


def step_of(frame: FrameType | None) -> str:
    """The innermost step that the stack stands in."""
    while frame is not None:
        name = frame.f_code.co_filename
        for part, step in STEPS.items():
            if part in name:
                lines[f"{name.rpartition('mailerq/')[2]}:{frame.f_code.co_name}:{frame.f_lineno}"] += 1
                return step
        frame = frame.f_back
    return "reactor and sockets (Twisted)"


def sample(number: int, frame: FrameType | None) -> None:
    samples[step_of(frame)] += 1


def write() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    with open(os.environ["SAMPLES"], "w") as file:
        json.dump({"steps": samples, "lines": dict(lines.most_common(60))}, file)


def main() -> Any:
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    signal.signal(signal.SIGPROF, sample)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    reactor.addSystemEventTrigger("after", "shutdown", write)  # twistd ends by the signal: atexit would not run
    sys.argv[0] = "twistd"
    return run()


if __name__ == "__main__":
    main()
