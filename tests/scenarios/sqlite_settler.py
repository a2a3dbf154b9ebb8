"""A program for ``test_sqlite_crash``: takes from the outbox of the file given, settles each job with one result, and
writes a line to standard output for each that is settled; half of them come back once, due a moment later."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor

from mailerq.interfaces import ITaken, Publication
from mailerq.queues.sqlite import SqliteBroker


class Settler:
    """Even jobs are retried once, then everything is a result."""

    def taken(self, taken: ITaken) -> None:
        """Settle it in the next turn."""
        reactor.callLater(0, self.settle, taken)

    def settle(self, taken: ITaken) -> None:
        """Once as a retry, or as a result."""
        if taken.body.isdigit() and int(taken.body) % 2 == 0:
            publication = Publication("outbox", taken.body + b" again", due=time.time() + 0.05)
        else:
            publication = Publication("results", taken.body.split()[0])
        taken.settle([publication], self.done)

    def done(self, made: bool) -> None:
        """Say it."""
        sys.stdout.write("settled\n" if made else "not settled\n")
        sys.stdout.flush()

    def lost(self, reason: str) -> None:
        """It is not to be."""
        sys.stdout.write(f"lost: {reason}\n")
        sys.stdout.flush()


def main() -> None:
    """Until killed."""
    names = SimpleNamespace(outbox="outbox", results="results", max_priority=None, persistent=True)
    settings: Any = SimpleNamespace(broker=SimpleNamespace(path=sys.argv[1]), queues=names)
    broker = SqliteBroker(reactor, settings)
    broker.consume("outbox", Settler(), 100)
    broker.startService()
    broker.ready().addErrback(lambda failure: print(failure.getErrorMessage(), flush=True))
    reactor.run()


if __name__ == "__main__":
    main()
