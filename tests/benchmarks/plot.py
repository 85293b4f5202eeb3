"""Line charts as SVG, as pure functions: no library is worth its weight for so little."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log2

WIDTH, HEIGHT, MARGIN = 720, 420, 60
COLOURS = ("#1b6ca8", "#d1495b", "#3b8b5a", "#8c5aa8", "#c98a1b", "#555555")
STEPS = 5
"""Lines across, from nothing to the largest value."""

Curve = Sequence[tuple[float, float]]


def lines(title: str, below: str, curves: Mapping[str, Curve]) -> str:
    """Curves over a logarithmic axis; all places are above 0."""
    points = [point for curve in curves.values() for point in curve]
    places = sorted({x for x, _ in points})
    first, last = log2(places[0]), log2(places[-1])
    top = max(y for _, y in points) or 1.0

    def across(x: float) -> float:
        return MARGIN + (log2(x) - first) / ((last - first) or 1) * (WIDTH - 2 * MARGIN)

    def up(y: float) -> float:
        return HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    drawn = [_text(WIDTH / 2, 24, title), _text(WIDTH / 2, HEIGHT - 12, below)]
    drawn += [_text(across(x), HEIGHT - MARGIN + 20, f"{x:g}") for x in places]
    for step in range(STEPS + 1):
        value = top * step / STEPS
        drawn.append(f'<path d="M{MARGIN},{up(value):.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        drawn.append(_text(MARGIN - 8, up(value) + 4, f"{value:.0f}", "end"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(_text(MARGIN + 10, MARGIN + 18 * number, name, "start", colour))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n' + "\n".join(drawn) + "\n</svg>\n"


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#222") -> str:
    style = f'font-family="sans-serif" font-size="13" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
