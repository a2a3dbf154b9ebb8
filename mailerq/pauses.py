"""Pauses: what may not be sent for a time, by domain, MX host, site, local address, pool and tag.

Pure. ``site.py`` asks ``of_site`` once for each ``version``, and the answer for each mail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import inf, isfinite
from typing import Any

import msgspec
from msgspec import Struct

from mailerq.limits import Pools, pattern

_CASELESS = ("domain", "mx", "ip")


class Scope(Struct, frozen=True):
    """What is paused: all that is given must fit (patterns as in the shell; ``site``: its key). Nothing given: all."""

    domain: str | None = None
    mx: str | None = None
    site: tuple[str, ...] | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None

    @property
    def of_source(self) -> bool:
        """Whether it holds for some local addresses only."""
        return self.ip is not None or self.pool is not None

    def fits_site(self, domains: Collection[str], mx_names: Collection[str], key: tuple[str, ...]) -> bool:
        """Whether mail of a site may be meant."""
        return (
            (self.domain is None or any(_fits(self.domain, name) for name in domains))
            and (self.mx is None or any(_fits(self.mx, name) for name in mx_names))
            and (self.site is None or self.site == key)
        )

    def fits_mail(self, domain: str | None, tags: Collection[str]) -> bool:
        """Whether, at such a site, that mail is meant."""
        return (self.domain is None or (domain is not None and _fits(self.domain, domain))) and (
            self.tag is None or any(map(pattern(self.tag), tags))
        )

    def fits_source(self, source: str | None, pools: Pools) -> bool:
        """Whether mail from that local address (None: the system picks one) is meant."""
        return (self.ip is None or (source is not None and _fits(self.ip, source))) and (
            self.pool is None or (source is not None and source in pools.get(self.pool, ()))
        )

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__struct_fields__)
        named = [f"{name} {' '.join(part) if name == 'site' else part}" for name, part in parts if part is not None]
        return ", ".join(named) or "everything"


class Pause(Struct, frozen=True):
    """Nothing goes where ``scope`` fits, from ``since`` to ``until`` (None: until it is ended); ``by``: ``user`` or
    ``reply`` (a host asked for it). Times are epoch seconds."""

    id: int
    since: float
    until: float | None
    why: str = ""
    domain: str | None = None
    mx: str | None = None
    site: tuple[str, ...] | None = None
    ip: str | None = None
    pool: str | None = None
    tag: str | None = None
    by: str = "user"

    @property
    def scope(self) -> Scope:
        """What is paused."""
        return Scope(self.domain, self.mx, self.site, self.ip, self.pool, self.tag)

    @property
    def end(self) -> float:
        """When it ends; infinity where nobody knows."""
        return inf if self.until is None else self.until

    @property
    def told(self) -> str:
        """What is said of a mail that waits for it to end."""
        return f"pause ({self.why})" if self.why else "pause"


class SitePauses:
    """The pauses that may hold at one site; false if there are none."""

    __slots__ = ("_of_mail", "_of_source")

    def __init__(self, pauses: Iterable[Pause]) -> None:
        longest = sorted(pauses, key=lambda pause: -pause.end)
        self._of_mail = [(pause.scope, pause) for pause in longest if not pause.scope.of_source]
        self._of_source = [(pause.scope, pause) for pause in longest if pause.scope.of_source]

    def for_mail(self, domain: str, tags: Collection[str], now: float = -inf) -> Pause | None:
        """The longest pause that stops a mail whatever the local address is. With ``now``: that is not over."""
        for scope, pause in self._of_mail:
            if scope.fits_mail(domain, tags):
                return pause if pause.end > now else None
        return None

    def for_source(
        self,
        source: str | None,
        pools: Pools,
        domain: str | None = None,
        tags: Collection[str] = (),
        now: float = -inf,
    ) -> Pause | None:
        """The longest pause that stops a mail from leaving from ``source`` alone. With ``now``: that is not over."""
        for scope, pause in self._of_source:
            if scope.fits_source(source, pools) and scope.fits_mail(domain, tags):
                return pause if pause.end > now else None
        return None

    def __iter__(self) -> Iterator[Pause]:
        return (pause for _, pause in (*self._of_mail, *self._of_source))

    def __bool__(self) -> bool:
        return bool(self._of_mail or self._of_source)


class Pauses:
    """All pauses. ``version`` changes with each change."""

    def __init__(self, entries: Iterable[Pause] = ()) -> None:
        self._by_scope = {pause.scope: pause for pause in entries}
        self._last = max((pause.id for pause in self._by_scope.values()), default=0)
        self.version = 0

    def add(self, now: float, until: float | None = None, why: str = "", by: str = "user", **parts: Any) -> Pause:
        """From now on nothing goes where ``parts`` (those of ``Scope``) fit.

        A pause of the same scope is replaced and keeps its number; a host's wish only makes it longer.
        """
        scope = _scope(parts)
        until = until if until is not None and isfinite(until) else None
        old = self._by_scope.get(scope)
        if old is not None and old.end > now:
            if by == "reply" and old.end >= (inf if until is None else until):
                return old
            pause = msgspec.structs.replace(old, until=until, why=why, by=by)
        else:
            self._last += 1
            pause = Pause(self._last, now, until, why, by=by, **msgspec.structs.asdict(scope))
        self._by_scope[scope] = pause
        self.version += 1
        return pause

    def put(self, pause: Pause) -> bool:
        """This pause holds as it is, in place of any of its scope. False: it did already."""
        if self._by_scope.get(pause.scope) == pause:
            return False
        self._by_scope[pause.scope] = pause
        self._last = max(self._last, pause.id)
        self.version += 1
        return True

    def drop(self, scope: Scope) -> bool:
        """End the one of that scope; False: there is none."""
        return bool(self._remove([pause for pause in (self._by_scope.get(scope),) if pause is not None]))

    def remove(self, number: int) -> bool:
        """End one; False: there is none of that number."""
        return bool(self._remove([pause for pause in self if pause.id == number]))

    def forget_old(self, now: float) -> bool:
        """Whether some have ended by themselves; they are no longer among us."""
        return bool(self._remove([pause for pause in self if pause.end <= now]))

    def _remove(self, pauses: list[Pause]) -> list[Pause]:
        for pause in pauses:
            del self._by_scope[pause.scope]
        if pauses:
            self.version += 1
        return pauses

    def of_site(self, domains: Collection[str], mx_names: Collection[str], key: tuple[str, ...]) -> SitePauses:
        """Those that may hold at a site: its known domains, the names of its hosts, its key."""
        return SitePauses(pause for pause in self if pause.scope.fits_site(domains, mx_names, key))

    def __iter__(self) -> Iterator[Pause]:
        return iter(self._by_scope.values())

    def __len__(self) -> int:
        return len(self._by_scope)

    def as_notes(self) -> list[dict[str, Any]]:
        """As plain JSON."""
        return [msgspec.to_builtins(pause) for pause in self]

    @classmethod
    def from_notes(cls, notes: object) -> tuple[Pauses, list[str]]:
        """The pauses that were noted, and what of it cannot be read."""
        if not isinstance(notes, list | tuple):
            return cls(), ["the pauses are no list"]
        found: list[Pause] = []
        problems: list[str] = []
        for number, note in enumerate(notes):
            try:
                pause = msgspec.convert(note, Pause)
                if not isfinite(pause.since) or not isfinite(pause.until or 0.0):
                    raise ValueError("a time is no time")
                found.append(pause)
            except (ValueError, RecursionError, OverflowError) as error:
                problems.append(f"pause {number}: {error}")
        return cls(_numbered(found)), problems


def _numbered(pauses: list[Pause]) -> list[Pause]:
    """Each with a number of its own."""
    seen: set[int] = set()
    free = max((pause.id for pause in pauses), default=0) + 1
    for at, pause in enumerate(pauses):
        if pause.id in seen:
            pauses[at] = msgspec.structs.replace(pause, id=free)
            free += 1
        seen.add(pauses[at].id)
    return pauses


def _scope(parts: Mapping[str, Any]) -> Scope:
    given: dict[str, Any] = {
        name: part.lower().rstrip(".") if name in _CASELESS else tuple(part) if name == "site" else part
        for name, part in parts.items()
        if part is not None
    }
    return Scope(**given)


def _fits(wanted: str, name: str) -> bool:
    return pattern(wanted)(name.lower())
