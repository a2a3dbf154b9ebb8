"""Where the store of limits is: ``redis://[user:password@]host[:port][/db]``, or ``rediss://…`` with TLS."""

from __future__ import annotations

import attrs


@attrs.frozen(repr=False)
class StoreAddress:
    """Where it is and who we are there. ``str()`` and ``repr()`` leave out the password."""

    host: str
    port: int
    user: str | None
    password: str | None
    db: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"<StoreAddress {self}>"


def parse_store(url: str) -> StoreAddress:
    """Every part percent-decoded; missing: 6379, database 0. ValueError, without the password in it, for what is no
    such address."""
    from urllib.parse import unquote, urlsplit

    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("is no store of limits: redis://host or rediss://host")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has no proper port (a / ? or # in a password is written as %2F %3F %23)") from None
    if not parts.hostname:
        raise ValueError("names no host")
    if port == 0:
        raise ValueError("has no proper port")
    if parts.query or parts.fragment:
        raise ValueError("has a ? or # (in a password they are written as %3F and %23)")
    db = parts.path.strip("/") or "0"
    if not db.isascii() or not db.isdigit() or len(db) > 5:
        raise ValueError("has no proper number of a database behind the host: redis://host:6379/0")
    return StoreAddress(
        host=unquote(parts.hostname),
        port=port or 6379,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        db=int(db),
        tls=parts.scheme == "rediss",
    )
