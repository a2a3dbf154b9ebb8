"""The configuration: YAML → frozen settings, with all errors at once, each with file, line, column and key.

Every key is one attribute below, in dash-case in the file and snake_case here; times are seconds, sizes bytes, rates
per minute. Nothing is opened, resolved or connected here, and importing this is quick.
"""
# ruff: noqa: RUF009 (key() declares an attribute, as attrs.field does)

from __future__ import annotations

import os
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path
from typing import Any

import attrs

from mailerq.content.dkim_rules import KEYS as DKIM_KEYS
from mailerq.content.dkim_rules import DkimRule, dkim_rule
from mailerq.content.download_rules import DownloadRules
from mailerq.content.list_header_rules import KEYS as LIST_HEADER_KEYS
from mailerq.content.list_header_rules import ListHeaderRule, list_header_rule
from mailerq.content.verp_rules import KEYS as VERP_KEYS
from mailerq.content.verp_rules import VerpRule, read_verp
from mailerq.dsn.keys import DsnRules
from mailerq.limit_rules import KEYS as LIMIT_KEYS
from mailerq.limit_rules import TLS, LimitRule, crossed_limits, for_all, limit_rule
from mailerq.limits_store.address import StoreAddress, parse_store
from mailerq.response_rules import KEYS as RESPONSE_KEYS
from mailerq.response_rules import ResponseRule, response
from mailerq.schedule_rules import KEYS as SCHEDULE_KEYS
from mailerq.schedule_rules import ScheduleRule, doubtful, schedule_rule
from mailerq.shapes import (
    endpoint,
    entry_of,
    items,
    key,
    keys_of,
    scalar,
    secret,
    section,
    switch,
    table,
    takes_null,
    text,
    time,
    times,
    values_of,
    weighted,
    whole,
    word,
    wrong,
)
from mailerq.stores.address import KEYS as STORE_KEYS
from mailerq.stores.address import Store, read_store
from mailerq.yaml_source import Mark, Node, Problem, Table, Wrong, quoted, read

PORT = whole(1, 65535)
MOST_WORKERS = 256


class SettingsError(Exception):
    """The configuration cannot be used. ``errors``: all that is wrong, each ``file:line:column: key: what``."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def without_password(address: str) -> str:
    """A URL as it may be shown."""
    before, at, host = address.rpartition("@")
    scheme, slashes, user = before.partition("://")
    if not at:
        return address
    return f"{scheme}://{user.partition(':')[0]}:***@{host}" if slashes else f"***@{host}"


def _addresses(addresses: tuple[str, ...]) -> str:
    return repr(tuple(without_password(address) for address in addresses))


@attrs.frozen
class Broker:
    """Where the queues are: ``kind`` is ``sqlite`` (``path``: the file) or ``amqp`` (``addresses``: URLs, tried in
    turn). ``ca``: a file of CAs for ``amqps``. ``heartbeat``: seconds, 0 = none."""

    kind: str = "sqlite"
    path: str | None = "var/queue.db"
    addresses: tuple[str, ...] = attrs.field(default=(), repr=_addresses)
    ca: str | None = None
    heartbeat: float = 30.0


@attrs.frozen
class _BrokerKeys:
    address: tuple[str, ...] = key(attrs.NOTHING, items(secret, single=True))
    ca: str | None = key(None, text, null=True)
    heartbeat: float = key(30.0, time(zero=True))


def _broker(node: Node) -> Broker:
    """A broker, from one address, a list of them, or a mapping with ``address``."""
    if isinstance(node, Table):
        keys: _BrokerKeys = section(_BrokerKeys)(node)
        addresses, ca, heartbeat = keys.address, keys.ca, keys.heartbeat
    else:
        addresses, ca, heartbeat = items(secret, single=True)(node), None, 30.0
    if not addresses:
        raise wrong(node, "needs an address: sqlite:FILE or amqp://user:password@host:5672/vhost")
    if addresses[0].startswith("sqlite:"):
        if len(addresses) > 1:
            raise wrong(node, "a cluster is a list of amqp:// addresses; sqlite: stands alone")
        path = addresses[0].removeprefix("sqlite:")
        if not path:
            raise wrong(node, "sqlite: needs a file, as in sqlite:var/queue.db")
        if ca:
            raise wrong(node, "ca is of use with amqps:// only")
        return Broker("sqlite", path, (), None, heartbeat)
    faults = [f"{quoted(without_password(given))} {what}" for given in addresses if (what := _no_amqp(given))]
    if faults:
        raise Wrong([Problem(node.mark, "", fault) for fault in faults])
    if ca and not any(given.startswith("amqps:") for given in addresses):
        raise wrong(node, "ca is of use with amqps:// only")
    return Broker("amqp", None, addresses, ca, heartbeat)


def _no_amqp(address: str) -> str:
    """What keeps ``address`` from being an AMQP URL; empty if nothing does."""
    from urllib.parse import urlsplit

    if not address.startswith(("amqp://", "amqps://")):
        return "is no broker: sqlite:FILE, amqp://host or amqps://host"
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        return "has no proper port (a / ? or # in a password is written as %2F %3F %23)"
    if not url.hostname:
        return "names no host"
    if port == 0:
        return "has no proper port"
    if url.query or url.fragment:
        return "has a ? or # (in a password they are written as %3F and %23)"
    return ""


def _queue(node: Node) -> str:
    name = text(node)
    if len(name.encode()) > 255:
        raise wrong(node, "a queue's name has at most 255 bytes")
    if name.startswith("amq."):
        raise wrong(node, "names that begin with amq. belong to the broker")
    return name


def _as_outbox(self: Any) -> Any:
    return self.outbox


@attrs.frozen
class Queues:
    """Names of the queues (None: off) and what kind they are."""

    outbox: str = key("outbox", _queue)
    inbox: str | None = key(attrs.Factory(_as_outbox, takes_self=True), _queue, null=True)
    results: str | None = key("results", _queue, null=True)
    success: str | None = key("success", _queue, null=True)
    failure: str | None = key("failure", _queue, null=True)
    retry: str | None = key("retry", _queue, null=True)
    invalid: str | None = key("invalid", _queue, null=True)
    dsn: str | None = key(attrs.Factory(_as_outbox, takes_self=True), _queue, null=True)
    type: str = key("classic", word("classic", "quorum"))
    declare: bool = key(True, switch)
    durable: bool = key(True, switch)
    persistent: bool = key(True, switch)
    max_priority: int | None = key(None, whole(1, 255), null=True)
    max_unconfirmed: int = key(500, whole(1))
    results_include_retries: bool = key(False, switch)
    window: int = key(5000, whole(1, 65535))
    by_address: bool = key(False, switch)
    compress: str = key("none", word("none", "gzip"))


@attrs.frozen
class Delivery:
    """How long and how often a job is tried, and by which of their properties jobs take turns (``fair_by``; None: first
    come, first served). ``max_attempts`` 0: without limit."""

    max_attempts: int = key(6, whole(0))
    max_delivery_time: float = key(86400.0, time())
    retry_interval: tuple[float, ...] = key((600.0, 600.0, 1800.0, 1800.0, 3600.0, 3600.0, 7200.0), times)
    offline_time: float = key(300.0, time())
    hold: float = key(5.0, time())
    drain: float = key(30.0, time(zero=True))
    in_doubt: str = key("retry", word("retry", "fail", "hold"))
    nohosts: str = key("retry", word("retry", "fail"))
    fair_by: str | None = key("tag", text, null=True)


@attrs.frozen
class Timeouts:
    """How long an answer is awaited: the connection, each reply, the reply to the message's end, the TLS handshake."""

    connect: float = key(30.0, time())
    reply: float = key(60.0, time())
    end: float = key(600.0, time())
    tls: float = key(30.0, time())


def _ehlo(node: Node) -> str:
    name = text(node)
    if not name.isascii() or " " in name or len(name) > 255:
        raise wrong(node, f"{quoted(name)} is no host name")
    return name


@attrs.frozen
class Smtp:
    """How hosts are spoken to. ``hostname`` None: this host's name; ``ips`` empty: whatever the system picks."""

    port: int = key(25, PORT)
    max_connections: int = key(1000, whole(1))
    hostname: str | None = key(None, _ehlo, null=True)
    ips: tuple[str, ...] = key((), weighted)
    tls: str = key("opportunistic", TLS)
    tls_forget: float = key(3600.0, time(zero=True))
    timeouts: Timeouts = key(attrs.Factory(Timeouts), section(Timeouts))
    auth_in_clear: bool = key(False, switch)
    ca: str | None = key(None, text, null=True)


def _server(node: Node) -> tuple[str, int]:
    address, port = endpoint(node)
    return address, port or 53


def _fixed_hosts(node: Node) -> dict[str, tuple[tuple[str, int | None], ...]]:
    read_addresses = items(endpoint, single=True)

    def read_some(of: Node) -> tuple[tuple[str, int | None], ...]:
        addresses = read_addresses(of)
        if not addresses:
            raise wrong(of, "needs at least one address")
        return addresses

    return {domain.lower().rstrip("."): addresses for domain, addresses in table(read_some)(node).items()}


@attrs.frozen
class Dns:
    """Whom to ask (nobody: the system's servers) and what not to ask: ``hosts`` maps domains (or patterns) to the
    addresses where their mail goes; port None: ``smtp.port``."""

    servers: tuple[tuple[str, int], ...] = key((), items(_server, single=True))
    timeout: float = key(5.0, time())
    hosts: Mapping[str, tuple[tuple[str, int | None], ...]] = key(attrs.Factory(dict), takes_null(_fixed_hosts))


@attrs.frozen
class Smarthost:
    """The one host that all mail goes to."""

    hostname: str = key(attrs.NOTHING, _ehlo)
    port: int = key(25, PORT)
    username: str | None = key(None, secret, null=True)
    password: str | None = attrs.field(default=None, repr=False, metadata={"read": secret, "null": True})


def _smarthost(node: Node) -> Smarthost:
    host: Smarthost = section(Smarthost)(node)
    if (host.username is None) != (host.password is None):
        raise wrong(node, "username and password are needed together")
    return host


def _default_limits(self: Any) -> tuple[LimitRule, ...]:
    return for_all(self.delivery.offline_time)


def _pools(node: Node) -> dict[str, tuple[str, ...]]:
    pools = table(weighted)(node)
    if isinstance(node, Table):
        empty = [Problem(node.entries[name].mark, name, "has no address") for name in pools if not pools[name]]
        if empty:
            raise Wrong(empty)
    return pools


def _limits_store(node: Node) -> StoreAddress:
    from importlib.util import find_spec

    try:
        address = parse_store(secret(node))
    except ValueError as problem:
        raise wrong(node, str(problem)) from None
    if find_spec("txredisapi") is None:
        raise wrong(node, "needs txredisapi, which is not installed: pip install 'mailerq[redis]'")
    return address


AUTO = 0  # workers: as many as there are processors


def _workers(node: Node) -> int:
    given = scalar(node).text
    if given == "auto":
        return AUTO
    if not given.isdecimal() or not given.isascii() or len(given) > 4 or not 1 <= int(given) <= MOST_WORKERS:
        raise wrong(node, f"must be a number from 1 to {MOST_WORKERS}, or auto: as many as there are processors")
    return int(given)


@attrs.frozen
class Log:
    """The lines about mails: ``mails`` whether there are any, ``format`` ``text`` or ``json``, ``file`` None: where
    twistd writes its own."""

    mails: bool = key(True, switch)
    format: str = key("text", word("text", "json"))
    file: str | None = key(None, text, null=True)


@attrs.frozen
class Settings:
    """All of it. ``source`` is the file's name; two that say the same are equal wherever they come from.

    ``workers``: how many processes, ``AUTO`` as many as there are processors.

    ``limits`` begin with the built-in rule for all (``domain`` ``*``), which a first rule of the file that is for all
    has been merged into; later rules win, key by key."""

    broker: Broker = key(attrs.Factory(Broker), _broker)
    queues: Queues = key(attrs.Factory(Queues), section(Queues))
    store: Store | None = key(None, read_store, null=True)
    delivery: Delivery = key(attrs.Factory(Delivery), section(Delivery))
    smtp: Smtp = key(attrs.Factory(Smtp), section(Smtp))
    dns: Dns = key(attrs.Factory(Dns), section(Dns))
    smarthost: Smarthost | None = key(None, _smarthost, null=True)
    limits: tuple[LimitRule, ...] = key(attrs.Factory(_default_limits, takes_self=True), items(limit_rule))
    pools: Mapping[str, tuple[str, ...]] = key(attrs.Factory(dict), takes_null(_pools))
    schedules: tuple[ScheduleRule, ...] = key((), items(schedule_rule))
    responses: tuple[ResponseRule, ...] = key((), items(response))
    dkim: tuple[DkimRule, ...] = key((), items(dkim_rule))
    verp: tuple[VerpRule, ...] = key((), read_verp, null=True)
    list_headers: tuple[ListHeaderRule, ...] = key((), items(list_header_rule))
    downloads: DownloadRules = key(attrs.Factory(DownloadRules), section(DownloadRules))
    dsn: DsnRules = key(attrs.Factory(DsnRules), section(DsnRules))
    workers: int = key(1, _workers)
    limits_store: StoreAddress | None = key(None, _limits_store, null=True)
    manhole: str | None = key(None, text, null=True)
    log: Log = key(attrs.Factory(Log), section(Log))
    journal: str = key("var/journal", text)
    state: str = key("var/state", text)
    control: str | None = key("var/control", text, null=True)
    source: str = attrs.field(default="built-in defaults", eq=False)


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file; None: the built-in defaults. Raises ``SettingsError`` with all that is wrong."""
    if path is None:
        return parse("", "built-in defaults", environ)
    return parse(content_of(path), path, environ)


FIXED_AT_START = (
    "broker",
    "queues",
    "store",
    "journal",
    "state",
    "control",
    "manhole",
    "log",
    "workers",
    "limits_store",
)


def running(settings: Settings, before: Settings) -> tuple[Settings, list[str]]:
    """What of ``settings`` can hold in a process that was started with ``before``, and the keys that cannot."""
    fixed = [key for key in FIXED_AT_START if getattr(settings, key) != getattr(before, key)]
    return attrs.evolve(settings, **{key: getattr(before, key) for key in FIXED_AT_START}), fixed


def content_of(path: str) -> str:
    """The text of a YAML file. Raises ``SettingsError``."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError([f"{path}:{line}:1: is not written in UTF-8"]) from None


def parse(text: str, name: str, environ: Mapping[str, str]) -> Settings:
    """The settings that a YAML text says; ``name`` is what errors call it. Raises ``SettingsError``."""
    root, problems = read(text, environ)
    root = root if root is not None else Table(Mark(1, 1), {})
    values, more = values_of(Settings, root)
    problems += [_elsewhere(problem) for problem in more]
    settings = Settings(**values, source=name)
    unsure = any(problem.path.split(".")[0] == "pools" for problem in problems)
    problems += [_at(root, path, what) for path, what in crossed(settings) if not (unsure and path.endswith(".pool"))]
    if problems:
        problems.sort(key=lambda problem: (problem.mark.line, problem.mark.column))
        raise SettingsError([_shown(name, problem) for problem in problems])
    return attrs.evolve(settings, limits=for_all(settings.delivery.offline_time, values.get("limits", ())))


def _shown(name: str, problem: Problem) -> str:
    key_path = f" {problem.path}:" if problem.path else ""
    return f"{name}:{problem.mark.line}:{problem.mark.column}:{key_path} {problem.what}"


def _at(root: Node, path: str, what: str) -> Problem:
    entry = entry_of(root, path) or entry_of(root, path.partition(".")[0])
    return Problem(entry.mark if entry else Mark(1, 1), path, what)


def _elsewhere(problem: Problem) -> Problem:
    """Says of an unknown key that it is known in another section."""
    if problem.what != "unknown key":
        return problem
    name = problem.path.rpartition(".")[2]
    homes = [known for known in known_keys() if known.rpartition(".")[2] == name]
    return attrs.evolve(problem, what=f"unknown key (did you mean {quoted(homes[0])}?)") if homes else problem


def known_keys() -> list[str]:
    """All keys of the configuration, dotted, in the order of the classes above."""
    sections: dict[str, Any] = {"broker": _BrokerKeys, "smarthost": Smarthost}

    def walk(cls: Any, prefix: str) -> list[str]:
        found = []
        for name, field in keys_of(cls).items():
            found.append(prefix + name)
            below = getattr(field.metadata["read"], "section", None) or (sections.get(name) if not prefix else None)
            found += walk(below, f"{prefix}{name}.") if below else []
        return found

    keys = walk(Settings, "")
    at = keys.index("store") + 1
    keys[at:at] = [f"store.{name}" for name in STORE_KEYS]
    at = keys.index("limits") + 1
    keys[at:at] = [f"limits.{name}" for name in LIMIT_KEYS]
    at = keys.index("schedules") + 1
    keys[at:at] = [f"schedules.{name}" for name in SCHEDULE_KEYS]
    at = keys.index("dkim") + 1
    keys[at:at] = [f"dkim.{name}" for name in DKIM_KEYS]
    at = keys.index("verp") + 1
    keys[at:at] = [f"verp.{name}" for name in VERP_KEYS]
    at = keys.index("list-headers") + 1
    keys[at:at] = [f"list-headers.{name}" for name in LIST_HEADER_KEYS]
    at = keys.index("responses") + 1
    return keys[:at] + [f"responses.{name}" for name in RESPONSE_KEYS] + keys[at:]


def crossed(settings: Settings) -> list[tuple[str, str]]:
    """What does not fit together: (key, what)."""
    queues = settings.queues
    found = [
        (f"queues.{name}", f"is the outbox ({quoted(queues.outbox)}): results would be taken for jobs")
        for name in ("results", "success", "failure", "retry", "invalid")
        if getattr(queues, name) == queues.outbox
    ]
    if queues.type == "quorum" and queues.max_priority is not None:
        found.append(("queues.max-priority", "quorum queues have no priorities"))
    if queues.type == "quorum" and not queues.durable:
        found.append(("queues.durable", "quorum queues are always durable"))
    if settings.store and settings.store.kind == "sqlite" == settings.broker.kind:
        path = settings.store.address.partition(":")[2]
        if normpath(path) == normpath(str(settings.broker.path)):
            found.append(("store", "is the file of the queue: bodies need a file of their own"))
    if queues.by_address and settings.broker.kind != "amqp":
        found.append(("queues.by-address", "is for several machines, which need RabbitMQ (broker: amqp://…)"))
    found += crossed_limits(settings.limits, settings.pools)
    found += [(f"schedules.{path}", what) for path, what in doubtful(settings.schedules, settings.pools)]
    return found
