"""End a pause: the one with that id (``mailerq pauses`` has it), or those that were made for exactly this."""

from __future__ import annotations

import argparse
import time
from typing import Any

import msgspec

from mailerq.admin.questions import Resume
from mailerq.commands import Failed
from mailerq.commands.engine_access import ask
from mailerq.commands.pause import add_scopes, given, scopes
from mailerq.explain_text import one_pause
from mailerq.explained import PauseSeen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ID, or the scopes."""
    parser.add_argument("id", metavar="ID", nargs="?", help="of one pause")
    add_scopes(parser)


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Tell the engine; print what has ended."""
    if arguments.id is None:
        question = Resume(**scopes(arguments, "an id, "))
    elif given(arguments):
        raise Failed(f"an id and --{given(arguments)[0]} do not go together")
    else:
        question = Resume(id=arguments.id)
    ended = ask(settings, question)
    if not ended:
        raise Failed("there is no such pause (mailerq pauses lists them)")
    for line in ended:
        print(f"resumed: {one_pause(msgspec.convert(line, PauseSeen), time.time())}")
    return 0
