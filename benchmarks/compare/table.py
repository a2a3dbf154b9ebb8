"""The comparison as Markdown.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.compare.figures import Run, Spread, over, ratios

INJECTED, ALONE = "inject + deliver", "deliver alone"
NONE = "\N{EN DASH}"


@dataclass
class Row:
    """What was measured of one program: its runs in one way (``INJECTED`` or ``ALONE``), at one size of message."""

    name: str
    way: str
    size: int
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    @property
    def with_broker(self) -> bool:
        """Whether another program's CPU stands beside."""
        return any(run.beside for run in self.runs)


@dataclass(frozen=True)
class Column:
    """A column: its title, what it shows of a run, and how many decimals."""

    title: str
    of: Callable[[Run], float]
    decimals: int = 0
    beside: bool = False  # only where there is a broker
    both_ways: bool = True  # else only where messages are injected


COLUMNS = (
    Column("CPU, µs a message", lambda run: run.micros),
    Column("RabbitMQ's CPU beside, µs", lambda run: run.each(run.beside), beside=True),
    Column("messages/s", lambda run: run.rate),
    Column("peak memory, MB", lambda run: run.memory),
    Column("RabbitMQ's, MB", lambda run: run.memory_beside, beside=True),
)


def tables(rows: Sequence[Row], bases: Mapping[str, str]) -> str:
    """A table for each size and way. ``bases``: title → name of a program that the others are compared with."""
    kinds = list(dict.fromkeys((row.size, row.way) for row in rows))
    return "\n".join(_table([row for row in rows if (row.size, row.way) == kind], bases) for kind in kinds)


def _table(rows: Sequence[Row], bases: Mapping[str, str]) -> str:
    size, way = rows[0].size, rows[0].way
    columns = [column for column in COLUMNS if not column.beside or any(row.with_broker for row in rows)]
    titles = ["program", "messages a run", *(column.title for column in columns)]
    titles += [f"CPU, times {title}" for title in bases]
    found = {row.name: row.runs for row in rows}
    lines = [f"### {way[0].upper()}{way[1:]}, {size:,} bytes a message", "", _line(titles), _line(_marks(len(titles)))]
    lines += [_line(_cells(row, columns, [found.get(name, []) for name in bases.values()])) for row in rows]
    return "\n".join([*lines, "", *_failures(rows), _others(rows), ""])


def _cells(row: Row, columns: Sequence[Column], bases: Sequence[Sequence[Run]]) -> list[str]:
    if not row.runs:
        return [row.name, NONE, *(NONE for _ in columns), *(NONE for _ in bases)]
    cells = [row.name, f"{row.runs[0].messages:,}"]
    for column in columns:
        shown = not column.beside or row.with_broker
        cells.append(text(over(row.runs, column.of), column.decimals) if shown else NONE)
    for base in bases:
        ratio = ratios(row.runs, base, lambda run: run.whole)
        cells.append(text(ratio, 1) if ratio is not None else NONE)
    return cells


def _failures(rows: Sequence[Row]) -> list[str]:
    told = [f"- {row.name}: {row.failure}" for row in rows if row.failure]
    return [*told, ""] if told else []


def _others(rows: Sequence[Row]) -> str:
    """What the injector and the sink used, which no program is charged with."""
    runs = [run for row in rows for run in row.runs]
    if not runs:
        return ""
    sink = text(over(runs, lambda run: run.each(run.sink)), 0)
    injectors = [run for run in runs if run.injector]
    apart = f"the sink {sink} µs a message"
    if injectors:
        apart = f"the injector {text(over(injectors, lambda run: run.each(run.injector)), 0)} µs a message, {apart}"
    return f"Counted for nobody: {apart}.{_publishing(rows)}"


def _publishing(rows: Sequence[Row]) -> str:
    """What of our own CPU is the publisher's."""
    found = [(row, over(row.runs, lambda run: run.each(run.publisher))) for row in rows if row.runs]
    told = [f"{text(used, 0)} ({row.name})" for row, used in found if used.most]
    return f" `mailerq publish`, which is counted as ours, has used µs a message: {', '.join(told)}." if told else ""


def text(spread: Spread, decimals: int) -> str:
    """``least / middle / most``, the middle in bold."""
    least, middle, most = (f"{value:,.{decimals}f}" for value in spread)
    return f"{least} / **{middle}** / {most}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marks(count: int) -> list[str]:
    return ["---", *["---:"] * (count - 1)]


def head(about: Mapping[str, Any]) -> str:
    """What it ran on, one line a fact."""
    return "\n".join([*(f"- {name}: {value}" for name, value in about.items()), ""])
