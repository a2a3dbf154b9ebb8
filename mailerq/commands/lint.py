"""What large providers' rules for senders and the RFCs would find missing or wrong in a message."""

from __future__ import annotations

import argparse
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mailerq.commands import Failed

NEEDS_SETTINGS = False
"""A message is looked at as it is; only a job is made into one as the configuration says."""
MOST = 64 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which message, and how much is known of it."""
    parser.add_argument("file", metavar="FILE", help="a message, or a job (JSON); -: standard input")
    parser.add_argument("--envelope", metavar="ADDRESS", help="MAIL FROM, where it is no job")
    parser.add_argument(
        "--bulk", action="store_true", help="it is mail to many: what providers demand of that is an error"
    )
    parser.add_argument("--dns", action="store_true", help="ask DNS for SPF, DKIM, DMARC, MX and PTR records, too")
    parser.add_argument(
        "--ip", action="append", default=[], type=_ip, help="with --dns: a local address it is sent from"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if there is an error among them."""
    from mailerq.lint.message import Message
    from mailerq.lint.report import as_json, lines
    from mailerq.lint.rule import Severity
    from mailerq.lint.rules import lint, ordered

    content = _content(arguments.file)
    envelope = arguments.envelope
    if content.lstrip()[:1] == b"{":
        content, own = _of_job(content, arguments.config)
        envelope = own if envelope is None else envelope
    message = Message(content, now=time.time(), envelope=envelope, bulk=arguments.bulk)
    found = lint(message)
    if arguments.dns:
        found = ordered(found + _records(message, arguments))
    name = "message" if arguments.file == "-" else arguments.file
    for line in [as_json(found)] if arguments.json else lines(name, found):
        print(line)
    return int(any(finding.severity is Severity.ERROR for finding in found))


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None


def _records(message: Any, arguments: argparse.Namespace) -> list[Any]:
    """What is wrong with what DNS says of the sender, and of the addresses that are given or configured."""
    from mailerq.cli import find_config
    from mailerq.lint.records import look
    from mailerq.settings import load

    settings = load(find_config(arguments.config))
    return look(message, arguments.ip or settings.smtp.ips, _asker(settings.dns))


def _asker(settings: Any) -> Any:
    """A function that gives the records of a name as texts."""
    from mailerq.commands.dns_questions import DnsQuestions
    from mailerq.commands.dns_questions import Unanswered as NoAnswer
    from mailerq.lint.records import Unanswered

    questions = DnsQuestions(settings)

    def ask(name: str, kind: str) -> list[str]:
        try:
            found = questions.ask(name, kind)
        except NoAnswer as why:
            raise Unanswered(f"DNS has no answer about {name[:200]} ({kind}): {why}") from None
        if kind == "TXT":
            return [b"".join(record.strings).decode("utf-8", "replace") for record in found]
        return [record.to_text() for record in found]

    return ask


def _content(name: str) -> bytes:
    if name == "-":
        content = sys.stdin.buffer.read(MOST + 1)
    else:
        with Path(name).open("rb") as file:
            content = file.read(MOST + 1)
    if len(content) > MOST:
        raise Failed(f"{name} has more than {MOST >> 20} MB")
    if not content.strip():
        raise Failed(f"{name} is empty")
    return content


def _of_job(body: bytes, config: str | None) -> tuple[bytes, str]:
    """The message of a job, made as the configuration says, and its envelope."""
    from mailerq.cli import find_config
    from mailerq.job import Invalid, read
    from mailerq.settings import load

    job = read(body)
    if isinstance(job, Invalid):
        raise Failed(f"it begins as a job does, but {job.why}")
    if job.problem is not None:
        raise Failed(f"the job cannot be used: {job.problem}")
    return _made(job, load(find_config(config))), job.known.envelope or ""


def _made(job: Any, settings: Any) -> bytes:
    """The message that would be sent."""
    import attrs
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from mailerq.attempt import Outcome
    from mailerq.content.service import ContentService
    from mailerq.mail import Mail

    loop: Any = reactor
    service = ContentService(loop, attrs.evolve(settings, store=None))  # nothing of a store is to be swept
    mail = Mail(job, None, b"", "lint", time.time())
    if mail.plain and not service.contents.always:
        return mail.body
    came: list[Any] = []

    async def make() -> None:
        outcome: Deferred[Any] = Deferred()
        service.contents.make(mail, True, outcome.callback)
        came.append(await outcome)
        await service.close()

    def begin() -> None:
        Deferred.fromCoroutine(make()).addErrback(came.append).addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run()
    if not came or came[-1] is not None:
        why = came[-1].description if came and isinstance(came[-1], Outcome) else "it was interrupted"
        raise Failed(f"the message cannot be made: {why}")
    return mail.body
