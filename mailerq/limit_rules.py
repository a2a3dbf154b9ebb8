"""The entries of ``limits``: for whom, and what; from YAML, with all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mailerq.shapes import Read, each_entry, ip, rate, text, time, times, whole, word, wrong
from mailerq.yaml_source import Node, Problem, Table, Wrong, quoted, suggestion

COUNTS: dict[str, Read] = {
    "messages-per-minute": rate(),
    "connects-per-minute": rate(),
    "bytes-per-minute": rate(size=True),
    "max-connections": whole(1),
    "initial-connections": whole(1),
    "max-starting": whole(1),
    "ip-max-connections": whole(1),
    "ip-messages-per-minute": rate(),
    "ip-connects-per-minute": rate(),
    "ip-bytes-per-minute": rate(size=True),
    "connection-max-messages": whole(1),
    "connection-min-messages": whole(0),
    "connection-max-idle": time(zero=True),
    "max-queue": whole(1),
    "offline-time": time(),
}
TIMEOUTS = ("connect", "reply", "end", "tls")
TLS = word("none", "opportunistic", "required", "verified")
OF_A_DOMAIN = ("tls", "retry-interval")  # whatever local address its mail leaves from
OF_A_TAG = ("messages-per-minute", "bytes-per-minute", "retry-interval")


def _pattern(node: Node) -> str:
    return text(node).lower().rstrip(".")


def _ip_pattern(node: Node) -> str:
    given = text(node)
    return given.lower() if any(sign in given for sign in "*?[") else ip(node)


SCOPES: dict[str, Read] = {"domain": _pattern, "mx": _pattern, "ip": _ip_pattern, "pool": text, "tag": text}
KEYS = (*SCOPES, *COUNTS, "timeouts", *OF_A_DOMAIN)


@attrs.frozen
class LimitRule:
    """One entry of ``limits``: for whom it is (None: for all; patterns as in the shell) and its numbers: rates per
    minute, times in seconds (``timeouts`` as ``timeout_connect`` and so on), the rest counts; and what is a recipient
    domain's own. ``line`` 0: built in; a rule is the same wherever it stands."""

    line: int = attrs.field(eq=False)
    domain: str | None = None
    mx: str | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None
    values: Mapping[str, float] = attrs.field(factory=dict)
    tls: str | None = None
    retry_interval: tuple[float, ...] | None = None

    @property
    def is_for_all(self) -> bool:
        """Whether it is the most general one there can be."""
        return (self.domain, self.mx, self.ip, self.pool, self.tag) == ("*", None, None, None, None)


DEFAULT_LIMITS: Mapping[str, float] = {
    "max_connections": 20,
    "initial_connections": 5,
    "max_starting": 4,
    "connection_max_idle": 1.0,
    "max_queue": 1000,
}


def limit_rule(node: Node) -> LimitRule:
    """One entry of ``limits``."""
    if not isinstance(node, Table):
        raise wrong(node, 'must be a mapping, as in {domain: "*", max-connections: 20}')
    rule: dict[str, Any] = {"values": {}}
    problems = _misplaced(node)
    no_null = "cannot be null (to lift a limit, write a large number)"
    problems += each_entry(node, KEYS, lambda name, entry: _read(name, entry.node, rule), no_null)
    if not any(name in SCOPES for name in node.entries) and all(name in KEYS for name in node.entries):
        what = 'must say for whom it is: domain, mx, ip, pool or tag (all: domain: "*")'
        problems.append(Problem(node.mark, "", what))
    if problems:
        raise Wrong(problems)
    return LimitRule(node.mark.line, **rule)


def _read(name: str, node: Node, rule: dict[str, Any]) -> None:
    if name in SCOPES:
        rule[name] = SCOPES[name](node)
    elif name == "timeouts":
        rule["values"].update(_timeouts(node))
    elif name == "tls":
        rule["tls"] = TLS(node)
    elif name == "retry-interval":
        rule["retry_interval"] = times(node)
    else:
        rule["values"][name.replace("-", "_")] = COUNTS[name](node)


def _timeouts(node: Node) -> dict[str, float]:
    if not isinstance(node, Table):
        raise wrong(node, "must be a mapping, as in {connect: 10s, reply: 1m}")
    found: dict[str, float] = {}
    problems = []
    for name, entry in node.entries.items():
        try:
            if name not in TIMEOUTS:
                raise Wrong([Problem(entry.mark, "", f"unknown key{suggestion(name, TIMEOUTS)}")])
            found[f"timeout_{name}"] = time()(entry.node)
        except Wrong as error:
            problems += [problem.under(name) for problem in error.problems]
    if problems:
        raise Wrong(problems)
    return found


def _misplaced(node: Table) -> list[Problem]:
    """Keys that cannot stand beside the scopes of the rule."""
    names = node.entries
    problems = []
    for name in names:
        if "tag" in names and name in KEYS and name not in SCOPES and name not in OF_A_TAG:
            what = f"cannot be limited for a tag, for connections carry mails of all tags; {', '.join(OF_A_TAG)} can"
        elif name in OF_A_DOMAIN and ("ip" in names or "pool" in names):
            what = "belongs to the recipient's domain, whatever address its mail leaves from: leave out ip and pool"
        else:
            continue
        problems.append(Problem(names[name].mark, name, what))
    return problems


def for_all(offline_time: float, rules: tuple[LimitRule, ...] = ()) -> tuple[LimitRule, ...]:
    """``rules`` behind the built-in one for all; a first rule that is for all, too, becomes one with it."""
    values = {**DEFAULT_LIMITS, "offline_time": offline_time}
    first = LimitRule(0, domain="*", values=values)
    if rules and rules[0].is_for_all:
        first = attrs.evolve(rules[0], values={**values, **rules[0].values})
        rules = rules[1:]
    return (first, *rules)


def crossed_limits(rules: tuple[LimitRule, ...], pools: Mapping[str, object]) -> list[tuple[str, str]]:
    """What does not fit together: (key, what)."""
    found = []
    for number, rule in enumerate(rules):
        if rule.pool is not None and rule.pool not in pools:
            hint = suggestion(rule.pool, pools)
            found.append((f"limits.{number}.pool", f"there is no pool {quoted(rule.pool)}{hint}"))
        low, high = rule.values.get("connection_min_messages"), rule.values.get("connection_max_messages")
        if low is not None and high is not None and low > high:
            found.append((f"limits.{number}.connection-min-messages", "is above connection-max-messages"))
    return found
