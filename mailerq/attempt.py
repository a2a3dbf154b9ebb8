"""One attempt to deliver a job: its type, its state and the record that users read in ``results``.

Never decides anything; ``verdict.py`` does.
"""

from __future__ import annotations

import time as _time
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec


class Type(StrEnum):
    """What came of an attempt."""

    SUCCESS = "success"
    NOHOSTS = "nohosts"
    BIND = "bind"
    REFUSED = "refused"
    CONNECT = "connect"
    NOACCESS = "noaccess"
    ERROR = "error"
    LOST = "lost"
    TIMEOUT = "timeout"
    NODATA = "nodata"
    EXPIRED = "expired"
    IDLE = "idle"
    OVERFLOW = "overflow"
    TLS = "tls"
    RESPONSIVE = "responsive"


class State(StrEnum):
    """Which answer of the remote host was awaited when the attempt ended."""

    CONNECT = "connect"
    INIT = "init"
    EHLO = "ehlo"
    HELO = "helo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail from"
    RCPT = "rcpt to"
    DATA = "data"
    RECEIVED = "received"
    ACCEPT = "accept"
    RESET = "reset"
    IDLE = "idle"
    CLOSE = "close"


class Outcome(msgspec.Struct, frozen=True):
    """How one mail's talk, or one connection's set-up, ended: what the wire knows, without the job's history.

    ``description`` is never empty except for a success to which the host gave no text. ``reasons`` and ``passing`` are
    of a message that could not be made (``responsive``): its causes, and whether it may be made later.
    """

    type: Type
    state: State | None = None
    code: int | None = None
    status: str | None = None
    description: str = ""
    in_doubt: bool = False
    reasons: tuple[str, ...] = ()
    passing: bool = False


class Peer(msgspec.Struct, frozen=True):
    """The two ends of a connection, and what is known of its encryption.

    ``cipher`` has ``name``, ``bits``, ``version``; ``certificate`` has ``subject``, ``issuer``, ``notbefore``,
    ``notafter``, ``altnames``, ``verified`` and, where it is not verified, ``problem``. Both are None in clear.
    """

    source: str | None = None
    target: str | None = None
    mx: str | None = None
    cipher: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of ``results``, encoded by msgspec as it stands; the order of the fields is the order in the JSON.

    ``dsn``: the host was asked to tell the sender what becomes of the message, and took it.
    """

    attempt: int
    type: Type
    time: str
    source: str | None = msgspec.field(default=None, name="from")
    target: str | None = msgspec.field(default=None, name="to")
    code: int | None = None
    status: str | None = None
    bounce_class: str | None = msgspec.field(default=None, name="class")
    description: str | None = None
    state: State | None = None
    reasons: list[str] | None = None
    in_doubt: bool = msgspec.field(default=False, name="in-doubt")
    dsn: bool = False
    mx: str | None = None
    cipher: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    duration: float | None = None
    timing: dict[str, float] | None = None
    waited: dict[str, Any] | None = None


def utc(seconds: float) -> str:
    """Epoch seconds as the contract writes a time: ``YYYY-MM-DD HH:MM:SS``, UTC."""
    return _utc(int(seconds // 1))


@lru_cache(64)  # most of a second's attempts ask for the same second
def _utc(seconds: int) -> str:
    return _time.strftime("%Y-%m-%d %H:%M:%S", _time.gmtime(seconds))
