"""The report of one simulation, or of two side by side, as plain text.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailerq.simulate.summary import Seen, Summary

Row = tuple[str, ...]
SHOWN = 3  # limits of each provider


def duration(seconds: float) -> str:
    """As people say it: ``0.25s``, ``42s``, ``12m 05s``, ``3h 07m``, ``2d 04h``."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def report(runs: Sequence[Summary]) -> str:
    """All of it; the first is the policy that is tried, a second one that which it is compared with."""
    parts = [table(_overall(runs), "lrrr")]
    parts.append("What each provider saw\n\n" + table(_providers(runs), "llrrrrrrrrrr"))
    limits = _limits(runs)
    if len(limits) > 1:
        parts.append("What the first in a queue waited for, by time in which one waited\n\n" + table(limits, "lllrl"))
    return "\n\n".join(parts)


def _overall(runs: Sequence[Summary]) -> list[Row]:
    two = len(runs) == 2
    rows: list[Row] = [("", *(run.name for run in runs), *(("difference",) if two else ()))]

    def times(name: str, values: Sequence[float | None]) -> None:
        shown = ["not yet" if value is None else duration(value) for value in values]
        rows.append((name, *shown, *((_later(values),) if two else ())))

    def counts(name: str, values: Sequence[float], form: str = "d") -> None:
        shown = [f"{value:{form}}" for value in values]
        differ = values[0] - values[-1]
        rows.append((name, *shown, *((f"{differ:+{form}}" if differ else "",) if two else ())))

    times("drained after", [run.drained for run in runs])
    counts("jobs", [run.jobs for run in runs])
    for kind in sorted({kind for run in runs for kind in run.results}, key=_final):
        counts(f"  {kind}", [run.results[kind] for run in runs])
    if any(run.left for run in runs):
        counts("  not ended", [run.left for run in runs])
    times("half had their result within", [run.half for run in runs])
    times("99 % within", [run.most for run in runs])
    times("the last within", [run.longest for run in runs])
    counts("messages begun", [run.messages for run in runs])
    counts("parked", [run.parked for run in runs])
    counts("wake-ups a message", [run.wake_ups for run in runs], ".2f")
    return rows


def _later(values: Sequence[float | None]) -> str:
    new, old = values[0], values[-1]
    if new is None or old is None or duration(new) == duration(old):
        return ""
    return f"{'+' if new > old else '-'}{duration(abs(new - old))}"


def _final(kind: str) -> tuple[bool, str]:
    return kind != "success", kind


_HEAD = (
    "",
    "",
    "jobs",
    "a minute",
    "peak",
    "connections",
    "put off",
    "refused",
    "turned away",
    "waiting",
    "99 % within",
    "drained after",
)


def _providers(runs: Sequence[Summary]) -> list[Row]:
    rows: list[Row] = [_HEAD]
    for names in _by_provider(runs):
        for run, seen in names:
            shown = seen.name if seen is names[0][1] else ""
            rows.append((shown, run.name if len(runs) > 1 else "", *_numbers(seen)))
    return rows


def _by_provider(runs: Sequence[Summary]) -> list[list[tuple[Summary, Seen]]]:
    """For each provider what it saw in each of the runs."""
    found: dict[str, list[tuple[Summary, Seen]]] = {}
    for run in runs:
        for seen in run.providers:
            found.setdefault(seen.name, []).append((run, seen))
    return list(found.values())


def _numbers(seen: Seen) -> Row:
    return (
        str(seen.jobs),
        f"{seen.mean:.1f}",
        str(seen.peak),
        str(seen.connections),
        str(seen.deferred),
        str(seen.refused),
        str(seen.turned_away),
        str(seen.most_waiting),
        duration(seen.most),
        "not yet" if seen.drained is None else duration(seen.drained),
    )


def _limits(runs: Sequence[Summary]) -> list[Row]:
    rows: list[Row] = [("",) * 5]
    for names in _by_provider(runs):
        before: tuple[str, str] | None = None
        for run, seen in names:
            for limit, line, share in seen.limits[:SHOWN]:
                shown = "" if before and before[0] == seen.name else seen.name
                policy = "" if len(runs) == 1 or before == (seen.name, run.name) else run.name
                before = seen.name, run.name
                rows.append((shown, policy, limit, f"{share:.0%}", f"(line {line})" if line else ""))
    return rows


def table(rows: Sequence[Row], sides: str) -> str:
    """Columns as wide as they need to be; ``sides``: ``l`` or ``r`` for each."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(row, widths, sides, strict=False)
            if width
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(line for line in lines if line)
