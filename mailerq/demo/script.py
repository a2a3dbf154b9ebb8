"""What a scripted mail host does, and what must therefore come of a job for it.

Pure. ``hosts.py`` plays the scripts, ``plan.py`` has those of the demonstration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mailerq.attempt import State, Type


class Say(msgspec.Struct, frozen=True):
    """What a host answers to one try: ``reply`` at ``state`` (RCPT, or RECEIVED for the final dot).

    ``reply`` None: it closes the connection instead of answering.
    """

    state: State
    reply: str | None


class Entry(msgspec.Struct, frozen=True):
    """What an entry of ``results`` has to hold."""

    type: Type
    state: State
    code: int | None
    in_doubt: bool = False


class Fate(msgspec.Struct, frozen=True):
    """What must come of a job: its entries in order, and whether it is delivered in the end."""

    entries: tuple[Entry, ...]
    delivered: bool


ACCEPT = Say(State.RECEIVED, "250 2.0.0 taken")


class Script(msgspec.Struct, frozen=True):
    """How the host of one domain behaves.

    ``tries``: what it says to the first, second … try for a recipient; the last holds for all that follow. ``delay``:
    seconds before each reply. ``closed_first``: the domain has a host before this one, at which nobody listens.
    ``jobs``: how many mails go there, each with the properties in ``job`` besides.
    """

    domain: str
    does: str
    jobs: int
    tries: tuple[Say, ...] = (ACCEPT,)
    delay: float = 0.0
    pipelining: bool = False
    closed_first: bool = False
    job: Mapping[str, Any] = {}

    def say(self, number: int) -> Say:
        """What it says to the try of that number, 1 or more."""
        return self.tries[min(number, len(self.tries)) - 1]


def fate(script: Script, max_attempts: int) -> Fate:
    """What must come of a job for ``script``, by the rules of docs/results.md."""
    entries: list[Entry] = []
    while True:
        entry = _entry(script.say(len(entries) + 1))
        entries.append(entry)
        if entry.type is Type.SUCCESS:
            return Fate(tuple(entries), True)
        refused = entry.code is not None and entry.code >= 500
        if refused or len(entries) == max_attempts:
            return Fate(tuple(entries), False)


def _entry(say: Say) -> Entry:
    if say.reply is None:
        return Entry(Type.LOST, say.state, None, say.state is State.RECEIVED)
    code = int(say.reply[:3])
    if code < 300:
        return Entry(Type.SUCCESS, State.ACCEPT, code)
    return Entry(Type.ERROR, say.state, code)
