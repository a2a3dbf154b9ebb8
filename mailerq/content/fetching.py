"""One request over HTTP, to an address that was looked at: no redirects, no memory, one connection."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, PartialDownloadError, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from mailerq.content.checked_way import Way
from mailerq.content.download_rules import DownloadRules
from mailerq.content.flight import FetchError
from mailerq.content.host_names import Names
from mailerq.content.web_address import WebAddress


class Response(Struct, frozen=True):
    """``body`` is empty unless ``code`` is 200."""

    code: int
    headers: Headers
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """The values of all headers of that name."""
        return _values(self.headers, name)

    def header(self, name: str) -> str:
        """The first of them, or ''."""
        return (self.all(name) or [""])[0]


async def fetch(reactor: Any, address: WebAddress, rules: DownloadRules, names: Names, trust: Any) -> Response:
    """Ask for ``address``. Raises FetchError. May be cancelled; the connection is always closed in the end. ``trust``:
    a trust root for certificates."""
    way = Way(reactor, address, rules, names, trust)
    headers = {"User-Agent": [rules.user_agent], "Accept": ["*/*"], "Accept-Encoding": ["identity"]}
    if address.authorization:
        headers["Authorization"] = [address.authorization]
    try:
        agent: Any = Agent.usingEndpointFactory(reactor, way)
        response = await agent.request(b"GET", address.url.encode("ascii"), Headers(headers))
        way.head_is_there()
        if response.code != 200:
            return Response(response.code, response.headers)
        _check(response, rules.max_size)
        return Response(response.code, response.headers, await _body(response, rules.max_size))
    except (FetchError, GeneratorExit):
        raise
    except Exception as error:
        raise way.refused or FetchError(reason(error)) from error
    finally:
        way.close()


def _values(headers: Headers, name: str) -> list[str]:
    """Of a header; servers may say any bytes."""
    return [value.decode("utf-8", "replace").strip() for value in headers.getRawHeaders(name.encode()) or ()]


def _check(response: Any, most: int) -> None:
    """Whether the body may come."""
    codings = ",".join(_values(response.headers, "content-encoding")).lower().split(",")
    if {coding.strip() for coding in codings} - {"", "identity"}:
        raise FetchError("it is compressed (Content-Encoding), which was not asked for", False)
    if isinstance(response.length, int) and response.length > most:
        raise FetchError(_too_large(most), False)


def _too_large(most: int) -> str:
    return f"it has more than {most} bytes (downloads.max-size)"


def _body(response: Any, most: int) -> Deferred[bytes]:
    body = _Body(most)
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    """Collects a body; gives up when there is too much of it."""

    def __init__(self, most: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._give_up())
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False

    def _give_up(self) -> None:
        self._over = True
        self._pieces.clear()

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._size += len(data)
        self._pieces.append(data)
        if self._size > self._most:
            self._give_up()
            self.done.errback(FetchError(_too_large(self._most), False))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._over = True
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)
        self._pieces = []


def reason(error: Any) -> str:
    """Why a request failed, in a few words."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return reason(_telling(reasons))
    if type(error).__name__ == "VerificationError":
        return "TLS could not be set up: the certificate is for another name"
    if type(error).__module__.startswith("OpenSSL"):
        return f"TLS could not be set up: {_tls_reason(error)}"
    if isinstance(error, ConnectionDone):
        return "the server closed the connection"
    if isinstance(error, PartialDownloadError):
        return "the connection was closed before all was there"
    return str(error)[:200] or type(error).__name__


def _telling(reasons: list[Failure]) -> Any:
    """The failure that says most: not the end of the connection, where there is another."""
    return next((failure for failure in reasons if not failure.check(ConnectionDone)), reasons[0]).value


def _tls_reason(error: Any) -> str:
    try:
        return str(error.args[0][0][2])
    except (IndexError, TypeError):
        return str(error)[:200] or type(error).__name__
