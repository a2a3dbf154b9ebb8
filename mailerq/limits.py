"""The configured limits, from general to special: which number holds for a site, and from which line it comes.

Pure. ``throttle.py`` and ``site.py`` make use of it. Patterns are those of the shell and know upper from lower case:
domains and hosts come in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Protocol

from msgspec import Struct


class Rule(Protocol):
    """One entry of ``limits``. Without any of ``domain``, ``mx``, ``ip``, ``pool`` and ``tag`` it is for all."""

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
    def tag(self) -> str | None: ...
    @property
    def values(self) -> Mapping[str, float]: ...
    @property
    def tls(self) -> str | None: ...
    @property
    def retry_interval(self) -> tuple[float, ...] | None: ...


class Value(Struct, frozen=True):
    """A number, the line of the configuration it comes from, and what it counts by: ``per_source``: for one local
    address alone; ``tag``: for the mail with this tag; ``shared``: with all sites that have the same word there.
    ``cause``: why it is not the number that is configured."""

    number: float
    line: int
    per_source: bool
    tag: str | None = None
    cause: str = ""
    shared: str = ""


Limits = dict[str, Value]
Pools = Mapping[str, Collection[str]]
WILD = "*?["  # what makes a name a pattern


class Manner(Struct, frozen=True):
    """What a recipient's domain has for itself, whatever else shares its hosts; None: nothing is said."""

    tls: str | None = None
    retry_interval: tuple[float, ...] | None = None


@lru_cache(4096)
def pattern(text: str) -> Callable[[str], bool]:
    """Whether a name is meant by a pattern of the shell, as a function that is made once."""
    if not any(sign in text for sign in WILD):
        return text.__eq__
    found = re.compile(translate(text)).match
    return lambda name: found(name) is not None


def _any(text: str | None, names: Iterable[str]) -> bool:
    return text is None or any(map(pattern(text), names))


class FromRule(Protocol):
    """What says for which local addresses it is; None: for all."""

    @property
    def ip(self) -> str | None: ...
    @property
    def pool(self) -> str | None: ...


def is_from(rule: FromRule, source: str | None, pools: Pools) -> bool:
    """Whether a rule holds for mail from a local address (None: the system picks one)."""
    if rule.ip is not None and (source is None or not pattern(rule.ip)(source)):
        return False
    return rule.pool is None or (source is not None and source in pools.get(rule.pool, ()))


class Rules(tuple[Rule, ...]):
    """Rules in their order, looked through once for all sites: which need no look at the domain, at the hosts."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.always: list[int] = []
        self.exact: dict[str, list[int]] = {}
        self.wild: list[tuple[int, Callable[[str], bool]]] = []
        self.by_mx: list[tuple[int, Callable[[str], bool]]] = []
        self.known: dict[tuple[tuple[int, ...], str | None], Limits] = {}
        for index, rule in enumerate(self):
            if rule.mx is not None:
                self.by_mx.append((index, pattern(rule.mx)))
            if rule.domain is None or rule.domain == "*":
                self.always.append(index)
            elif any(sign in rule.domain for sign in WILD):
                self.wild.append((index, pattern(rule.domain)))
            else:
                self.exact.setdefault(rule.domain, []).append(index)


class Matched:
    """The rules that hold for one site: those for its MX hosts and for one, at least, of the domains known so far.

    ``rules`` are they, in their order. To learn of one more domain costs a look at the patterns with ``*?[``, whatever
    the number of domains is. Where there are many sites, hand all of them the same ``Rules``.
    """

    __slots__ = ("_all", "_closed", "_found", "_indexes", "rules", "tagged")

    def __init__(self, rules: Iterable[Rule], mx_names: Collection[str], domains: Iterable[str] = ()) -> None:
        self._all = all_rules = rules if isinstance(rules, Rules) else Rules(rules)
        self._closed = {index for index, fits in all_rules.by_mx if not any(map(fits, mx_names))}
        self._found = set(all_rules.always)
        for domain in domains:
            self._found |= self._new(domain)
        self._list()

    def know_domain(self, domain: str) -> bool:
        """One more domain is of this site; whether more rules hold now."""
        new = self._new(domain)
        if new:
            self._found |= new
            self._list()
        return bool(new)

    def _new(self, domain: str) -> set[int]:
        """The rules that hold as soon as ``domain`` is of this site."""
        found, closed = self._found, self._closed
        new = {index for index in self._all.exact.get(domain, ()) if index not in found and index not in closed}
        new.update(i for i, fits in self._all.wild if i not in found and i not in closed and fits(domain))
        return new

    def _list(self) -> None:
        self._indexes = tuple(sorted(self._found - self._closed))
        self.rules = tuple(self._all[index] for index in self._indexes)
        self.tagged = tuple(rule for rule in self.rules if rule.tag is not None and rule.values)

    def limits(self, source: str | None, pools: Pools) -> Limits:
        """What holds for mail from ``source``, whatever its tags are; later rules win, key by key. Sites for which the
        same rules hold have the same object: it is not to be changed. ``pools`` are always those that belong to the
        rules."""
        known = self._all.known
        found = known.get((self._indexes, source))
        if found is None:
            found = _values((rule for rule in self.rules if rule.tag is None), source, pools)
            known[self._indexes, source] = found
        return found

    def tag_limits(self, source: str | None, pools: Pools, tag: str) -> Limits:
        """What holds in addition, for mail with ``tag`` alone. Later rules win, key by key."""
        return _values((rule for rule in self.tagged if _any(rule.tag, (tag,))), source, pools, tag)

    def limited_tags(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Those of ``tags``, in their order and each once, for which a number may hold in addition."""
        if not self.tagged:
            return ()
        return tuple(tag for tag in dict.fromkeys(tags) if any(_any(rule.tag, (tag,)) for rule in self.tagged))


def _values(rules: Iterable[Rule], source: str | None, pools: Pools, tag: str | None = None) -> Limits:
    found: Limits = {}
    for rule in rules:
        if is_from(rule, source, pools):
            per_source = rule.ip is not None or rule.pool is not None
            for key, number in rule.values.items():
                found[key] = Value(number, rule.line, per_source, tag)
    return found


def manner(rules: Iterable[Rule], domain: str, mx_names: Collection[str], tags: Collection[str]) -> Manner:
    """What holds for mail to one ``domain``, whose hosts are ``mx_names``. Later rules win, key by key."""
    tls: str | None = None
    retry_interval: tuple[float, ...] | None = None
    for rule in rules:
        if rule.tls is None and rule.retry_interval is None:
            continue
        if _any(rule.domain, (domain,)) and _any(rule.mx, mx_names) and _any(rule.tag, tags):
            tls = rule.tls if rule.tls is not None else tls
            retry_interval = rule.retry_interval if rule.retry_interval is not None else retry_interval
    return Manner(tls, retry_interval)
