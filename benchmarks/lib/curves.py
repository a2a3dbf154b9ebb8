"""Curves over a logarithmic axis, several pictures on one drawing, as SVG; and the same as a table in Markdown.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log10

import attrs

from mailerq.simulate.drawing import nice
from mailerq.simulate.svg import FAINT, GRID, Svg

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#6b7280")
WIDTH, HEIGHT = 420.0, 210.0  # of one picture, axes and all
LEFT, RIGHT, TOP, BOTTOM = 58.0, 20.0, 66.0, 44.0
ACROSS = 2

Curves = Mapping[str, Sequence[tuple[float, float]]]


@attrs.frozen
class Picture:
    """Curves with points in order of x. ``x``, ``y``: what the axes show."""

    title: str
    x: str
    y: str
    curves: Curves


def draw(pictures: Sequence[Picture], title: str) -> str:
    """All of them as one SVG."""
    rows = ceil(len(pictures) / ACROSS)
    svg = Svg(ACROSS * WIDTH + 20, rows * (HEIGHT + 30) + 40, title)
    svg.text(16, 28, title, size=14, bold=True)
    for number, picture in enumerate(pictures):
        _draw(svg, picture, 10 + number % ACROSS * WIDTH, 40 + number // ACROSS * (HEIGHT + 30))
    return str(svg)


def _draw(svg: Svg, picture: Picture, left: float, top: float) -> None:
    x0, x1 = left + LEFT, left + WIDTH - RIGHT
    y0, y1 = top + HEIGHT - BOTTOM + 30, top + TOP
    points = [point for curve in picture.curves.values() for point in curve]
    lowest, highest = (log10(edge(x for x, _ in points)) for edge in (min, max))
    step = nice(max(y for _, y in points) / 4)
    most = step * ceil(max(y for _, y in points) / step + 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - lowest) / (highest - lowest) if highest > lowest else 0.5
        return x0 + (x1 - x0) * across, y0 + (y1 - y0) * y / most

    svg.text(left + 6, top + 16, f"{picture.title}: {picture.y}", size=12, bold=True)
    value = 0.0
    while value <= most * 1.001:
        _, y = at(10**lowest, value)
        svg.line((x0, y), (x1, y), stroke="#9ca3af" if not value else GRID)
        svg.text(x0 - 6, y + 4, f"{value:g}", size=10.5, fill=FAINT, anchor="end")
        value += step
    for x in sorted({x for x, _ in points} if len(points) < 40 else {10**lowest, 10**highest}):
        svg.line((at(x, 0)[0], y0), (at(x, 0)[0], y0 + 4), stroke="#9ca3af")
        svg.text(at(x, 0)[0], y0 + 16, short(x), size=10.5, fill=FAINT, anchor="middle")
    svg.text((x0 + x1) / 2, y0 + 30, picture.x, size=10.5, fill=FAINT, anchor="middle")
    place = left + 6.0
    for (name, curve), colour in zip(picture.curves.items(), COLOURS, strict=False):
        svg.curve([at(x, y) for x, y in curve], stroke=colour, width=2)
        for x, y in curve if len(curve) < 12 else ():
            svg.line((at(x, y)[0] - 2, at(x, y)[1]), (at(x, y)[0] + 2, at(x, y)[1]), stroke=colour, width=5)
        svg.line((place, top + 34), (place + 14, top + 34), stroke=colour, width=3)
        svg.text(place + 18, top + 38, name, size=10.5)
        place += 28 + 5.6 * len(name)


def table(picture: Picture) -> str:
    """Markdown: a row for each x, a column for each curve, and how much the last is above the first."""
    names = list(picture.curves)
    found = {name: dict(curve) for name, curve in picture.curves.items()}
    lines = [f"| {picture.x} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for x in sorted({x for curve in found.values() for x in curve}):
        cells = (f"{found[name][x]:.1f}" if x in found[name] else "" for name in names)
        lines.append(f"| {x:,.0f} | " + " | ".join(cells) + " |")
    lines.append("| last to first | " + " | ".join(_growth(picture.curves[name]) for name in names) + " |")
    return f"{picture.title}, {picture.y}:\n\n" + "\n".join(lines) + "\n"


def _growth(curve: Sequence[tuple[float, float]]) -> str:
    first, last = curve[0][1], curve[-1][1]
    return f"{100 * (last / first - 1):+.0f} %" if len(curve) > 1 and first else ""


def short(value: float) -> str:
    """1k, 10k, 1M."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
