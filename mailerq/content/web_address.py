"""A URL that can be downloaded, in the one form in which it is asked for and remembered (RFC 3986). Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from msgspec import Struct

from mailerq.route import ascii_name

LONGEST = 8000
"""Characters of a URL."""
_PORTS = {"http": 80, "https": 443}
_BAD = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATH = "/%:@!$&'()*+,;=~-._"


class WebAddress(Struct, frozen=True):
    """``host``: a name or an IP address, without brackets. ``target``: path and query, ASCII. ``login``:
    ``user:password`` as they stand in the URL, or ''."""

    scheme: str
    host: str
    port: int
    target: str
    login: str = ""

    @property
    def origin(self) -> str:
        """``scheme://host``, with the port unless it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != _PORTS[self.scheme] else "")

    @property
    def url(self) -> str:
        """The URL, ASCII, without login."""
        return self.origin + self.target

    @property
    def authorization(self) -> str | None:
        """The value of a header ``Authorization`` (RFC 7617)."""
        if not self.login:
            return None
        user, _, password = self.login.partition(":")
        return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()

    def joined(self, location: str) -> WebAddress:
        """Where a redirect leads to. The login goes to the same server only. Raises ValueError."""
        found = parse(urljoin(self.url, location))
        if found.origin == self.origin and not found.login:
            return WebAddress(found.scheme, found.host, found.port, found.target, self.login)
        return found


def parse(url: str) -> WebAddress:
    """Raises ValueError, saying in a few words what is wrong with it."""
    url = url.strip(" ")
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    if _BAD.search(url):
        raise ValueError("has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in _PORTS:
        raise ValueError("is no http or https URL")
    if port == 0:
        raise ValueError("has no proper port")
    target = quote(parts.path or "/", safe=_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH + "?")
    login = parts.netloc.rpartition("@")[0]
    return WebAddress(parts.scheme, _host(parts.hostname or ""), port or _PORTS[parts.scheme], target, login)


def _host(name: str) -> str:
    if "%" in name:
        raise ValueError("names no proper host")
    try:
        return str(IPv6Address(name) if ":" in name else IPv4Address(name))
    except ValueError:
        if ":" in name:
            raise ValueError("names no proper host") from None
    host = ascii_name(name)
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise ValueError("names no proper host")
    return host


def shown(url: str) -> str:
    """A URL as it may be shown: one line, not too long, without a login."""
    text = re.sub(r"[^!-~\xa1-\ud7ff\ue000-\uffff]", "?", url.strip(" "))
    text = re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1", text)
    return text if len(text) <= 200 else text[:200] + "…"
