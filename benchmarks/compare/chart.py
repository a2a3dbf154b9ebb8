"""The comparison as bars: CPU a message of each program, RabbitMQ's beside ours.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from benchmarks.compare.figures import over
from benchmarks.compare.table import Row
from mailerq.simulate.drawing import nice
from mailerq.simulate.svg import FAINT, GRID, Svg

WIDTH, LEFT, RIGHT, TOP, BAR, STEP, HEAD = 860.0, 210.0, 150.0, 30.0, 16.0, 26.0, 34.0
OURS, PEER, BROKER = "#2563eb", "#6b7280", "#93c5fd"
STEPS = 5


def draw(rows: Sequence[Row]) -> str:
    """An SVG: a group of bars for each size and way; the middle run, with a line from the least to the most."""
    kinds = list(dict.fromkeys((row.size, row.way) for row in rows if row.runs))
    shown = [[row for row in rows if row.runs and (row.size, row.way) == kind] for kind in kinds]
    height = TOP + sum(HEAD + STEP * len(group) + 40 for group in shown)
    svg = Svg(WIDTH, height, "CPU a message of mailerq and of other mail servers")
    _legend(svg)
    y = TOP + HEAD
    for (size, way), group in zip(kinds, shown, strict=True):
        svg.text(LEFT, y - 10, f"{way}, {size:,} bytes: CPU, µs a message", size=13, bold=True)
        _group(svg, group, y)
        y += HEAD + STEP * len(group) + 40
    return str(svg)


def _legend(svg: Svg) -> None:
    x = LEFT
    for colour, words in ((OURS, "mailerq"), (BROKER, "RabbitMQ beside it"), (PEER, "other mail servers")):
        svg.line((x, 20), (x + 22, 20), stroke=colour, width=9)
        svg.text(x + 28, 24, words, size=11)
        x += 160


def _group(svg: Svg, rows: Sequence[Row], y: float) -> None:
    most = max(over(row.runs, lambda run: run.whole).most for row in rows)
    step = nice(most / STEPS)
    steps = ceil(most / step)
    scale = (WIDTH - LEFT - RIGHT) / (step * steps)
    for number in range(steps + 1):
        x = LEFT + scale * step * number
        svg.line((x, y), (x, y + STEP * len(rows)), stroke=GRID)
        svg.text(x, y + STEP * len(rows) + 14, f"{step * number:g}", size=10.5, fill=FAINT, anchor="middle")
    for row in rows:
        _bar(svg, row, y + STEP / 2, scale)
        y += STEP


def _bar(svg: Svg, row: Row, y: float, scale: float) -> None:
    own, whole = over(row.runs, lambda run: run.micros).middle, over(row.runs, lambda run: run.whole)
    rate = over(row.runs, lambda run: run.rate).middle
    end = LEFT + scale * own
    svg.text(LEFT - 8, y + 4, row.name, size=11.5, anchor="end")
    svg.line((LEFT, y), (end, y), stroke=OURS if row.name.startswith("mailerq") else PEER, width=BAR)
    if row.with_broker:
        svg.line((end, y), (LEFT + scale * whole.middle, y), stroke=BROKER, width=BAR)
    least, most = LEFT + scale * whole.least, LEFT + scale * whole.most
    svg.line((least, y), (most, y), stroke="#111827", width=1.4)
    for x in (least, most):
        svg.line((x, y - 4), (x, y + 4), stroke="#111827", width=1.4)
    words = f"{own:,.0f} + {whole.middle - own:,.0f}" if row.with_broker else f"{own:,.0f}"
    svg.text(max(most, LEFT + scale * whole.middle) + 8, y + 4, f"{words} µs, {rate:,.0f}/s", size=10.5, fill=FAINT)
