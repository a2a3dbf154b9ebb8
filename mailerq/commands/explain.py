"""Why does it wait? What limits mail to a domain, a recipient or a remote host, or a job that is in hand; which of that
binds now, and when it next allows a message. Without a running engine: what the configuration says of a domain."""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
import time
from typing import Any

import msgspec

from mailerq.admin.questions import Explain
from mailerq.commands.engine_access import NotRunning, ask
from mailerq.explain_text import text
from mailerq.explained import Line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """WHAT, --json."""
    parser.add_argument("what", metavar="WHAT", help="a domain, a recipient, the id of a job, a remote address or host")
    parser.add_argument("--json", action="store_true", help="one JSON object a line; times in seconds since 1970")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Ask the engine; print what it says."""
    try:
        lines = ask(settings, Explain(arguments.what))
    except NotRunning as error:
        lines = [_from_configuration(arguments.what, settings, error)]
        print(f"mailerq: note: {error}; this is what the configuration says", file=sys.stderr)
    if arguments.json:
        for line in lines:
            print(json.dumps(line))
    else:
        print("\n".join(text(msgspec.convert(lines, list[Line]), time.time())))
    return 0


def _from_configuration(what: str, settings: Any, error: NotRunning) -> dict[str, Any]:
    """What would hold for a domain, or that of a recipient; whatever else it is, only an engine knows of it."""
    from mailerq.explain import Around, would_hold
    from mailerq.route import ascii_name, fixed
    from mailerq.terms import Terms

    domain = ascii_name(what.strip().rpartition("@")[2])
    if not isinstance(domain, str) or "." not in domain or _is_address(what):
        raise error
    route = fixed(domain, settings.dns, settings.smtp.port)
    around = Around(time.time(), settings.source, settings.smtp.max_connections, 0, lambda address, source: 0.0)
    found = would_hold(domain, route, Terms(settings.limits, settings.pools), settings.smtp.ips, around)
    line: dict[str, Any] = msgspec.to_builtins(found)
    return line


def _is_address(what: str) -> bool:
    try:
        ipaddress.ip_address(what.strip("[]"))
    except ValueError:
        return False
    return True
