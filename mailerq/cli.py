"""The ``mailerq`` command: finds the command, its settings, and says in one line what went wrong.

It starts quickly: a command's module is imported when it is called, and Twisted only where the broker is RabbitMQ.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

COMMANDS = {
    "publish": "put jobs on a queue: JSON lines from standard input",
    "consume": "print and remove what lies in a queue",
    "queues": "how much lies in each queue",
    "check": "read the configuration and say all that is wrong",
    "send": "put a message from standard input into the inbox, as sendmail does",
    "store": "put a body into the message store by its key, print or remove it",
    "explain": "why does it wait? what limits a domain, a recipient, a job or a remote host",
    "sites": "a live table: how many wait where, how fast they go, and what they wait for",
    "pause": "let mail wait: to a domain, from an address, with a tag, or all of it",
    "resume": "end a pause",
    "pauses": "the pauses that hold",
    "rules": "what follows from what hosts say: try an answer, list the rules",
    "dkim": "make a key that signs mail, or look whether DNS has the records",
    "lint": "what large providers and the RFCs would find missing or wrong in a message",
    "simulate": "try a configuration in a simulated world before it meets real hosts",
}
PLACES = ("etc/mailerq.yaml", "/etc/mailerq/mailerq.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 where it failed, 2 where it was called wrongly."""
    try:
        status = _run(sys.argv[1:] if argv is None else list(argv))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _forget_output()
        return 0
    except Exception as error:
        return _say(error)


def _run(argv: list[str]) -> int:
    arguments = _top().parse_args(argv)
    module: Any = import_module(f"mailerq.commands.{arguments.command}")
    parser = argparse.ArgumentParser(prog=f"mailerq {arguments.command}", description=module.__doc__)
    _add_config(parser, arguments.config)
    module.add_arguments(parser)
    given = parser.parse_args(arguments.rest)
    if not getattr(module, "NEEDS_SETTINGS", True):
        return int(module.run(given))
    from mailerq.settings import load

    return int(module.run(given, load(find_config(given.config))))


def _top() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mailerq",
        usage="mailerq COMMAND [-c FILE] [arguments]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"commands:\n{commands}\n\nThe engine itself is run with: twistd -n mailerq -c FILE",
    )
    _add_config(parser, None)
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("command", metavar="COMMAND", type=_command, help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    from mailerq import __version__

    return f"mailerq {__version__}"


def _add_config(parser: argparse.ArgumentParser, default: str | None) -> None:
    where = "the configuration (default: $MAILERQ_CONFIG, etc/mailerq.yaml, /etc/mailerq/mailerq.yaml)"
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help=where)


def _command(name: str) -> str:
    if name in COMMANDS:
        return name
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, 1)
    meant = f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(COMMANDS)})"
    raise argparse.ArgumentTypeError(f"there is no command {name!r}{meant}")


def find_config(given: str | None) -> str | None:
    """The configuration file to be read; None: there is none, the built-in defaults hold."""
    named = given or os.environ.get("MAILERQ_CONFIG")
    if named:
        return named
    return next((place for place in PLACES if os.path.exists(place)), None)


def _say(error: Exception) -> int:
    """One line (or one for each error in the configuration) on standard error."""
    lines: Any = getattr(error, "errors", None)  # of a SettingsError
    if not isinstance(lines, list):
        text = " ".join(_text(error).split()) or type(error).__name__
        known = type(error).__module__.startswith("mailerq.") or isinstance(error, OSError)
        lines = [text if known else f"unexpected {type(error).__name__}: {text}"]
    for line in lines:
        print(f"mailerq: {line}", file=sys.stderr)
    return 1


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _forget_output() -> None:
    """Nobody reads it any more; keep the interpreter from complaining at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
