"""Where the stores on other machines are: their addresses, which parts they have, and how they are shown."""

from __future__ import annotations

import re

import attrs

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\Z")
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?\Z")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_AS_PERCENT = "a / ? # @ or : in a password is written as %2F %3F %23 %40 %3A"
TABLE = "mailerq_messages"
DATABASE, COLLECTION = "mailerq", "messages"


@attrs.frozen(repr=False)
class _Shown:
    """``where`` is how it is shown: without a password."""

    where: str

    def __str__(self) -> str:
        return self.where

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"


@attrs.frozen(repr=False)
class PostgresAddress(_Shown):
    """``url`` is for libpq; ``table`` may have a schema before it."""

    url: str
    table: str


@attrs.frozen(repr=False)
class MongoAddress(_Shown):
    """``url`` is for the driver, which finds the ``database`` in it; ``tls``: whether it is spoken."""

    url: str
    database: str
    collection: str
    tls: bool


@attrs.frozen(repr=False)
class S3Address(_Shown):
    """``prefix`` is empty or ends with a slash. ``user`` and ``password`` None: the environment, the profile or the
    machine says who we are. ``endpoint`` None: Amazon's."""

    bucket: str
    prefix: str
    user: str | None
    password: str | None
    region: str | None
    endpoint: str | None


def parse_postgres(address: str) -> PostgresAddress:
    """``postgresql://[user[:password]@][host[:port]]/database[?table=…&sslmode=…]``: as libpq takes it, and the table.
    ValueError, without the password in it, for what is no such address."""
    head, hosts, path, options = _split(address, "postgresql")
    table, others = TABLE, []
    for option in filter(None, options.split("&")):
        name, _, value = option.partition("=")
        if name == "table":
            table = value
        else:
            others.append(option)
    if not _TABLE.match(table):
        raise ValueError("names no proper table: small letters, digits and _, as in ?table=mail.bodies")
    query = f"?{'&'.join(others)}" if others else ""
    return PostgresAddress(f"postgresql://{hosts}{path}", f"{head}{path}{query}", table)


def parse_mongo(address: str) -> MongoAddress:
    """``mongodb://[user:password@]host[:port][,host…][/database[/collection]][?options]``; without them the database is
    ``mailerq``, the collection ``messages``. ValueError, without the password in it, for what is no such address."""
    head, hosts, path, options = _split(address, "mongodb")
    database, _, collection = path.strip("/").partition("/")
    database, collection = database or DATABASE, collection or COLLECTION
    if not _NAME.match(database) or not _NAME.match(collection):
        raise ValueError("has no proper /database/collection behind the host: letters, digits, - and _")
    if not hosts:
        raise ValueError("names no host")
    query = f"?{options}" if options else ""
    said = {option.lower() for option in options.split("&")}
    where = f"mongodb://{hosts}/{database}/{collection}"
    tls = bool({"tls=true", "ssl=true"} & said)
    if tls and "," in hosts:
        raise ValueError(
            "has several hosts: with TLS it may have one host, as its name is compared with the certificate"
        )
    return MongoAddress(where, f"{head}/{database}{query}", database, collection, tls)


def parse_s3(address: str) -> S3Address:
    """``s3://[key:secret@]bucket[/prefix][?region=…&endpoint=…]``. ValueError, without the secret in it, for what is no
    such address."""
    from urllib.parse import parse_qsl, unquote

    head, bucket, path, options = _split(address, "s3")
    if not _BUCKET.match(bucket):
        raise ValueError("names no proper bucket: s3://bucket/prefix")
    said = dict(parse_qsl(options, keep_blank_values=True))
    for name in said.keys() - {"region", "endpoint"}:
        raise ValueError(f"has an unknown option {name[:40]!r}: there are region and endpoint")
    endpoint = said.get("endpoint") or None
    if endpoint is not None and not re.match(r"https?://[^/@\s?#]+/?\Z", endpoint):
        raise ValueError("has no proper endpoint: ?endpoint=https://host:port")
    user, colon, password = head.removeprefix("s3://").rpartition("@")[0].partition(":")
    if user and not (colon and password):
        raise ValueError("has a key without a secret: s3://key:secret@bucket")
    prefix = path.strip("/")
    if prefix and not all(_NAME.match(part) for part in prefix.split("/")):
        raise ValueError("has a prefix of other than letters, digits, - and _: s3://bucket/prefix")
    where = f"s3://{bucket}{f'/{prefix}' if prefix else ''}{f' at {endpoint}' if endpoint else ''}"
    return S3Address(
        where,
        bucket,
        f"{prefix}/" if prefix else "",
        unquote(user) or None,
        unquote(password) or None,
        said.get("region") or None,
        endpoint,
    )


def _split(address: str, scheme: str) -> tuple[str, str, str, str]:
    """All before the path, the hosts in it, the path, the options."""
    if not address.startswith(f"{scheme}://"):
        raise ValueError(f"is no address of this kind: {scheme}://…")
    if "#" in address or any(char.isspace() or not char.isprintable() for char in address):
        raise ValueError(f"has a character that cannot stand in it ({_AS_PERCENT})")
    rest, _, options = address.removeprefix(f"{scheme}://").partition("?")
    place, slash, path = rest.partition("/")
    if place.count("@") > 1 or "@" in path or "@" in options.partition("endpoint=")[0]:
        raise ValueError(f"has an @ too many ({_AS_PERCENT})")
    hosts = place.rpartition("@")[2]
    if scheme != "s3" and not all(map(_is_host, hosts.split(","))):
        raise ValueError(f"is no proper address: look at the host and its port ({_AS_PERCENT})")
    return f"{scheme}://{place}", hosts, f"{slash}{path}", options


def _is_host(text: str) -> bool:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        return ":" not in text or text.startswith("[")
    return port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536 and (":" not in host or host[:1] == "[")


NEEDS = {
    "postgresql": ("psycopg", "postgres"),
    "mongodb": ("txmongo", "mongo"),
    "s3": ("boto3", "s3"),
}
"""By kind: the library, and the extra that brings it."""


def problem_of(address: str) -> str | None:
    """What is wrong with the address of such a store, its library missing included; None: nothing, or it is of another
    kind. The text has no password in it."""
    from importlib.util import find_spec

    kind = address.partition(":")[0]
    if kind not in NEEDS:
        return None
    try:
        {"postgresql": parse_postgres, "mongodb": parse_mongo, "s3": parse_s3}[kind](address)
    except ValueError as problem:
        return str(problem)
    library, extra = NEEDS[kind]
    if find_spec(library) is None:
        return f"needs {library}, which is not installed: pip install 'mailerq[{extra}]'"
    return _refused(kind, address)


def _refused(kind: str, address: str) -> str | None:
    """Whether the library takes the address; what it says is not repeated, as a password may be in it."""
    try:
        if kind == "postgresql":
            from psycopg.conninfo import conninfo_to_dict

            conninfo_to_dict(parse_postgres(address).url)
        elif kind == "mongodb":
            import warnings

            from pymongo.uri_parser import parse_uri

            with warnings.catch_warnings():
                warnings.simplefilter("error")
                parse_uri(parse_mongo(address).url)
    except ImportError as problem:
        return f"needs {NEEDS[kind][0]}, which is installed and cannot be loaded: {problem}"
    except Exception:
        return f"is no proper address: look at its options ({_AS_PERCENT})"
    return None
