"""Put a message from standard input into the inbox, one job for each recipient, as sendmail does."""

from __future__ import annotations

import argparse
import getpass
import json
import socket
from email.utils import formataddr, formatdate, getaddresses, make_msgid
from typing import Any, BinaryIO

import msgspec

from mailerq.commands import Failed
from mailerq.commands.access import Access, with_access
from mailerq.commands.message import Message, job_properties, only_utf8
from mailerq.dsn.asked import read as read_dsn
from mailerq.properties import Dsn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPIENT…, -t, -i, -f."""
    parser.add_argument("recipients", metavar="RECIPIENT", nargs="*")
    parser.add_argument(
        "-t",
        "--extract-recipients",
        action="store_true",
        help="send to all in To, Cc and Bcc, too; the Bcc header is removed",
    )
    dot = "a line with a dot alone does not end the message"
    parser.add_argument("-i", "-oi", "--ignore-dot", action="store_true", help=dot)
    sender = "the envelope's sender (default: the message's own)"
    parser.add_argument("-f", "--envelope", metavar="ADDRESS", help=sender)
    notify = "when the sender is told what became of it: never, or some of success, failure, delay, with commas"
    parser.add_argument("-N", "--notify", metavar="WHEN", help=notify)
    parser.add_argument("-R", "--ret", metavar="WHAT", help="what of it comes back with a failure: full or hdrs")
    parser.add_argument("-V", "--envid", metavar="NAME", help="a name for it, which the sender is told with that")


def run(arguments: argparse.Namespace, settings: Any) -> int:
    """Publish the jobs."""
    inbox = settings.queues.inbox
    if inbox is None:
        raise Failed("queues.inbox is switched off: there is nowhere to put the message")
    if not arguments.recipients and not arguments.extract_recipients:
        raise Failed("nobody to send to: name recipients, or take them from the message with -t")
    try:
        with open(0, "rb", closefd=False) as source:
            content = read(source, arguments.ignore_dot)
    except OSError as error:
        raise Failed(f"standard input: {error.strerror or error}") from None
    message = Message.parse(only_utf8(content))
    jobs = make_jobs(message, arguments)

    async def put(access: Access) -> None:
        await access.put(inbox, jobs)

    with_access(settings, put)
    return 0


def read(source: BinaryIO, ignore_dot: bool) -> bytes:
    """The message: to the end of the input or, unless ``ignore_dot``, to a line with a dot alone; then the first of two
    dots at the beginning of a line is removed, as it was put there for the same reason (RFC 5321 section 4.5.2)."""
    if ignore_dot:
        return source.read()
    lines = []
    for line in source:
        if line.rstrip(b"\r\n") == b".":
            break
        lines.append(line[1:] if line.startswith(b"..") else line)
    return b"".join(lines)


def make_jobs(message: Message, arguments: argparse.Namespace) -> list[bytes]:
    """The bodies to be published. Changes ``message``: what is not to be sent is removed, what is missing is added."""
    properties = job_properties(message)
    _ask(properties, arguments)
    recipients = [address(text, "the recipient") for text in arguments.recipients]
    if arguments.extract_recipients:
        fields = [text for name in ("to", "cc", "bcc") for text in message.all(name)]
        recipients += [address(found, "the recipient") for _, found in getaddresses(fields) if found]
        message.remove("bcc")
    if not recipients:
        raise Failed("nobody to send to: the message names no recipient")
    given = arguments.envelope
    envelope = sender(message, properties.pop("envelope", None) if given is None else given)
    properties.pop("envelope", None)
    complete(message, envelope)
    mime = message.content().decode("utf-8")
    jobs = [
        {"envelope": envelope, "recipient": recipient, **properties, "mime": mime}
        for recipient in dict.fromkeys(recipients)
    ]
    return [json.dumps(job, ensure_ascii=False).encode() for job in jobs]


def _ask(properties: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Put what the sender wants to be told into ``dsn``: options go before the message's own fields. Raises
    ``Failed``."""
    given = {name: getattr(arguments, name) for name in ("notify", "ret", "envid")}
    asked = {**properties.get("dsn", {}), **{name: value for name, value in given.items() if value is not None}}
    if not asked:
        return
    try:
        read_dsn(msgspec.convert(asked, Dsn))
    except ValueError as error:  # those of msgspec are, too
        raise Failed(str(error)) from None
    properties["dsn"] = asked


def address(text: str, what: str) -> str:
    """The address in ``text`` (which may have a name and angle brackets). Raises ``Failed``."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Failed(f"{what} {text!a} is no UTF-8") from None
    found = [found for _, found in getaddresses([text]) if found]
    if len(found) != 1 or not all(found[0].rpartition("@")[::2]) or any(sign <= " " for sign in found[0]):
        raise Failed(f"{what} {text!r} is no address")
    return found[0]


def sender(message: Message, given: str | None) -> str:
    """The envelope's sender: as given (``<>`` or nothing at all is the null sender), or the message's own."""
    if given is not None:
        return "" if given.strip() in ("", "<>") else address(given, "the sender")
    if any(text.strip() == "<>" for text in message.all("return-path")):
        return ""
    for name in ("return-path", "from", "sender"):
        for _, found in getaddresses(message.all(name)):
            if all(found.rpartition("@")[::2]):
                return found
    return login()


def login() -> str:
    """The address of whoever runs this."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = "mailerq"
    return f"{user}@{socket.getfqdn()}"


def complete(message: Message, envelope: str) -> None:
    """Add Date, Message-ID and From where they are missing."""
    author = envelope or login()
    if not message.all("from"):
        message.add("From", formataddr((None, author)) if author.isascii() else f"<{author}>")
    if not message.all("date"):
        message.add("Date", formatdate(localtime=True))
    if not message.all("message-id"):
        message.add("Message-ID", make_msgid(domain=_ascii_domain(author)))


def _ascii_domain(author: str) -> str:
    domain = author.rpartition("@")[2]
    try:
        return domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return socket.getfqdn()
