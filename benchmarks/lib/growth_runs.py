"""The runs of the growth benchmark: each gives points of curves, as (curve, x, y)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.lib.engine_process import EngineProcess, address
from benchmarks.lib.ground import Ground, Place
from benchmarks.lib.zone_server import ZoneServer

Point = tuple[str, float, float]
SHARED = 10  # hosts that all domains share
WARM = 2000  # messages after which an engine is taken for warm


@attrs.frozen
class Run:
    """One run: of which picture, what it is called, and what it does."""

    picture: str
    name: str
    go: Callable[[Ground], list[Point]]


@contextmanager
def running(place: Place, config: Path) -> Iterator[EngineProcess]:
    """An engine, stopped at the end."""
    engine = EngineProcess(place.folder, config)
    try:
        yield engine
    finally:
        engine.stop()


def waiting(broker: str, count: int, messages: int) -> Run:
    """µs a message while ``count`` jobs wait."""

    def go(ground: Ground) -> list[Point]:
        with ground.fresh(broker) as place:
            place.fill(count)
            with running(place, place.configure(place.domains)) as engine:
                return [(broker, count, place.steady(engine, count, WARM, WARM + messages))]

    return Run("waiting", f"{count:,} jobs waiting, {broker}", go)


def connections(broker: str, count: int, messages: int) -> Run:
    """µs a message over ``count`` open connections, each to a host of its own."""

    def go(ground: Ground) -> list[Point]:
        limits = [{"domain": "*", "max-connections": 1, "connection-max-idle": "30s"}]
        more: dict[str, Any] = {"smtp": {"max-connections": 2000}, "limits": limits}
        level = max(5000, 10 * count)
        with ground.fresh(broker) as place:
            place.domains = count
            place.fill(level)
            with running(place, place.configure(count, **more)) as engine:
                warm = max(WARM, 3 * count)
                return [(broker, count, place.steady(engine, level, warm, warm + messages))]

    return Run("connections", f"{count:,} connections, {broker}", go)


def domains(broker: str, count: int, messages: int, dns: bool, own_hosts: bool = False) -> Run:
    """µs a message over all, for ``messages`` jobs over ``count`` domains; with ``dns`` all is looked up."""
    hosts = count if own_hosts else SHARED
    name = "a host each, DNS" if own_hosts else f"{SHARED} hosts, DNS" if dns else f"{SHARED} hosts, no DNS"

    def go(ground: Ground) -> list[Point]:
        with ground.fresh(broker) as place:
            server = ZoneServer(hosts) if dns else None
            try:
                return _domains(place, server)
            finally:
                if server is not None:
                    server.close()

    def _domains(place: Place, server: ZoneServer | None) -> list[Point]:
        config = place.configure(0, dns=_dns(place, server), smtp={"max-connections": 1000})
        with running(place, config) as engine:
            until = time.monotonic() + 2.5
            engine.wait(lambda: time.monotonic() > until, 20)
            place.domains = count
            before, asked = engine.cpu(), server.cpu() if server else 0.0
            place.fill(messages)
            used = place.whole(engine, messages) - before
            points = [(name, float(count), used / messages * 1e6)]
            if server is not None and not own_hosts:
                points.append(("the DNS server itself", float(count), (server.cpu() - asked) / messages * 1e6))
            return points

    return Run("hosts" if own_hosts else "domains", f"{count:,} domains, {name}", go)


def _dns(place: Place, server: ZoneServer | None) -> dict[str, Any]:
    """Where names are looked up. Without a server: in patterns, by the last digit of the name."""
    if server is not None:
        return {"servers": [f"127.0.0.1:{server.port}"]}
    return {"hosts": {f"d*{digit}.example": f"{address(digit)}:{place.sink.port}" for digit in range(SHARED)}}


def since_start(broker: str, messages: int, parts: int) -> Run:
    """µs a message and megabytes, in each part of a long run."""

    def go(ground: Ground) -> list[Point]:
        points: list[Point] = []
        level = 5000
        with ground.fresh(broker) as place:
            place.fill(level)
            with running(place, place.configure(place.domains)) as engine:
                for part in range(parts):
                    first, last = max(WARM, part * messages // parts), (part + 1) * messages // parts
                    points.append((broker, last, place.steady(engine, level, first, last)))
                    points.append((f"{broker}, MB", last, engine.memory("VmRSS")))
        return points

    return Run("since", f"{messages:,} messages since the start, {broker}", go)
