"""Draw the rows of the waiting benchmark as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 250, 250
TOP, BOTTOM, LEFT = 56, 196, 16
NORMAL, HUNG, LIMIT = "#2f6fb0", "#c9873a", "#b3261e"


@dataclass
class Panel:
    """A bar chart.

    :param title: the figure.
    :param unit: its unit, or a note.
    :param limit: drawn as a line.
    :param bars: label, value and colour of each bar.
    :param digits: decimals of the values.
    """

    title: str
    unit: str
    limit: float
    bars: Sequence[tuple[str, float, str]]
    digits: int = 1

    def draw(self, x: float) -> list[str]:
        """Return the elements of the chart."""
        top = 1.1 * max(self.limit, *(value for _, value, _ in self.bars))
        step = (WIDTH - 2 * LEFT) / len(self.bars)

        def y(value: float) -> float:
            return BOTTOM - (BOTTOM - TOP) * value / top

        parts = [
            _text(x + LEFT, 22, self.title, size=14, weight="bold"),
            _text(x + LEFT, 40, self.unit, size=11),
            f'<line x1="{x + LEFT}" x2="{x + WIDTH - LEFT}" y1="{BOTTOM}" y2="{BOTTOM}" stroke="#777"/>',
            f'<line x1="{x + LEFT}" x2="{x + WIDTH - LEFT}" y1="{y(self.limit):.1f}" y2="{y(self.limit):.1f}" '
            f'stroke="{LIMIT}" stroke-dasharray="4 3"/>',
            _text(x + LEFT, y(self.limit) - 4, f"limit {self.limit:.3g}", fill=LIMIT),
        ]
        for index, (label, value, colour) in enumerate(self.bars):
            left, middle = x + LEFT + index * step, x + LEFT + (index + 0.5) * step
            parts += [
                f'<rect x="{left + 3:.1f}" y="{y(value):.1f}" width="{step - 6:.1f}" '
                f'height="{BOTTOM - y(value):.1f}" fill="{colour}"/>',
                _text(middle, y(value) - 4, f"{value:.{self.digits}f}", anchor="middle"),
                _text(middle, BOTTOM + 15, label, anchor="middle"),
            ]
        return parts


def _text(
    x: float, y: float, text: str, *, size: int = 10, fill: str = "#222", anchor: str = "start", weight: str = "normal"
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def draw(rows: Sequence[dict[str, Any]], poke_interval: float) -> str:
    """Return the picture: requests, the delay of events, and threads for other providers."""
    normal = [row for row in rows if not row["hung"]]

    def bars(figure: str, factor: float = 1) -> list[tuple[str, float, str]]:
        return [(f"{row['exports']:,}", row[figure] * factor, NORMAL) for row in normal]

    requests = [(f"{row['exports']:,}", row["requests"] - row["completions"], NORMAL) for row in normal]
    delay_limit = 0.6 * poke_interval + normal[-1]["round"]
    neighbours = [
        (f"{row['exports']:,}", row["neighbour"] * 1000, HUNG if row["hung"] else NORMAL) for row in rows
    ]
    panels = [
        Panel("Requests per round", "without one for each completed export", 8, requests),
        Panel(
            "Completion to event",
            "median, seconds",
            delay_limit,
            bars("delay_median"),
        ),
        Panel("Wait for a thread", "other providers, longest, milliseconds", 200, neighbours, 0),
    ]
    parts = [part for index, panel in enumerate(panels) for part in panel.draw(index * WIDTH)]
    legend = [
        _text(LEFT, HEIGHT - 12, f"Number of waiting exports. poke_interval {poke_interval:g} s."),
        f'<rect x="{2 * WIDTH + LEFT}" y="{HEIGHT - 21}" width="10" height="10" fill="{NORMAL}"/>',
        _text(2 * WIDTH + LEFT + 14, HEIGHT - 12, "normal API"),
        f'<rect x="{2 * WIDTH + 100}" y="{HEIGHT - 21}" width="10" height="10" fill="{HUNG}"/>',
        _text(2 * WIDTH + 114, HEIGHT - 12, "API that never answers"),
    ]
    width = WIDTH * len(panels)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
            f'height="{HEIGHT}" font-family="sans-serif">',
            "<title>What waiting exports cost a triggerer</title>",
            f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>',
            *parts,
            *legend,
            "</svg>\n",
        ]
    )
