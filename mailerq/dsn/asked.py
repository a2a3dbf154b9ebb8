"""What a sender wants to be told of a mail: the property ``dsn`` of its job, completed by the configuration. Pure."""

from __future__ import annotations

import re

from msgspec import Struct

from mailerq.dsn.words import read_notify, read_ret
from mailerq.dsn.xtext import address_text, xtext
from mailerq.properties import Dsn

MOST_ENVID = 100  # characters as they are sent (RFC 3461 section 4.4)
MOST_ORCPT = 500  # (section 4.2)
_PRINTABLE = re.compile(r"[ -~]+")
_MTA = re.compile(r"[!-~]{1,255}")
_TYPED = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,62});(.*)", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Asked(Struct, frozen=True):
    """``notify``: NEVER alone, or some of SUCCESS, FAILURE and DELAY; empty: nothing was said, so that a host does what
    it does for anybody, and we say nothing. ``ret``: how much of the message comes back, FULL or HDRS; empty: nothing
    was said. ``orcpt``: ``type;address``, or empty: the recipient. ``sender`` and ``mta``: the author of bounces and
    the name that they are from, where the job has its own."""

    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""
    orcpt: str = ""
    sender: str = ""
    mta: str = ""


def read(dsn: Dsn) -> Asked:
    """What a job says. Raises ValueError, naming the member, for what cannot be used."""
    return Asked(
        read_notify("dsn.notify", dsn.notify) if dsn.notify is not None else (),
        read_ret("dsn.ret", dsn.ret) if dsn.ret else "",
        _read_envid(dsn.envid) if dsn.envid else "",
        _read_orcpt(dsn.orcpt) if dsn.orcpt else "",
        _read_sender(dsn.envelope) if dsn.envelope else "",
        _read_mta(dsn.mta) if dsn.mta else "",
    )


def _read_envid(given: str) -> str:
    if not _PRINTABLE.fullmatch(given):
        raise ValueError("dsn.envid: has other characters than printable ASCII (RFC 3461 section 4.4)")
    if len(xtext(given)) > MOST_ENVID:
        raise ValueError(f"dsn.envid: has more than {MOST_ENVID} characters as it is sent (RFC 3461 section 4.4)")
    return given


def _read_orcpt(given: str) -> str:
    found = _TYPED.fullmatch(given.strip())
    kind, address = (found[1].lower(), found[2].strip()) if found else ("", given.strip())
    if not address or _UNPRINTABLE.search(address):
        raise ValueError("dsn.orcpt: is no address")
    if kind in ("", "rfc822", "utf-8"):
        kind = "rfc822" if address.isascii() else "utf-8"
    elif not address.isascii():
        raise ValueError(f"dsn.orcpt: an address of the type {kind} is ASCII (RFC 3461 section 4.2)")
    if len(kind) + 1 + len(address_text(kind, address)) > MOST_ORCPT:
        raise ValueError(f"dsn.orcpt: has more than {MOST_ORCPT} characters as it is sent (RFC 3461 section 4.2)")
    return f"{kind};{address}"


def _read_sender(given: str) -> str:
    if len(given) > 320 or not given.isascii() or not re.fullmatch(r"[!#-'*+\--9=?A-Z^-~]+@[A-Za-z0-9.-]+", given):
        raise ValueError("dsn.envelope: is no address that could be the author of a bounce")
    return given


def _read_mta(given: str) -> str:
    if not _MTA.fullmatch(given):
        raise ValueError("dsn.mta: is no name of a host")
    return given
