"""The drawing: what each provider saw over time, and how many jobs waited; two policies over each other.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, floor, log10

from mailerq.simulate.minutes import Minutes
from mailerq.simulate.report import duration
from mailerq.simulate.summary import Summary
from mailerq.simulate.svg import FAINT, INK, Svg

WIDTH = 960.0
LEFT, GAP, RIGHT = 64.0, 64.0, 24.0
TOP, ROW, BETWEEN, BOTTOM = 92.0, 118.0, 44.0, 48.0
MOST = 10  # providers that are drawn
FINEST = 240  # points of a curve
COLOURS = ("#2563eb", "#ea580c")  # the policy that is tried, and the one that it is compared with
_STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800)

Series = list[float]


class Panel:
    """A place on the drawing with axes: x is seconds to ``end``, y is 0 to ``top``."""

    def __init__(self, x: float, y: float, width: float, end: float) -> None:
        self.x, self.y, self.width, self.end = x, y, width, end
        self.top = self.step = 1.0

    def reach(self, series: Sequence[Series]) -> None:
        """Let all values have room, up to a round number."""
        most = max((value for values in series for value in values), default=1.0)
        self.step = nice(most / 3)
        self.top = max(self.step * ceil(most / self.step - 1e-9), self.step)

    @property
    def base(self) -> float:
        """Where the x axis is."""
        return self.y + ROW

    def at(self, seconds: float) -> float:
        """Where a time is."""
        return self.x + self.width * seconds / self.end

    def height(self, value: float) -> float:
        """Where a value is."""
        return self.base - ROW * value / self.top


def draw(runs: Sequence[Summary]) -> str:
    """An SVG of one simulation or two; a row for each provider, the largest first."""
    names = _names(runs)[:MOST]
    end = max(_end(run) for run in runs)
    height = TOP + len(names) * ROW + max(0, len(names) - 1) * BETWEEN + BOTTOM
    title = " and ".join(run.name for run in runs)
    svg = Svg(WIDTH, height, f"Simulation of {title}: messages a minute and jobs that wait, by provider")
    _draw_head(svg, runs)
    width = (WIDTH - LEFT - GAP - RIGHT) / 2
    for row, name in enumerate(names):
        y = TOP + row * (ROW + BETWEEN)
        minutes = [_of(run, name) for run in runs]
        _draw_sent(svg, Panel(LEFT, y, width, end), minutes)
        _draw_waiting(svg, Panel(LEFT + width + GAP, y, width, end), minutes)
        svg.text(LEFT, y - 12, name, size=13, bold=True)
    for x in (LEFT, LEFT + width + GAP):
        svg.text(x + width / 2, height - 14, "time since the start", size=10.5, anchor="middle")
    return str(svg)


def _names(runs: Sequence[Summary]) -> list[str]:
    return list(dict.fromkeys(seen.name for run in runs for seen in run.providers))


def _of(run: Summary, name: str) -> Minutes | None:
    return next((seen.minutes for seen in run.providers if seen.name == name), None)


def _end(run: Summary) -> float:
    """Until when there is something to see: the minute in which almost all were done."""
    longest = 60.0
    for seen in run.providers:
        waiting = seen.minutes.waiting
        few = max(1, seen.jobs // 500)
        shown = next((at for at in range(len(waiting) - 1, -1, -1) if waiting[at] > few), 0)
        sent = accumulate(seen.minutes.accepted)  # where nothing ever waits
        most = sum(seen.minutes.accepted) - few
        shown = max(shown, sum(1 for count in sent if count < most))
        longest = max(longest, 60.0 * (shown + 2))
    return min(longest * 1.03, max(run.ended_at, 60.0))


def _draw_head(svg: Svg, runs: Sequence[Summary]) -> None:
    x = LEFT
    for run, colour in zip(runs, COLOURS, strict=False):
        svg.line((x, 28), (x + 22, 28), stroke=colour, width=3)
        done = "not drained" if run.drained is None else f"drained after {duration(run.drained)}"
        svg.text(x + 28, 32, run.name, size=14, bold=True)
        svg.text(x + 28, 50, f"{run.jobs} jobs, {run.results['success']} delivered, {done}", size=11, fill=FAINT)
        x += 340
    svg.line((WIDTH - RIGHT - 176, 28), (WIDTH - RIGHT - 152, 28), stroke=FAINT, width=1.6, dashes="2 2")
    svg.text(WIDTH - RIGHT - 146, 32, "put off or turned away", size=12)


def _draw_sent(svg: Svg, panel: Panel, runs: Sequence[Minutes | None]) -> None:
    series = [_binned(one.accepted, panel.end) if one else [] for one in runs]
    trouble = [_binned(_trouble(one), panel.end) if one else [] for one in runs]
    panel.reach(series + trouble)
    _draw_axes(svg, panel, "messages a minute")
    _draw_series(svg, panel, series)
    for values, colour in reversed(list(zip(trouble, COLOURS, strict=False))):
        if any(values):
            svg.curve(_curve(panel, values), stroke=colour, width=1.3, dashes="2 2")


def _draw_waiting(svg: Svg, panel: Panel, runs: Sequence[Minutes | None]) -> None:
    series = [_binned(one.waiting, panel.end) if one else [] for one in runs]
    panel.reach(series)
    _draw_axes(svg, panel, "jobs waiting")
    _draw_series(svg, panel, series)


def _draw_series(svg: Svg, panel: Panel, series: Sequence[Series]) -> None:
    for values, colour in reversed(list(zip(series, COLOURS, strict=False))):
        if values:
            points = _curve(panel, values)
            svg.area(points, panel.base, fill=colour, opacity=0.10)
            svg.curve(points, stroke=colour)


def _curve(panel: Panel, values: Series) -> list[tuple[float, float]]:
    step = panel.end / len(values)
    return [(panel.at((number + 0.5) * step), panel.height(value)) for number, value in enumerate(values)]


def _trouble(one: Minutes) -> list[int]:
    return [put_off + away for put_off, away in zip(one.deferred, one.turned_away, strict=True)]


def _binned(counts: Sequence[int], end: float) -> Series:
    """The mean of as many minutes together as make the curve no finer than it can be seen."""
    minutes = max(2, ceil(end / 60))
    size = ceil(minutes / FINEST)
    padded = list(counts[:minutes]) + [0] * (minutes - len(counts))
    return [sum(padded[at : at + size]) / len(padded[at : at + size]) for at in range(0, minutes, size)]


def _draw_axes(svg: Svg, panel: Panel, label: str) -> None:
    value = 0.0
    while value <= panel.top * 1.001:
        y = panel.height(value)
        svg.line((panel.x, y), (panel.x + panel.width, y), stroke="#9ca3af" if not value else "#e5e7eb")
        svg.text(panel.x - 6, y + 4, _short(value), size=10.5, fill=FAINT, anchor="end")
        value += panel.step
    svg.text(panel.x - 46, panel.y + ROW / 2, label, size=10.5, fill=INK, anchor="middle", turned=True)
    step = next((step for step in _STEPS if panel.end / step <= 8), _STEPS[-1])
    for number in range(floor(panel.end / step) + 1):
        x = panel.at(number * step)
        svg.line((x, panel.base), (x, panel.base + 4), stroke="#9ca3af")
        svg.text(x, panel.base + 16, _hours(number * step), size=10.5, fill=FAINT, anchor="middle")


def nice(value: float) -> float:
    """A round number that is not less: 1, 2 or 5 times a power of ten, and at least 1."""
    if value <= 1:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return float(next(times * power for times in (1, 2, 5, 10) if times * power >= value * 0.999))


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _hours(seconds: int) -> str:
    if seconds % 3600 == 0:
        return f"{seconds // 3600}h"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}" if seconds > 3600 else f"{seconds // 60}m"
