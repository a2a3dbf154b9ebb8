"""The configured limits, from general to special: which number holds for a site, and from which line it comes.

Pure. ``throttle.py`` and ``site.py`` make use of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Protocol

from msgspec import Struct


class Rule(Protocol):
    """One entry of ``limits``."""

    @property
    def line(self) -> int: ...
    @property
    def domain(self) -> str | None: ...
    @property
    def mx(self) -> str | None: ...
    @property
    def ip(self) -> str | None: ...
    @property
    def pool(self) -> str | None: ...
    @property
    def values(self) -> Mapping[str, float]: ...


class Value(Struct, frozen=True):
    """A number, the line of the configuration it comes from, and whether it counts for one local address alone."""

    number: float
    line: int
    per_source: bool


Limits = dict[str, Value]


def cascade(
    rules: Iterable[Rule],
    domains: Collection[str],
    mx_names: Collection[str],
    source: str | None,
    pools: Mapping[str, Collection[str]],
) -> Limits:
    """What holds for a site (the domains that are known to be of it, its MX hosts) and mail from ``source``.

    Later rules win, key by key. Patterns are those of the shell.
    """
    found: Limits = {}
    for rule in rules:
        if not _matches(rule.domain, domains) or not _matches(rule.mx, mx_names):
            continue
        per_source = rule.ip is not None or rule.pool is not None
        if rule.ip is not None and (source is None or not fnmatchcase(source, rule.ip)):
            continue
        if rule.pool is not None and (source is None or source not in pools.get(rule.pool, ())):
            continue
        for key, number in rule.values.items():
            found[key] = Value(number, rule.line, per_source)
    return found


def _matches(pattern: str | None, names: Collection[str]) -> bool:
    return pattern is None or any(fnmatchcase(name, pattern) for name in names)
