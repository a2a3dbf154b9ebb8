"""What to say after AUTH (RFC 4954; PLAIN: RFC 4616; LOGIN has no RFC). Pure; no secret ever gets into a text."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailerq.smtp.extensions import Extensions

if TYPE_CHECKING:
    from mailerq.smtp.factory import ConnectOptions


class NoAuth(Exception):
    """There is no way to authenticate. The text says why."""


def exchange(options: ConnectOptions, extensions: Extensions, secure: bool) -> Iterator[bytes]:
    """The lines to send, the first at once, each other after a 334. Raises NoAuth."""
    if not secure and not options.auth_in_clear:
        raise NoAuth("AUTH: a password is not sent in clear (no TLS)")
    name = (options.username or "").encode()
    password = (options.password or "").encode()
    if "PLAIN" in extensions.auth:
        response = b64encode(b"\0" + name + b"\0" + password) + b"\r\n"
        return iter((b"AUTH PLAIN " + response, response))  # once more for a host that did not read it there
    if "LOGIN" in extensions.auth:
        return iter((b"AUTH LOGIN\r\n", b64encode(name) + b"\r\n", b64encode(password) + b"\r\n"))
    offered = " ".join(sorted(extensions.auth)) or "nothing"
    raise NoAuth(f"AUTH: the host offers neither PLAIN nor LOGIN, but {offered[:200]}")


def without_secrets(text: str, options: ConnectOptions) -> str:
    """``text``, should the host repeat the password in it, without."""
    name, password = (options.username or "").encode(), (options.password or "").encode()
    if not password:
        return text
    plain = b64encode(b"\0" + name + b"\0" + password).decode()
    for secret in (plain, b64encode(password).decode(), options.password or ""):
        text = text.replace(secret, "***")
    return text
