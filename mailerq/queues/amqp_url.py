"""Addresses of AMQP brokers: ``amqp://user:password@host:port/vhost``, as RabbitMQ's URI specification has them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import msgspec


class AmqpAddress(msgspec.Struct, frozen=True):
    """Where a broker is and who we are there. ``str()`` leaves out the password."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.tls else 'amqp'}://{self.user}@{host}:{self.port} (vhost {self.vhost})"

    def __repr__(self) -> str:
        return f"<AmqpAddress {self}>"


def parse_address(url: str) -> AmqpAddress:
    """Every part percent-decoded. Missing: guest, guest, localhost, 5672 (5671 with TLS), vhost ``/``; an empty path
    behind the slash means ``/`` too. ValueError, without the password in it, for what is no such address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise ValueError(f"this is no AMQP address: {_mute(problem)}") from None
    if parts.scheme not in ("amqp", "amqps"):
        raise ValueError("an AMQP address begins with amqp:// or amqps://")
    if parts.path.count("/") > 1:
        raise ValueError("the vhost of an AMQP address is one name: write a slash in it as %2F")
    tls = parts.scheme == "amqps"
    return AmqpAddress(
        host=unquote(parts.hostname or "localhost"),
        port=port or (5671 if tls else 5672),
        user=unquote(parts.username if parts.username is not None else "guest"),
        password=unquote(parts.password if parts.password is not None else "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        tls=tls,
    )


def _mute(problem: ValueError) -> str:
    """urllib quotes what it could not read, which may be a part of a password with a bare ``/`` or ``:`` in it."""
    return (
        "the port is no number (a special character in the password has to be written as %XX)"
        if ("ort" in str(problem))
        else "it cannot be read"
    )
