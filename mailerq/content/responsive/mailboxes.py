"""Addresses in a description: a text, or an object with a name. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Struct

from mailerq.content.responsive.reading import Reader, Reading
from mailerq.content.responsive.tags import TAG, has_tag
from mailerq.smtp.address import wire_address

MOST = 1000
_NAMED = re.compile(r"\s*(.*?)\s*<([^<>]*)>\s*", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1000


class Mailbox(Struct, frozen=True):
    """A name (maybe empty) and an address: UTF-8 in its local part, its domain as in the DNS."""

    address: str
    name: str = ""


def mailbox(value: Any, place: str, reading: Reading) -> Mailbox | None:
    """``address``, ``Name <address>``, or ``{name, address}`` (``email`` is as good)."""
    name: Any = ""
    if isinstance(value, dict):
        name = value.get("name") or ""
        address = value.get("address") or value.get("email")
        if address is None:
            reading.fault(f"{place}.address", "is missing")
            return None
    else:
        address = value
        if isinstance(value, str) and not TAG.fullmatch(value.strip()) and (found := _NAMED.fullmatch(value)):
            name, address = found[1].strip('"'), found[2]
    if not isinstance(address, str) or not isinstance(name, str):
        reading.expected(place, "an address", value if not isinstance(value, dict) else address)
        return None
    if _CONTROL.search(name):
        reading.fault(f"{place}.name", "has a line break or another control character")
        return None
    return _checked(address.strip(), name.strip(), place, reading)


def _checked(address: str, name: str, place: str, reading: Reading) -> Mailbox | None:
    try:
        if len(address) > _LONGEST or len(name) > _LONGEST:
            raise ValueError
        if has_tag(address):
            if _CONTROL.search(address) or re.search(r"[<>,;\s]", TAG.sub("", address)):
                raise ValueError
            return Mailbox(address, name)
        local, at, domain = address.rpartition("@")
        if not (local and at and domain):
            raise ValueError
        return Mailbox(wire_address(address).decode(), name)
    except ValueError:
        reading.expected(place, "an address", address)
        return None


def mailboxes(value: Any, place: str, reading: Reading) -> tuple[Mailbox, ...] | None:
    """One address, or an array of them."""
    if not isinstance(value, list):
        one = mailbox(value, place, reading)
        return None if one is None else (one,)
    if len(value) > MOST:
        reading.fault(place, f"has more than {MOST} addresses")
        return None
    read = [mailbox(one, f"{place}[{number}]", reading) for number, one in enumerate(value)]
    return tuple(one for one in read if one is not None)


One = Annotated[Mailbox | None, Reader(mailbox)]
Many = Annotated[tuple[Mailbox, ...], Reader(mailboxes)]
