"""Let mail wait: to a domain, to a remote host, from a local address or pool, with a tag, or all of it. What is given
together holds together. Jobs that are paused wait on the broker and still expire in time."""

from __future__ import annotations

import argparse
import time
from typing import Any

import msgspec

from mailerq.admin.questions import Pause
from mailerq.commands import Failed
from mailerq.commands.engine_access import ask
from mailerq.explain_text import one_pause
from mailerq.explained import PauseSeen
from mailerq.units import parse_time

SCOPES = {
    "domain": "recipients in that domain (patterns as in the shell: '*.example.org')",
    "mx": "all domains whose mail goes to such a host: '*.mail.example'",
    "ip": "from that local address",
    "pool": "from the local addresses of that pool",
    "tag": "jobs with that tag",
}


def add_scopes(parser: argparse.ArgumentParser) -> None:
    """For whom it is: --domain, --mx, --ip, --pool, --tag, --all."""
    for name, what in SCOPES.items():
        parser.add_argument(f"--{name}", metavar=name[0].upper(), help=what)
    parser.add_argument("--all", action="store_true", help="everything")


def given(arguments: argparse.Namespace) -> list[str]:
    """The names of those that were given."""
    return [name for name in (*SCOPES, "all") if getattr(arguments, name) not in (None, False)]


def scopes(arguments: argparse.Namespace, also: str = "") -> dict[str, Any]:
    """What was given of them. Raises ``Failed`` where that is nothing, or all and something."""
    names = given(arguments)
    if not names:
        raise Failed(f"say what: {also}{', '.join(f'--{name}' for name in SCOPES)} or --all")
    if arguments.all and len(names) > 1:
        raise Failed(f"--all and --{names[0]} do not go together")
    return {name: getattr(arguments, name) for name in names}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scopes, --for, --why."""
    add_scopes(parser)
    parser.add_argument(
        "--for", dest="time", metavar="TIME", type=_time, help="such as 10m or 2h; default: until resumed"
    )
    parser.add_argument("--why", metavar="TEXT", default="", help="shown wherever something waits for it")


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Tell the engine; print what holds now."""
    now = time.time()
    until = None if arguments.time is None else now + arguments.time
    for line in ask(settings, Pause(**scopes(arguments), until=until, why=arguments.why)):
        print(f"paused: {one_pause(msgspec.convert(line, PauseSeen), now)}")
    return 0
