"""All sites that have mail, or had it lately: how many wait, connections, speed, and what they wait for. On a terminal
the table is live until ^C; elsewhere it is printed once."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec

from mailerq.admin.questions import Sites
from mailerq.commands import Failed
from mailerq.commands.engine_access import ask
from mailerq.explain_text import clean, many, table
from mailerq.explained import Row, Total

PERIOD = 1.0  # seconds between two looks
MOST = 100_000  # sites that are printed where no terminal bounds them
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--watch, --once, --sort, -n, --json."""
    live = parser.add_mutually_exclusive_group()
    live.add_argument("--watch", action="store_true", help="once a second until ^C, also where that is no terminal")
    live.add_argument("--once", action="store_true", help="once, also on a terminal")
    parser.add_argument("--sort", choices=("waiting", "speed", "name"), default="waiting", help="default: waiting")
    parser.add_argument("-n", metavar="N", type=int, default=None, help="so many at most")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, once; times in seconds since 1970")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Print the table, once or until ^C."""
    on_terminal = sys.stdout.isatty()
    watch = arguments.watch or (on_terminal and not arguments.once)
    if arguments.n is not None and arguments.n < 1:
        raise Failed("-n is a number above 0")
    if arguments.json:
        for line in ask(settings, _question(arguments, MOST)):
            print(json.dumps(line))
    elif not watch:
        print("\n".join(_table(arguments, settings, MOST)))
    else:
        with suppress(KeyboardInterrupt):  # that is how it ends
            _watch(arguments, settings, on_terminal)
    return 0


def _watch(arguments: argparse.Namespace, settings: Any, on_terminal: bool) -> None:
    first = True
    while True:
        width, height = shutil.get_terminal_size()
        try:
            lines = _table(arguments, settings, max(1, height - 4) if on_terminal else MOST)
        except Failed as error:  # it may be restarted; what never was there is an error
            if first:
                raise
            lines = [str(error)]
        if on_terminal:
            shown = f"{CLEAR_LINE}\n".join(line[:width] for line in lines)
            sys.stdout.write(f"{HOME}{CLEAR_BELOW if first else ''}{shown}{CLEAR_LINE}\n{CLEAR_BELOW}")
        else:
            sys.stdout.write("\n".join([*lines, "", ""]))
        sys.stdout.flush()
        first = False
        time.sleep(PERIOD)


def _question(arguments: argparse.Namespace, most: int) -> Sites:
    return Sites(arguments.sort, min(most, arguments.n or most))


def _table(arguments: argparse.Namespace, settings: Any, most: int) -> list[str]:
    """What the engine has all together, and a line for each site."""
    first, *lines = ask(settings, _question(arguments, most))
    total, rows = msgspec.convert(first, Total), msgspec.convert(lines, list[Row])
    left = total.sites - len(rows)
    head = (
        f"{many(total.sites, 'site')}, {many(total.waiting, 'mail')} in memory, "
        f"{total.connections} of {total.max_connections} connections, {many(total.in_hand, 'job')} in hand"
    )
    lost = [] if total.broker else ["the broker cannot be reached"]
    lost += [clean(f"{one}: what it has is missing here") for one in total.unheard]
    more = [f"and {left} more"] if left > 0 else []
    return [head, *lost, *([""] if rows else []), *(table(rows, total.time) if rows else ()), *more]
