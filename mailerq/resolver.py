"""Where a domain's mail goes: looked up, and remembered for as long as DNS says so.

A domain's MX records, then the addresses of each MX host; without MX, the addresses of the domain itself. Identical
look-ups share one; what is remembered is bounded; failures are remembered, too, for a short time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from mailerq.dns_query import Found, Nothing, Questions, Unknown, system_hosts
from mailerq.route import (
    Answer,
    NoHosts,
    Route,
    ascii_name,
    direct,
    fixed,
    literal,
    mx_names,
    null_mx,
    routed,
    site,
    usable,
)
from mailerq.settings import Dns

SHORTEST, LONGEST, LONGEST_NEGATIVE, FAILED = 60.0, 3600.0, 900.0, 30.0
"""Seconds for which an answer is remembered: at least and at most, at most for "there is none", and for no answer."""
MOST = 100_000
"""Domains (and hosts) that are remembered; the oldest go first."""

_log = Logger()
Callback = Callable[[Answer], None]
Key = str | tuple[str, int]  # a domain, or a host that was named with its port


class _Addresses(msgspec.Struct, frozen=True):
    """Of one host: IPv4, then IPv6; ``why``: some could not be learnt; ``ttl`` in seconds."""

    found: tuple[str, ...]
    ttl: float
    why: str = ""


class Resolver:
    """Look-ups with a memory. ``port``: where hosts listen; ``random``: spreads the ends of what is remembered.

    ``cached`` is for the hot path and never waits. ``lookup`` and ``hosts_of`` call back exactly once, never before
    they have returned, in the end always: a question to DNS ends after ``dns.timeout``."""

    def __init__(
        self,
        reactor: Any,
        settings: Dns,
        random: Random,
        port: int = 25,
        *,
        hosts_file: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self._random = random
        self._port = port
        self._files = hosts_file, resolv_conf
        self._settings = settings
        self._waiting: dict[Key, list[Callback]] = {}
        self.clear()

    def __repr__(self) -> str:
        return (
            f"<Resolver: {len(self._known)} domains and {len(self._hosts)} hosts known, "
            f"{len(self._waiting)} look-ups, {self._questions.under_way} questions under way>"
        )

    def clear(self, settings: Dns | None = None) -> None:
        """Forget all; with ``settings``, ask according to them from now on. What is being looked up is still told, but
        not remembered. The system's files are read again."""
        self._settings = settings or self._settings
        hosts_file, resolv_conf = self._files
        self._questions = Questions(self._reactor, self._settings.servers, self._settings.timeout, resolv_conf)
        self._system = system_hosts(hosts_file)
        self._known: dict[Key, tuple[float, Answer]] = {}
        self._hosts: dict[str, tuple[float, _Addresses]] = {}
        self._asking: dict[str, list[Deferred[_Addresses]]] = {}

    def cached(self, domain: str) -> Answer | None:
        """What is known of a domain now (spelt as it was in ``lookup``), or None: then ``lookup``."""
        known = self._known.get(domain)
        if known is not None:
            return known[1] if known[0] > self._seconds() else None
        return self._configured(domain) if domain in self._settings.hosts else None

    def _configured(self, domain: str) -> Answer | None:
        """The addresses that the configuration has for this very name: nobody has to be asked, nor waited for."""
        if literal(domain, self._port) is not None or ascii_name(domain) != domain:
            return None
        route = fixed(domain, self._settings, self._port)
        if route is not None:
            _remember(self._known, domain, (float("inf"), route))
        return route

    def cached_host(self, hostname: str, port: int) -> Answer | None:
        """The same for ``hosts_of``."""
        known = self._known.get((hostname, port))
        return known[1] if known is not None and known[0] > self._seconds() else None

    def lookup(self, domain: str, callback: Callback) -> None:
        """Where mail for ``domain`` goes: a name (Unicode or punycode, any case) or an address literal in brackets."""
        self._look(domain, callback)

    def hosts_of(self, hostname: str, port: int, callback: Callback) -> None:
        """The route to one host itself, a name or an address: MX records are not asked for."""
        self._look((hostname, port), callback)

    def _look(self, key: Key, callback: Callback) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(callback)
            return
        self._waiting[key] = [callback]
        self._reactor.callLater(0, self._start, key)

    def _start(self, key: Key) -> None:
        known = self._known.get(key)
        if known is not None and known[0] > self._seconds():
            self._tell(key, known[1])
            return
        memory = self._known
        learning = Deferred.fromCoroutine(self._learn(key))
        learning.addErrback(lambda failure: self._broken(key, failure))
        learning.addCallback(lambda learnt: self._learnt(key, learnt, memory))

    def _broken(self, key: Key, failure: Any) -> tuple[Answer, float]:
        _log.failure("looking up {key} failed", failure, key=key)
        return NoHosts("the look-up failed, which is an error in this program (see its log)"), FAILED

    def _learnt(self, key: Key, learnt: tuple[Answer, float], memory: dict[Key, tuple[float, Answer]]) -> None:
        answer, ttl = learnt
        _remember(memory, key, (self._seconds() + ttl, answer))
        self._tell(key, answer)

    def _tell(self, key: Key, answer: Answer) -> None:
        for callback in self._waiting.pop(key, ()):
            try:
                callback(answer)
            except Exception:
                _log.failure("whoever asked for {key} failed", key=key)

    async def _learn(self, key: Key) -> tuple[Answer, float]:
        """The answer, and for how many seconds it holds."""
        if isinstance(key, tuple):
            return await self._learn_host(*key)
        own = literal(key, self._port)
        if own is not None:
            return own, LONGEST
        name = ascii_name(key)
        if isinstance(name, NoHosts):
            return name, LONGEST
        route = fixed(name, self._settings, self._port)
        if route is not None:
            return route, float("inf")
        if not self._settings.servers and name in self._system:
            return direct(name, name, self._system[name], self._port), LONGEST
        return await self._learn_domain(name)

    async def _learn_domain(self, name: str) -> tuple[Answer, float]:
        answer = await self._questions.ask(name, "MX")
        if isinstance(answer, Unknown):
            return NoHosts(answer.why), FAILED
        if isinstance(answer, Nothing):
            if not answer.exists:
                return NoHosts(f"the domain {name} does not exist", True), _negative(answer.ttl)
            return await self._learn_direct(name, name, self._port)
        mx = mx_names([(record.preference, _name(record.exchange)) for record in answer.records])
        if mx is None:
            return null_mx(name), self._positive(answer.ttl)
        asked = [host for _, host in mx if isinstance(ascii_name(host), str)]
        all_addresses = await gatherResults([self._addresses(host) for host in asked])
        ttl = self._positive(min([answer.ttl, *(addresses.ttl for addresses in all_addresses)]))
        found = {host: addresses.found for host, addresses in zip(asked, all_addresses, strict=True)}
        route = routed(name, mx, found, self._port, self._seconds() + ttl)
        if isinstance(route, Route):
            return route, ttl
        whys = [addresses.why for addresses in all_addresses if addresses.why]
        return (NoHosts(whys[0]), FAILED) if whys else (route, _negative(ttl))

    async def _learn_host(self, hostname: str, port: int) -> tuple[Answer, float]:
        own = literal(hostname, port)
        if own is not None:
            return own, LONGEST
        if usable(hostname):
            return direct(hostname, site(hostname, port), (hostname,), port), LONGEST
        name = ascii_name(hostname)
        if isinstance(name, NoHosts):
            return name, LONGEST
        if name in self._system and (name == "localhost" or not self._settings.servers):
            return direct(name, site(name, port), self._system[name], port), LONGEST
        return await self._learn_direct(name, site(name, port), port)

    async def _learn_direct(self, name: str, key: str, port: int) -> tuple[Answer, float]:
        """The route to a name's own addresses."""
        addresses = await self._addresses(name)
        ttl = self._positive(addresses.ttl)
        route = direct(name, key, addresses.found, port, self._seconds() + ttl)
        if isinstance(route, Route):
            return route, ttl
        return (NoHosts(addresses.why), FAILED) if addresses.why else (route, _negative(addresses.ttl))

    def _addresses(self, host: str) -> Deferred[_Addresses]:
        """The addresses of a host; many domains have the same one, and it is asked for once."""
        done: Deferred[_Addresses] = Deferred()
        known = self._hosts.get(host)
        if known is not None and known[0] > self._seconds():
            done.callback(msgspec.structs.replace(known[1], ttl=known[0] - self._seconds()))
        elif host in self._asking:
            self._asking[host].append(done)
        else:
            asking, hosts = self._asking, self._hosts
            asking[host] = [done]
            learning = Deferred.fromCoroutine(self._learn_addresses(host))
            learning.addBoth(lambda learnt: self._learnt_addresses(host, learnt, asking, hosts))
        return done

    def _learnt_addresses(
        self,
        host: str,
        learnt: Any,
        asking: dict[str, list[Deferred[_Addresses]]],
        hosts: dict[str, tuple[float, _Addresses]],
    ) -> None:
        if isinstance(learnt, _Addresses):
            ttl = FAILED if learnt.why else self._positive(learnt.ttl) if learnt.found else _negative(learnt.ttl)
            _remember(hosts, host, (self._seconds() + ttl, learnt))
        for waiting in asking.pop(host):
            waiting.callback(learnt)

    async def _learn_addresses(self, host: str) -> _Addresses:
        answers = await gatherResults(
            [Deferred.fromCoroutine(self._questions.ask(host, rdtype)) for rdtype in ("A", "AAAA")]
        )
        found = [record.address for answer in answers if isinstance(answer, Found) for record in answer.records]
        whys = [answer.why for answer in answers if isinstance(answer, Unknown)]
        # What says "there is none" does not end what says "here it is" early.
        ttls = [answer.ttl for answer in answers if isinstance(answer, Found if found else Nothing)]
        return _Addresses(tuple(found), min(ttls, default=0.0), whys[0] if whys else "")

    def _positive(self, ttl: float) -> float:
        """How long what was found is remembered; a little less, at random, so that not all ends at once."""
        return max(SHORTEST, min(ttl, LONGEST) * (1 - 0.1 * self._random.random()))


def _negative(ttl: float) -> float:
    return max(SHORTEST, min(ttl, LONGEST_NEGATIVE))


def _name(exchange: Any) -> str:
    """A host name of an MX record; empty for the root."""
    text = str(exchange.to_text(omit_final_dot=True))
    return "" if text == "." else text


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    memory.pop(key, None)
    if len(memory) >= MOST:
        del memory[next(iter(memory))]
    memory[key] = value
