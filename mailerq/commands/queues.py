"""How much lies in each queue: what is ready, what waits for its time, what is in hand, and the age of the oldest that
is ready."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mailerq.commands.access import Access, with_access
from mailerq.queues import configured

TITLES = ("name", "ready", "waiting", "in hand", "oldest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line; oldest in seconds")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Print a table of all configured queues."""
    names = configured(settings.queues)

    async def ask(access: Access) -> list[Any]:
        return await access.states(names)

    states = with_access(settings, ask)
    if arguments.json:
        for state in states:
            fields = ("name", "ready", "waiting", "in_hand", "oldest")
            print(json.dumps({field: getattr(state, field) for field in fields}))
        return 0
    rows = [TITLES, *(_cells(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    for row in rows:
        first, *rest = (cell.ljust(width) if not n else cell.rjust(width) for n, (cell, width) in _columns(row, widths))
        print("  ".join([first, *rest]))
    return 0


def _columns(row: tuple[str, ...], widths: list[int]) -> Any:
    return enumerate(zip(row, widths, strict=True))


def _cells(state: Any) -> tuple[str, ...]:
    counts = ("-" if count is None else str(count) for count in (state.ready, state.waiting, state.in_hand))
    return (state.name, *counts, "-" if state.oldest is None else age(state.oldest))


def age(seconds: float) -> str:
    """A duration, short: ``12s``, ``5m``, ``3h``, ``2d``."""
    for size, sign in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{sign}"
    return f"{int(seconds)}s"
