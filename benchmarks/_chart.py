"""Charts as SVG text: horizontal bars, and lines between two logarithmic axes.

What is drawn is mid grey, with one blue for what the chart is about, on no ground at all: it can be
read on a light page and on a dark one, also where an image gets no style from the page. Each value
stands beside its bar or the end of its line as a number, so nothing depends on colour.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

_WIDTH = 760
_LEFT, _RIGHT, _TOP = 180, 170, 56  # room for the labels, the values, and the title
_ROW = 26
_PLOT = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT = 280
_LINE_HEIGHT = 15  # of small text
_INK = "#7a7a7a"  # 4.3:1 on white, 4.4:1 on GitHub's dark ground
_HIGHLIGHT = "#3b82f6"
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 5")

Points = Sequence[tuple[float, float]]


def bars(
    title: str, values: Mapping[str, float], *, unit: str, notes: Iterable[str], highlight: str
) -> str:
    """Draw one bar a name, from zero, the longest over the whole width.

    `notes` stand below, a line each: where it was measured, for example.
    """
    longest = max(values.values()) or 1.0
    parts = []
    for number, (name, value) in enumerate(values.items()):
        y = _TOP + number * _ROW
        colour = _HIGHLIGHT if name == highlight else _INK
        length = _PLOT * value / longest
        parts += [
            _text(_LEFT - 8, y + 14, name, colour, anchor="end"),
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="18" fill="{colour}"/>',
            _text(_LEFT + length + 6, y + 14, f"{_number(value)} {unit}", colour),
        ]
    return _document(title, parts, bottom=_TOP + len(values) * _ROW, notes=notes)


def lines(
    title: str,
    series: Mapping[str, Points],
    *,
    x_unit: str,
    y_unit: str,
    notes: Iterable[str],
    highlight: str,
) -> str:
    """Draw one line a name through its points, or a dot where it has one; all must be above zero.

    Both axes are logarithmic: a step from one grid line to the next is a factor of ten.
    """
    points = [point for line in series.values() for point in line]
    x_low, x_high = _decades(x for x, _ in points)
    y_low, y_high = _decades(y for _, y in points)
    bottom = _TOP + _PLOT_HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + _PLOT * (math.log10(x) - x_low) / (x_high - x_low),
            bottom - _PLOT_HEIGHT * (math.log10(y) - y_low) / (y_high - y_low),
        )

    parts = [_text(_LEFT - 8, _TOP - 10, y_unit, _INK, anchor="end")]
    for decade in range(y_low, y_high + 1):
        _, y = place(10.0**x_low, 10.0**decade)
        parts += [_grid(_LEFT, y, _LEFT + _PLOT, y)]
        parts += [_text(_LEFT - 8, y + 4, _number(10.0**decade), _INK, anchor="end")]
    for decade in range(x_low, x_high + 1):
        x, _ = place(10.0**decade, 10.0**y_low)
        parts += [_grid(x, _TOP, x, bottom)]
        parts += [_text(x, bottom + 18, _number(10.0**decade), _INK, anchor="middle")]
    parts += [_text(_LEFT + _PLOT / 2, bottom + 36, x_unit, _INK, anchor="middle")]

    ends = {name: place(*line[-1]) for name, line in series.items()}
    heights = spread({name: y for name, (_, y) in ends.items()}, apart=_LINE_HEIGHT)
    for number, (name, line) in enumerate(series.items()):
        colour = _HIGHLIGHT if name == highlight else _INK
        parts += _curve([place(*point) for point in line], colour, _DASHES[number % len(_DASHES)])
        label = f"{name} {_number(line[-1][1])}"
        x, _ = ends[name]
        parts += [_text(x + 8, heights[name] + 4, label, colour, size=11)]
    return _document(title, parts, bottom=bottom + 40, notes=notes)


def spread(heights: Mapping[str, float], *, apart: float) -> dict[str, float]:
    """Move labels as far down as it takes for none to cover another, then up again by half."""
    placed: dict[str, float] = {}
    lowest = -math.inf
    for name in sorted(heights, key=lambda name: heights[name]):
        lowest = placed[name] = max(heights[name], lowest + apart)
    moved = max((placed[name] - heights[name] for name in heights), default=0.0)
    return {name: placed[name] - moved / 2 for name in heights}


def _decades(values: Iterable[float]) -> tuple[int, int]:
    """Return the powers of ten around all values, at least one apart."""
    logarithms = [math.log10(value) for value in values]
    low = math.floor(min(logarithms))
    return low, max(low + 1, math.ceil(max(logarithms)))


def _curve(points: Points, colour: str, dashes: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes or "none"}"'
    return [
        f'<polyline points="{path}" {style}/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points),
    ]


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{_INK}" stroke-opacity="0.35"/>'
    )


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _number(value: float) -> str:
    """Return three digits of it, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _document(title: str, parts: Iterable[str], *, bottom: float, notes: Iterable[str]) -> str:
    body = [_text(12, 24, title, _INK, size=15), *parts]
    y = bottom + 24
    for note in notes:
        body.append(_text(12, y, note, _INK, size=11))
        y += _LINE_HEIGHT
    size = f'width="{_WIDTH}" height="{y:.0f}" viewBox="0 0 {_WIDTH} {y:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *body, "</svg>\n"])
