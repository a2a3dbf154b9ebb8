"""The mails of the demonstration and the hosts they go to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from mailerq.attempt import State
from mailerq.demo.script import ACCEPT, Fate, Say, Script, fate

MAX_ATTEMPTS = 6
_AGAIN = {"retries": [2]}

SCRIPTS = (
    Script("plain.example", "accepts everything, offers PIPELINING", 450, pipelining=True),
    Script("slow.example", "accepts, each reply after 300 ms", 60, delay=0.3),
    Script(
        "grey.example",
        "451 to the first try, then accepts",
        150,
        (Say(State.RCPT, "451 4.7.1 Greylisted, come back later"), ACCEPT),
        pipelining=True,
        job=_AGAIN,
    ),
    Script("unknown.example", "550 to every recipient", 100, (Say(State.RCPT, "550 5.1.1 No such user here"),)),
    Script("spam.example", "554 to every message", 50, (Say(State.RECEIVED, "554 5.7.1 We do not want this"),)),
    Script(
        "full.example",
        "452 each time; the jobs allow two attempts",
        40,
        (Say(State.RCPT, "452 4.2.2 Mailbox full"),),
        job={**_AGAIN, "maxattempts": 2},
    ),
    Script(
        "rude.example", "hangs up at the first RCPT TO, then accepts", 40, (Say(State.RCPT, None), ACCEPT), job=_AGAIN
    ),
    Script("doubt.example", "hangs up after the first message", 40, (Say(State.RECEIVED, None), ACCEPT), job=_AGAIN),
    Script("backup.example", "its first MX host is closed, the second accepts", 70, closed_first=True),
)


class Order(msgspec.Struct, frozen=True):
    """One mail of the demonstration: the job, its number, and what must come of it."""

    number: int
    script: Script
    job: dict[str, Any]
    fate: Fate

    @property
    def body(self) -> bytes:
        """The job as it is published."""
        return json.dumps(self.job).encode()

    @property
    def message(self) -> bytes:
        """The message as the host has to get it."""
        return str(self.job["mime"]).encode()


def orders(scripts: tuple[Script, ...] = SCRIPTS) -> list[Order]:
    """All mails, those of the domains mixed as evenly as can be."""
    places = [((number + 0.5) / script.jobs, script) for script in scripts for number in range(script.jobs)]
    places.sort(key=lambda place: place[0])
    return [_order(number, script) for number, (_, script) in enumerate(places, 1)]


def _order(number: int, script: Script) -> Order:
    recipient = f"user{number}@{script.domain}"
    job: dict[str, Any] = {
        "envelope": "news@sender.example",
        "recipient": recipient,
        "mime": "\r\n".join(_lines(number, recipient)),
        **script.job,
        "order": number,
    }
    return Order(number, script, job, fate(script, job.get("maxattempts", MAX_ATTEMPTS)))


def _lines(number: int, recipient: str) -> Iterator[str]:
    yield "From: News <news@sender.example>"
    yield f"To: <{recipient}>"
    yield f"Subject: Letter {number}"
    yield f"Message-ID: <{number}@sender.example>"
    yield "Content-Type: text/plain; charset=utf-8"
    yield ""
    yield f"This is letter {number}. ✓"
    yield ".a line that begins with a dot, which SMTP has to double on the way"
    yield ""
