"""The rules of ``responses:``: which replies each is for, what is to be done then. From YAML to values, all that is
wrong at once. ``responses.py`` makes use of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs

from mailerq.bounce_classes import BOUNCE_CLASSES, GREYLISTED
from mailerq.patterns import matches, trouble
from mailerq.shapes import Read, each_entry, items, plain, rate, switch, text, time, whole, word, wrong
from mailerq.yaml_source import Entry, Items, Node, Problem, Scalar, Table, Wrong, quoted, suggestion

TYPES = (
    *("nohosts", "bind", "refused", "connect", "noaccess", "error", "lost", "timeout", "nodata", "expired", "idle"),
    *("overflow", "tls", "responsive"),
)
STATES = (
    *("connect", "init", "ehlo", "helo", "starttls", "auth", "mail from", "rcpt to", "data", "received", "accept"),
    *("reset", "idle", "close"),
)
RESERVED = frozenset(
    [
        *("recipient", "envelope", "mime", "key", "keepmime", "maxdelivertime", "maxattempts", "retries"),
        *(
            "nextattempt",
            "delayed",
            "ips",
            "pool",
            "queues",
            "smarthost",
            "dkim",
            "dsn",
            "headers",
            "inlinecss",
            "normalize",
            "data",
        ),
        *("tags", "priority", "security", "force", "results", "seen", "domain"),
    ]
)  # properties that have a meaning of their own: no rule may set them
SLOW_KEYS: dict[str, Read] = {
    "messages-per-minute": rate(),
    "connects-per-minute": rate(),
    "bytes-per-minute": rate(size=True),
    "max-connections": whole(1),
    "max-starting": whole(1),
    "connection-max-messages": whole(1),
}
SLOW_FOR = 3600.0  # seconds that a slow-down lasts where the rule does not say

_CODE = re.compile(r"[1-5](?:[0-9][0-9]|[0-9]x|xx)", re.ASCII)
_STATUS = re.compile(r"(?:[245*?x]|\[[245]+\])(?:\.(?:[0-9?*]{1,4}|\[[0-9]+\])){0,2}", re.ASCII)


@attrs.frozen(kw_only=True)
class ResponseRule:
    """One entry of ``responses``. Conditions: each that is given (not empty) must hold, and of a condition one of its
    alternatives. ``codes`` are digits, with ``x`` for any; ``statuses``, ``domains``, ``mx`` and ``ips`` patterns as in
    the shell; ``texts`` as ``patterns.py`` reads them. Then what is to be done, None where the rule does not say; times
    in seconds, ``slow`` as in ``limits`` (rates per minute), ``set`` JSON values. ``line`` 0: built in."""

    line: int = attrs.field(default=0, eq=False)
    name: str = ""
    shipped: bool = False
    codes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    bounce_class: str | None = None
    fail: bool | None = None
    retry_in: float | None = None
    pause: float | None = None
    scope: str = "address"
    slow: Mapping[str, float] | None = None
    slow_for: float = SLOW_FOR
    fewer: bool = False
    sticky: bool = False
    set: Mapping[str, bytes] = attrs.field(factory=dict)
    proceed: bool = False
    examples: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called: its name, or its line."""
        return self.name or f"line {self.line}"


def _code(node: Node) -> str:
    given = plain(str)(node).lower()
    if not _CODE.fullmatch(given):
        raise wrong(node, f"{quoted(given)} is no SMTP code (they are written 421, 45x, 4xx, or [421, 450])")
    return given


def _status(node: Node) -> str:
    given = plain(str)(node).lower()
    if not _STATUS.fullmatch(given):
        raise wrong(node, f'{quoted(given)} is no enhanced code (they are written 4.7.28, "4.7.*", x.1.1)')
    return given.replace("x", "[245]")


def _text(node: Node) -> str:
    given = plain(str)(node).strip()
    if not given:
        raise wrong(node, "must not be empty")
    what = trouble(given)
    if what:
        raise wrong(node, what)
    return given


def _pattern(node: Node) -> str:
    return text(node).lower().rstrip(".")


def _slow(node: Node) -> dict[str, float]:
    if not isinstance(node, Table) or not node.entries:
        raise wrong(node, "must be a mapping, as in {messages-per-minute: 60, max-connections: 2}")
    values: dict[str, float] = {}
    problems = []
    for name, entry in node.entries.items():
        if name not in SLOW_KEYS:
            problems.append(Problem(entry.mark, name, f"unknown key{suggestion(name, SLOW_KEYS)}"))
            continue
        try:
            values[name.replace("-", "_")] = SLOW_KEYS[name](entry.node)
        except Wrong as error:
            problems += [problem.under(name) for problem in error.problems]
    if problems:
        raise Wrong(problems)
    return values


def _set(node: Node) -> dict[str, bytes]:
    if not isinstance(node, Table) or not node.entries:
        raise wrong(node, "must be a mapping of properties and their values")
    problems = []
    for name, entry in node.entries.items():
        if name in RESERVED:
            problems.append(Problem(entry.mark, name, "has a meaning of its own in jobs and results"))
    if problems:
        raise Wrong(problems)
    return {name: json.dumps(_json(entry.node)).encode() for name, entry in node.entries.items()}


def _json(node: Node) -> Any:
    if isinstance(node, Table):
        return {name: _json(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, Items):
        return [_json(item) for item in node.nodes]
    return _json_scalar(node)


def _json_scalar(node: Scalar) -> Any:
    if node.kind == "null":
        return None
    if node.kind == "wrong":
        raise Wrong([])
    if node.kind == "bool" and node.text.lower() in ("true", "false"):
        return node.text.lower() == "true"
    if node.kind in ("int", "float"):
        try:
            value = json.loads(node.text, parse_constant=lambda _: node.text)
        except ValueError:  # 010, .5, 1_000: numbers to YAML, none to JSON
            return node.text
        return node.text if value in (float("inf"), float("-inf")) else value
    return node.text


MATCH: dict[str, tuple[str, Read]] = {
    "code": ("codes", items(_code, single=True)),
    "status": ("statuses", items(_status, single=True)),
    "text": ("texts", items(_text, single=True)),
    "state": ("states", items(word(*STATES), single=True)),
    "type": ("types", items(word(*TYPES), single=True)),
    "domain": ("domains", items(_pattern, single=True)),
    "mx": ("mx", items(_pattern, single=True)),
    "ip": ("ips", items(_pattern, single=True)),
}
DO: dict[str, tuple[str, Read]] = {
    "class": ("bounce_class", word(*BOUNCE_CLASSES)),
    "fail": ("fail", switch),
    "retry-in": ("retry_in", time()),
    "pause": ("pause", time()),
    "slow": ("slow", _slow),
    "connections": ("fewer", lambda node: word("fewer")(node) == "fewer"),
    "sticky": ("sticky", switch),
    "set": ("set", _set),
}
MORE: dict[str, tuple[str, Read]] = {
    "name": ("name", text),
    "scope": ("scope", word("site", "address")),
    "for": ("slow_for", time()),
    "continue": ("proceed", switch),
    "example": ("examples", items(text, single=True)),
}
KEYS = {**MATCH, **DO, **MORE}


def response(node: Node) -> ResponseRule:
    """A rule of ``responses``."""
    if not isinstance(node, Table):
        raise wrong(node, "must be a mapping, as in {code: 4xx, text: too many connections, connections: fewer}")
    values: dict[str, Any] = {}

    def read(name: str, entry: Entry) -> None:
        attribute, read_value = KEYS[name]
        values[attribute] = read_value(entry.node)
        if name in MATCH and not values[attribute]:
            raise wrong(entry.node, "names none")

    problems = each_entry(node, KEYS, read, "cannot be null (leave it out)")
    if not problems:
        problems = [
            Problem(node.entries[name].mark if name else node.mark, name, what) for name, what in _contradictions(node)
        ]
    if problems:
        raise Wrong(problems)
    if values.get("sticky"):
        values.setdefault("bounce_class", GREYLISTED)
    rule = ResponseRule(line=node.mark.line, **values)
    amiss = [example for example in rule.examples if not tells(rule, example)]
    if amiss:
        mark = node.entries["example"].mark
        raise Wrong([Problem(mark, "example", f"{quoted(given)} does not fit this rule") for given in amiss])
    return rule


def _contradictions(node: Table) -> list[tuple[str, str]]:
    """What does not fit together in a rule whose values are right: (key, what)."""
    given = node.entries
    says = {name: entry.node.text.lower() for name, entry in given.items() if isinstance(entry.node, Scalar)}
    found = []
    if not any(name in MATCH for name in given):
        found.append(("", f"must say which replies it is for: {', '.join(MATCH)}"))
    if not any(name in DO for name in given):
        found.append(("", f"does nothing: {', '.join(DO)}"))
    if says.get("fail") == "true":
        found += [
            (name, "has no use with fail: true")
            for name in ("retry-in", "sticky")
            if name in given and says.get(name) != "false"
        ]
    if says.get("sticky") == "true" and says.get("class", GREYLISTED) != GREYLISTED:
        found.append(("class", f"must be {GREYLISTED} with sticky: true"))
    if "for" in given and "slow" not in given:
        found.append(("for", "says how long slow holds, and there is none"))
    if "scope" in given and "slow" not in given and "pause" not in given:
        found.append(("scope", "says for whom pause and slow hold, and there is neither"))
    return found


def sentence(text: str) -> tuple[int | None, str | None, str]:
    """Code, enhanced code and text of a reply as people write it down; without a code, all is text."""
    found = re.match(r"\s*([1-5][0-9]{2})(?:[ -]\s*|$)(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|$))?", text, re.ASCII)
    if not found:
        return None, None, text.strip()
    code, status, rest = int(found[1]), found[2], text[found.end() :].strip()
    if status and int(status[0]) != code // 100:
        rest, status = f"{status} {rest}", None
    return code, status, rest


def tells(rule: ResponseRule, example: str) -> bool:
    """Whether a reply is one that the rule's code, enhanced code and text are for."""
    code, status, said = sentence(example)
    return fits_code(rule, code) and fits_status(rule, status) and matches(rule.texts, said)


def fits_code(rule: ResponseRule, code: int | None) -> bool:
    """Whether the rule is for replies with this code."""
    if not rule.codes:
        return True
    digits = "" if code is None else str(code)
    return any(
        len(digits) == 3 and all(sign in ("x", digit) for sign, digit in zip(codes, digits, strict=True))
        for codes in rule.codes
    )


def fits_status(rule: ResponseRule, status: str | None) -> bool:
    """Whether the rule is for replies with this enhanced code."""
    return not rule.statuses or (
        status is not None and any(status == wanted or fnmatchcase(status, wanted) for wanted in rule.statuses)
    )
