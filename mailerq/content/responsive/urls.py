"""Addresses of the web in a description: what may stand there, and parameters put into them. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote, unquote_plus

from msgspec import Struct

from mailerq.content.responsive.kinds import Attributes, Pairs, Text, parameters
from mailerq.content.responsive.reading import Reader, Reading, read
from mailerq.content.responsive.tags import TAG, has_tag, pieces

LONGEST = 8000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NEVER = ("javascript", "vbscript", "data", "file")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _plain(value: Any, place: str, reading: Reading) -> str | None:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or _CONTROL.search(value.strip()):
        reading.expected(place, "an address such as https://example.org/", value)
        return None
    return value.strip()


def web(value: Any, place: str, reading: Reading) -> str | None:
    """What can be downloaded: ``http`` or ``https``, or what begins with a tag of the personalisation."""
    found = _plain(value, place, reading)
    if found is None or found.lower().startswith(("http://", "https://")) or TAG.match(found):
        return found
    reading.expected(place, "an address with http:// or https://", value)
    return None


def fetched(value: Any, place: str, reading: Reading) -> str | None:
    """What is downloaded before anything is personalised."""
    found = web(value, place, reading)
    if found is not None and has_tag(found):
        reading.fault(place, "is downloaded before the message is personalised, so it can have no tags")
        return None
    return found


def target(value: Any, place: str, reading: Reading) -> str | None:
    """What a link may lead to: any scheme but those that run or reveal something, or a place in the message itself."""
    found = _plain(value, place, reading)
    if found is None or found.startswith("#") or TAG.match(found):
        return found
    scheme = _SCHEME.match(found)
    if scheme and scheme[1].lower() not in _NEVER:
        return found
    reading.expected(place, "an address such as https://example.org/", value)
    return None


Web = Annotated[str, Reader(web)]
Fetched = Annotated[str, Reader(fetched)]


class Link(Struct, frozen=True):
    """Where a link leads."""

    url: Annotated[str, Reader(target)] = ""
    title: Text = ""
    label: Text = ""
    params: Annotated[Pairs, Reader(parameters)] = ()
    attributes: Attributes = ()


def link(value: Any, place: str, reading: Reading) -> Link | None:
    """A text, or an object with ``url``."""
    if isinstance(value, str):
        url = target(value, place, reading)
        return None if url is None else Link(url)
    if not isinstance(value, dict):
        reading.expected(place, "an address, or an object with url", value)
        return None
    found = read(Link, value, place, reading)
    if not found.url and value.get("url") is None:
        reading.fault(f"{place}.url", "is missing")
    return found


LinkOr = Annotated[Link | None, Reader(link)]


def escaped(value: str) -> str:
    """A value of a parameter; tags of the personalisation stay."""
    return "".join(piece if is_tag else quote(piece, safe="") for piece, is_tag in pieces(value))


def with_params(url: str, params: Pairs) -> str:
    """``url`` with parameters: those that it has are replaced, others added."""
    if not params or not url.lower().startswith(("http://", "https://")):
        return url
    base, hash_sign, fragment = url.partition("#")
    path, _, query = base.partition("?")
    ours = {name for name, _ in params}
    kept = [part for part in re.split("[&]", query) if part and unquote_plus(part.partition("=")[0]) not in ours]
    kept += [f"{escaped(name)}={escaped(value)}" for name, value in params]
    return f"{path}?{'&'.join(kept)}{hash_sign}{fragment}"
