"""A provider as a script: which domains it has, how fast it answers, what it does not bear, when it is away.

Pure values; ``remote.py`` plays them.
"""
# ruff: noqa: RUF009 (key() declares an attribute, as attrs.field does)

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from mailerq.reply import Reply, parse_reply
from mailerq.shapes import ip, items, key, plain, rate, section, switch, table, text, time, whole, word, wrong
from mailerq.yaml_source import Items, Node

_REPLY = re.compile(r"([45]\d\d)[ -](.*)", re.DOTALL)


def parse_share(given: str) -> float:
    """A part of all: ``5%`` or ``0.05``."""
    given = given.strip()
    try:
        share = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        raise ValueError("is no share (shares are written 5% or 0.05)") from None
    if not 0 <= share <= 1:
        raise ValueError("must be between 0 and 100 %")
    return share


def reply_of(given: str) -> Reply:
    """A refusal as a host says it: ``451 4.7.1 Try again later``."""
    found = _REPLY.fullmatch(given.strip())
    if found is None:
        raise ValueError("is no refusal (they are written as the host says them: 451 4.7.1 Try again later)")
    return parse_reply(int(found[1]), [found[2].encode()])


share = plain(parse_share)
reply = plain(reply_of)
_hosts = table(items(ip, single=True))


def _mx(node: Node) -> dict[str, tuple[str, ...]]:
    if isinstance(node, Items):  # names alone: their addresses are made up
        return {name.lower(): () for name in items(text)(node)}
    hosts = _hosts(node)
    if not all(hosts.values()):
        raise wrong(node, "each host needs at least one address")
    return {name.lower(): addresses for name, addresses in hosts.items()}


@attrs.frozen
class Latency:
    """Seconds: until a connection is there, and for one answer; ``jitter``: up to so much longer, as a share."""

    connect: float = key(0.03, time(zero=True))
    talk: float = key(0.08, time(zero=True))
    jitter: float = key(0.5, share)


@attrs.frozen
class Outage:
    """``after`` so many seconds from the start, for as long as it ``lasts``, connections are ``refused``, nothing is
    answered (``silent``), or everything with a ``421``."""

    after: float = key(attrs.NOTHING, time(zero=True))
    lasts: float = key(attrs.NOTHING, time())
    kind: str = key("refused", word("refused", "silent", "421"))


@attrs.frozen
class Provider:
    """``domains`` by name, or ``count`` of them that are made up, on so many ``sites`` (0: each on one of its own).
    ``mx``: the addresses of the hosts of ``domains``, by name; without any, they are made up.

    What it bears (``max_connections``, ``messages_per_minute``) holds for one site of it and one of our addresses, for
    a host knows us by address; ``too_many`` is its greeting and ``too_fast`` its answer when that is exceeded.
    ``greylist``: seconds for which it makes the first attempt wait, for the share ``greylisted`` of its sites.
    Shares: ``unknown`` recipients (the same ones each time), mails that are ``deferred``, talks that it ``drops``.
    ``closes_idle``: seconds after which it closes an idle connection. ``takes``: bytes a minute of each message.
    """

    domains: tuple[str, ...] = key((), items(text, single=True))
    count: int = key(0, whole(0))
    sites: int = key(0, whole(0))
    mx: Mapping[str, tuple[str, ...]] = key(attrs.Factory(dict), _mx)
    latency: Latency = key(attrs.Factory(Latency), section(Latency))
    max_connections: int | None = key(None, whole(1), null=True)
    messages_per_minute: float | None = key(None, rate(), null=True)
    too_many: Reply = key(reply_of("421 4.7.0 Too many connections from your address"), reply)
    too_fast: Reply = key(reply_of("451 4.7.0 Too many messages, try again later"), reply)
    greylist: float | None = key(None, time(), null=True)
    greylisted: float = key(1.0, share)
    greylisting: Reply = key(reply_of("451 4.7.1 Greylisted, please try again later"), reply)
    unknown: float = key(0.0, share)
    no_such_user: Reply = key(reply_of("550 5.1.1 No such user here"), reply)
    deferred: float = key(0.0, share)
    not_now: Reply = key(reply_of("451 4.3.0 Temporary failure, try again later"), reply)
    drops: float = key(0.0, share)
    outages: tuple[Outage, ...] = key((), items(section(Outage)))
    closes_idle: float | None = key(None, time(), null=True)
    pipelining: bool = key(True, switch)
    tls: bool = key(True, switch)
    takes: float = key(1.2e9, rate(size=True))
    name: str = ""

    def away(self, since_start: float) -> str:
        """How it is away then: the ``kind`` of the outage, '' where there is none."""
        for outage in self.outages:
            if outage.after <= since_start < outage.after + outage.lasts:
                return outage.kind
        return ""

    def how_many_sites(self) -> int:
        """Of the domains that are made up."""
        return min(self.sites or self.count, self.count)
