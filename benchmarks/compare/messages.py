"""The same mail for every program: recipients, messages, and the same as jobs.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

SENDER = "sender@bench.example"
_LINE = "This is one line of a message that says nothing in particular.\r\n"
_HEAD = "From: sender@bench.example\r\nTo: you@bench.example\r\nSubject: benchmark\r\n\r\n"


def message(size: int) -> str:
    """A plain message of about ``size`` bytes, line ends CRLF, at least one line long; no line begins with a dot."""
    return _HEAD + _LINE * max(1, (size - len(_HEAD)) // len(_LINE))


def domain(number: int) -> str:
    """The name of a domain, counted from 0."""
    return f"d{number}.example"


def recipient(number: int, domains: int) -> str:
    """The recipient of the message with this number: the domains take turns."""
    return f"u{number}@{domain(number % domains)}"


def address(number: int) -> str:
    """The loopback address of the host of a domain: each of the first 250 has one of its own."""
    return f"127.0.1.{number % 250 + 1}"


def jobs(count: int, size: int, domains: int) -> Iterator[bytes]:
    """The messages as jobs, JSON, without line ends."""
    mime = message(size)
    for number in range(count):
        yield json.dumps({"envelope": SENDER, "recipient": recipient(number, domains), "mime": mime}).encode()
