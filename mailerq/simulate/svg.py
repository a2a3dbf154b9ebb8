"""SVG as text: shapes, lines and words on a drawing of its own background.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, FAINT, GRID, PAPER, EDGE = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff", "#d1d5db"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

Point = tuple[float, float]


class Svg:
    """A drawing of ``width`` by ``height`` pixels."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
            f'height="{_n(height)}" font-family="{FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect x="0.5" y="0.5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="8" fill="{PAPER}" '
            f'stroke="{EDGE}"/>',
        ]

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Words whose base line is at ``y``; ``turned``: from below upwards."""
        weight = ' font-weight="600"' if bold else ""
        turn = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{fill}" text-anchor="{anchor}"{weight}{turn}>'
            f"{escape(words, quote=False)}</text>"
        )

    def line(self, from_: Point, to: Point, *, stroke: str = GRID, width: float = 1, dashes: str = "") -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<line x1="{_n(from_[0])}" y1="{_n(from_[1])}" x2="{_n(to[0])}" y2="{_n(to[1])}" stroke="{stroke}" '
            f'stroke-width="{_n(width)}"{dashed}/>'
        )

    def curve(self, points: Sequence[Point], *, stroke: str, width: float = 1.6, dashes: str = "") -> None:
        """A line through all points."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}" '
            f'stroke-linejoin="round"{dashed}/>'
        )

    def area(self, points: Sequence[Point], base: float, *, fill: str, opacity: float) -> None:
        """What lies between the points and the line at ``base``."""
        around = [(points[0][0], base), *points, (points[-1][0], base)]
        self._parts.append(f'<polygon points="{_points(around)}" fill="{fill}" fill-opacity="{opacity:g}"/>')

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
