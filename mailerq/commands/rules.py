"""The rules for what hosts say: which one an answer fires and what follows, or all of them in their order."""

from __future__ import annotations

import argparse
import time
from typing import Any

from mailerq.commands import Failed
from mailerq.response_rules import STATES, TYPES

EARLY = ("init", "ehlo", "helo")  # a refusal in these states is no access


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``test REPLY`` and ``list``."""
    what = parser.add_subparsers(dest="what", required=True, metavar="test|list")
    test = what.add_parser("test", help="which rule an answer fires, and what would follow")
    test.add_argument("reply", metavar="REPLY", help='the answer, as in "451 4.7.1 Try again later"')
    test.add_argument("--domain", default="", help="the recipient's domain")
    test.add_argument("--mx", help="the MX host that answers")
    test.add_argument("--ip", help="the local address that it answers to")
    test.add_argument("--state", choices=STATES, metavar="STATE", help="which answer was due (default: rcpt to)")
    test.add_argument("--type", choices=TYPES, metavar="TYPE", help="the type of the attempt (default: error)")
    rules = what.add_parser("list", help="all rules in the order in which they are looked at")
    rules.add_argument("--own", action="store_true", help="those of the configuration only")
    for one in (test, rules):  # where people write it: at the end
        one.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Print it."""
    from mailerq.responses import Responses

    responses = Responses(settings.responses)
    return _test(arguments, settings, responses) if arguments.what == "test" else _list(arguments, settings, responses)


def _test(arguments: argparse.Namespace, settings: Any, responses: Any) -> int:
    from mailerq.attempt import Outcome, State, Type
    from mailerq.reply import parse_reply
    from mailerq.response_rules import sentence
    from mailerq.responses_text import explained

    code, status, text = sentence(arguments.reply)
    if code is not None:
        reply = parse_reply(code, [f"{status or ''} {text}".encode("utf-8", "replace")])
        status, text = reply.status, reply.text
    if code is None and arguments.type in (None, "error"):
        raise Failed("an answer begins with its code, as in 451; or say with --type what happened")
    type = Type.SUCCESS if code is not None and 200 <= code <= 299 and not arguments.type else None
    state = State(arguments.state or "rcpt to")
    outcome = Outcome(
        type or Type(arguments.type or ("noaccess" if state in EARLY else "error")), state, code, status, text
    )
    domain = arguments.domain.lower().rstrip(".")
    mx = arguments.mx.lower().rstrip(".") if arguments.mx else None
    policy = settings.delivery
    now = float(int(time.time()))
    for line in explained(responses, outcome, (domain, mx, arguments.ip), policy, now, source=settings.source):
        print(line)
    return 0


def _list(arguments: argparse.Namespace, settings: Any, responses: Any) -> int:
    from mailerq.responses_text import actions, conditions, where

    rules = [rule for rule in responses.rules if not (arguments.own and rule.shipped)]
    for rule in rules:
        print(f"{rule.title}: {conditions(rule)} -> {actions(rule)}  ({where(rule, settings.source)})")
        if rule.examples:
            print(f"    {rule.examples[0]}")
    return 0
