"""What a message may cost: the counts that are kept in a file, and what has grown over them."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

MOST = 0.10  # growth that is let pass
MOST_ELSEWHERE = 0.25  # where there are only the counts of another version of Python
RENEW = "Where it is worth it: python benchmarks/calls.py --renew, and say why in the commit."


def version() -> str:
    """Of the Python that runs, as the baseline names it: counts differ between minor versions only."""
    return ".".join(map(str, sys.version_info[:2]))


@attrs.frozen
class Found:
    """A message's calls and bytecodes by room, on one way (``rabbitmq 2000``: broker and bytes)."""

    way: str
    calls: Mapping[str, float]
    bytecodes: Mapping[str, float]
    functions: Mapping[str, float] = attrs.field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Rounded, the largest room first."""
        return {"calls": _sorted(self.calls), "bytecodes": _sorted(self.bytecodes)}


def _sorted(rooms: Mapping[str, float]) -> dict[str, float]:
    return {"all": round(sum(rooms.values()), 2)} | {
        room: round(number, 2) for room, number in sorted(rooms.items(), key=lambda item: (-item[1], item[0]))
    }


@attrs.frozen
class Baseline:
    """Counts by version of Python (``3.11``), then by way."""

    versions: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """What the file says; nothing where there is none."""
        return cls(json.loads(path.read_text()) if path.exists() else {})

    def write(self, path: Path) -> None:
        """Keep it."""
        path.write_text(json.dumps(self.versions, indent=1) + "\n")

    def renewed(self, found: Sequence[Found]) -> Baseline:
        """With what was found, for the Python that runs."""
        before = self.versions.get(version(), {}).get("ways", {})
        ways = before | {one.way: one.as_json() for one in found}
        ours = {"python": platform.python_version(), "ways": ways}
        return Baseline(dict(sorted({**self.versions, version(): ours}.items())))

    def nearest(self, wanted: str) -> str | None:
        """The version whose counts are compared with: this one, else the nearest."""
        minor = _minor(wanted)
        return min(self.versions, key=lambda one: (abs(_minor(one) - minor), one), default=None)

    def compare(self, found: Sequence[Found], python: str | None = None) -> list[str]:
        """What has grown too much, each as a paragraph; empty where all is well."""
        wanted = python or version()
        there = self.nearest(wanted)
        if there is None:
            return [f"There is no baseline. {RENEW}"]
        most = MOST if there == wanted else MOST_ELSEWHERE
        problems = []
        for one in found:
            before = self.versions[there]["ways"].get(one.way)
            if before is None:
                problems.append(f"{one.way}: the baseline does not have it. {RENEW}")
                continue
            problems += grown(one.way, "calls", before["calls"], one.calls, most)
            if there == wanted:
                problems += grown(one.way, "bytecodes", before["bytecodes"], one.bytecodes, most)
        return problems

    def fallen(self, found: Sequence[Found]) -> list[str]:
        """The ways that cost so much less than the baseline says that it has become too wide."""
        ways = self.versions.get(version(), {}).get("ways", {})
        return [
            f"{one.way}: {sum(one.calls.values()):.1f} calls a message, the baseline's {ways[one.way]['calls']['all']} "
            "let too much pass: python benchmarks/calls.py --renew"
            for one in found
            if one.way in ways and sum(one.calls.values()) < ways[one.way]["calls"]["all"] * (1 - MOST)
        ]


def _minor(name: str) -> int:
    return int(name.partition(".")[2])


def grown(way: str, what: str, before: Mapping[str, float], after: Mapping[str, float], most: float) -> list[str]:
    """Says by how much it has grown and where, if that is more than ``most`` (0.1: a tenth)."""
    old, new = before["all"], sum(after.values())
    if new <= old * (1 + most):
        return []
    rooms = {room: after.get(room, 0.0) - before.get(room, 0.0) for room in {*before, *after} - {"all"}}
    where = [room for room in sorted(rooms, key=lambda room: -rooms[room]) if rooms[room] > (new - old) / 10][:5]
    listed = ", ".join(f"{room} +{rooms[room]:.1f} (was {before.get(room, 0.0):.1f})" for room in where)
    return [
        f"{way}: {new:.1f} {what} a message, {100 * (new / old - 1):.1f} % more than the {old:.1f} of the baseline "
        f"({100 * most:.0f} % are let pass). In {listed}. {RENEW}"
    ]
