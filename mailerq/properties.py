"""The properties of a job that the contract knows, with the shapes it asks for (section 2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from mailerq.content.header_changes import HeaderChanges

_Whole = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Flag = bool | Literal[0, 1]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Queues(Struct, frozen=True):
    """The ``queues`` of a job: they replace all configured result queues; None = none."""

    results: _Name | None = None
    success: _Name | None = None
    failure: _Name | None = None
    failures: _Name | None = None
    retry: _Name | None = None
    dsn: _Name | None = None

    def __post_init__(self) -> None:
        names = (self.results, self.success, self.failure, self.failures, self.retry, self.dsn)
        if any(name and len(name.encode()) > 255 for name in names):
            raise ValueError("Expected names of at most 255 bytes")


class Smarthost(Struct, frozen=True):
    """Where to deliver instead of to the MX."""

    hostname: str | None = None
    name: str | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | Annotated[str, Meta(pattern="^[0-9]{1,5}$")] = 25
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"<Smarthost {self.hostname or self.name}:{self.port}>"  # never the password


class Dsn(Struct, frozen=True):
    """What the sender wants to be told (RFC 3461). ``envelope`` and ``mta`` are an older way to say from whom."""

    notify: str | list[str] | None = None
    ret: str | None = None
    envid: str | None = None
    orcpt: str | None = None
    envelope: str | None = None
    mta: str | None = None


class _Next(Struct):
    time: str


class Entry(Struct):
    """An earlier attempt: what of it is looked at."""

    type: str = ""
    source: Any = msgspec.field(default="", name="from")  # of these anything is taken: they are read for hints alone
    bounce_class: Any = msgspec.field(default="", name="class")


class Known(Struct):
    """All of them. What a job does not have is UNSET, empty or None."""

    recipient: str | None = None
    envelope: str | None = None
    mime: Raw = Raw()
    key: Annotated[str, Meta(min_length=1)] = ""
    keepmime: Flag = False
    maxdelivertime: str = ""
    maxattempts: _Whole | msgspec.UnsetType = msgspec.UNSET
    retries: Annotated[list[_Whole], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    nextattempt: _Next | None = None
    delayed: str = ""
    ips: list[str] | msgspec.UnsetType = msgspec.UNSET
    pool: str = ""
    queues: Queues | msgspec.UnsetType = msgspec.UNSET
    smarthost: Smarthost | msgspec.UnsetType = msgspec.UNSET
    dkim: dict[str, Any] | list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    dsn: Dsn | msgspec.UnsetType = msgspec.UNSET
    headers: HeaderChanges | msgspec.UnsetType = msgspec.UNSET
    inlinecss: Flag = False
    normalize: Flag = False
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    priority: Annotated[int, Meta(ge=0, le=255)] | msgspec.UnsetType = msgspec.UNSET
    security: Literal["optional", "opportunistic", "required", "verified"] | msgspec.UnsetType = msgspec.UNSET
    force: Flag = False
    results: list[Entry] = []
    seen: str = ""
