"""The properties of a job that the contract knows, with the shapes it asks for (section 2)."""

from __future__ import annotations

import re
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


_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?!.{{254}}){_LABEL}(?:\.{_LABEL})*")
FIELD_NAME = re.compile("[!-9;-~]{1,100}")


class Dkim(Struct, frozen=True):
    """A signature that is to be made, and the key for it. All empty: none."""

    domain: str = ""
    selector: str = ""
    key: str = ""
    expire: str = ""
    headers: Annotated[list[str], Meta(max_length=100)] = []
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    report: Flag = False
    protocols: Annotated[list[Literal["dkim", "arc"]], Meta(min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: ["dkim"]
    )
    canonicalization: Literal[
        "relaxed/simple", "relaxed/relaxed", "simple/simple", "simple/relaxed", "relaxed", "simple"
    ] = "relaxed/simple"
    algorithm: Literal["sha256", "sha1"] = "sha256"

    def __post_init__(self) -> None:
        if not (self.domain or self.selector or self.key):
            return
        for name in ("domain", "selector", "key"):
            if not getattr(self, name):
                raise ValueError(f"{name}: is missing")
        for name in ("domain", "selector"):
            given = getattr(self, name)
            if not is_dns_name(given):
                raise ValueError(f"{name}: {given[:80]!r} is no name in DNS")
        if self.algorithm == "sha1":
            raise ValueError("algorithm: sha1 is obsolete, and not taken by those who verify (RFC 8301): use sha256")
        for name in self.headers:
            if not FIELD_NAME.fullmatch(name):
                raise ValueError(f"headers: {name[:80]!r} is no name of a header field")

    def __bool__(self) -> bool:
        return bool(self.key)

    def __repr__(self) -> str:
        return f"<Dkim {self.selector}._domainkey.{self.domain}>"  # never the key


Dkims = Annotated[list[Dkim], Meta(max_length=20)]


def is_dns_name(text: str) -> bool:
    """Whether it can be asked for in DNS; letters that are not ASCII have A-labels."""
    if not text.isascii():
        from mailerq.smtp.address import a_label

        try:
            text = a_label(text)
        except ValueError:
            return False
    return _DNS_NAME.fullmatch(text) is not None


def dkim_of(given: Dkim | list[Dkim] | msgspec.UnsetType | None, where: str) -> list[tuple[str, Dkim]]:
    """The signatures that are asked for, each with what errors call it."""
    if isinstance(given, Dkim):
        return [(where, given)] if given else []
    if not isinstance(given, list):
        return []
    return [(f"{where}[{number}]", one) for number, one in enumerate(given) if one]


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
    dkim: Dkim | Dkims | msgspec.UnsetType = msgspec.UNSET
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
