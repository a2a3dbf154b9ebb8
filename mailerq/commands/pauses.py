"""The pauses that hold: what is paused, until when, why."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import msgspec

from mailerq.admin.questions import Pauses
from mailerq.commands.engine_access import ask
from mailerq.explain_text import pauses
from mailerq.explained import PauseSeen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line; times in seconds since 1970")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Print a line for each."""
    lines = ask(settings, Pauses())
    if arguments.json:
        for line in lines:
            print(json.dumps(line))
    elif lines:
        print("\n".join(pauses(msgspec.convert(lines, list[PauseSeen]), time.time())))
    else:
        print("nothing is paused")
    return 0
