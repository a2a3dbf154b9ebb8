"""The command line."""

from __future__ import annotations

import argparse
from pathlib import Path

NAMES = ("embedded", "rabbitmq", "postfix", "opensmtpd", "exim")
DESCRIPTION = """\
mailerq beside the mail servers of the distribution: CPU a message, messages a second, memory.

Postfix, OpenSMTPD and Exim are taken from their packages (apt-get download, nothing is installed or configured on this
system) and run in roots of their own. All get the same messages and deliver them to the same smtp-sink on loopback,
over at most as many connections; none of them asks DNS. They take turns, round by round. What each one's settings are,
when it syncs to the disk and what is counted: benchmarks/compare/README.md. Needs Linux, and root for the peers."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """``count``, ``rounds``, ``minutes`` and ``patience`` have their values, by ``quick`` where they were not given."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/compare", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a rough look: a quarter of the messages, 2 rounds, 4 minutes"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes of mailerq (default 1 2)")
    parser.add_argument("--rounds", type=_positive, help="how often each one runs (default 3)")
    parser.add_argument(
        "--count", type=_positive, help="messages a run of mailerq (default 20000); slow ones get fewer"
    )
    parser.add_argument("--sizes", type=_positive, nargs="+", default=[2000], help="bytes a message (default 2000)")
    parser.add_argument("--domains", type=_positive, default=20, help="recipients' domains (default 20)")
    parser.add_argument("--connections", type=_positive, default=40, help="most connections, all together (default 40)")
    parser.add_argument("--each", type=_positive, default=20, help="most connections to one domain (default 20)")
    parser.add_argument("--minutes", type=float, help="begin no run after that time (default 14)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the queues are (default /var/tmp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs there, too")
    parser.add_argument("--draw", type=Path, metavar="FILE.svg", help="draw a chart, too")
    found = parser.parse_args(arguments)
    found.count = found.count or (5000 if found.quick else 20000)
    found.rounds = found.rounds or (2 if found.quick else 3)
    found.minutes = found.minutes or (3.75 if found.quick else 14.0)
    found.patience = 20.0 if found.quick else 45.0
    return found


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
