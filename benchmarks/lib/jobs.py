"""The jobs that are delivered: plain messages of a size, spread over domains."""

from __future__ import annotations

import json
from collections.abc import Iterator


def message(size: int) -> str:
    """A plain message of about ``size`` bytes."""
    line = "This is one line of a message that says nothing in particular.\r\n"
    head = "From: sender@bench.example\r\nTo: you@bench.example\r\nSubject: benchmark\r\n\r\n"
    return head + line * (size // len(line))


def jobs(count: int, size: int, domains: int, first: int = 0) -> Iterator[bytes]:
    """As many jobs, spread over the domains ``d0.example`` and so on."""
    mime = message(size)
    for number in range(first, first + count):
        job = {"envelope": "sender@bench.example", "recipient": f"u{number}@d{number % domains}.example", "mime": mime}
        yield json.dumps(job | {"number": number}).encode()
