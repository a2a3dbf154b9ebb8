"""Messages: what parent and workers say to each other, a line of JSON each. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from mailerq.workers.changes import Crowded, Message, Paused, Resumed, Slowed, Warmed


class Begin(Message, frozen=True):
    """The last of what a worker is told before it takes jobs; before it come the changes that hold. ``first`` is the
    text of the configuration as it was when the parent began, ``config`` as it is; ``source`` its name."""

    first: str
    config: str
    source: str


class Reload(Message, frozen=True):
    """The configuration has this text now. Logs are to be opened anew."""

    config: str


class Reopen(Message, frozen=True):
    """Logs are to be opened anew."""


class Ask(Message, frozen=True):
    """A question (``admin/questions.py``), as its line says it."""

    number: int
    question: str


class Answer(Message, frozen=True):
    """Some lines of the answer to a question; the last of it if ``end``. ``error``: why there is none."""

    number: int
    lines: tuple[Raw, ...] = ()
    end: bool = False
    error: str = ""


class Ready(Message, frozen=True):
    """The worker takes jobs."""


class Refused(Message, frozen=True):
    """The worker cannot run, and ends: a person is needed."""

    why: str


ToWorker = Begin | Reload | Reopen | Ask | Paused | Resumed | Slowed | Crowded | Warmed
ToParent = Answer | Ready | Refused | Paused | Resumed | Slowed | Crowded | Warmed
_to_worker = msgspec.json.Decoder(ToWorker)
_to_parent = msgspec.json.Decoder(ToParent)


class NoMessage(ValueError):
    """This is none. The text says why, without its content."""


def written(message: ToWorker | ToParent) -> bytes:
    """The line, with its end. Lone surrogates, which a text from outside may have, are replaced."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(message, builtin_types=(Raw,))
        return msgspec.json.encode(_sound(plain)) + b"\n"


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sound(name): _sound(one) for name, one in value.items()}
    return [_sound(one) for one in value] if isinstance(value, list | tuple) else value


def to_worker(line: bytes) -> ToWorker:
    """What the parent says. Raises ``NoMessage``."""
    found: ToWorker = _read(_to_worker, line)
    return found


def to_parent(line: bytes) -> ToParent:
    """What a worker says. Raises ``NoMessage``."""
    found: ToParent = _read(_to_parent, line)
    return found


def _read(decoder: Any, line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise NoMessage(str(error)) from None
