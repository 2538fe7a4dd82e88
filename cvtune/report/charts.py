"""Line charts and bars as small inline SVG; colours come from the page's CSS variables, so that both themes fit."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cvtune.report.text import shorten

__all__ = ["Chart", "Series", "bar_chart", "line_chart", "nice_ticks", "smooth", "thin"]

WIDTH, HEIGHT = 460, 250
TOP, RIGHT, BOTTOM = 14, 14, 40
COLOURS, DASHES = 8, 3
CHARACTER = 6.6  # width of a digit in the charts' font, in the charts' units
MOST_POINTS = 240
BAR = 16  # height of a bar with its gap


@dataclass(frozen=True)
class Series:
    """One line: (x, y) points by rising x. `faint` draws it thin, behind, and without a place in the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart for a template: `svg`, and the legend as (CSS classes, name) where there is more than one line."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...]


def line_chart(
    key: str,
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    from_zero: bool = True,
    mark: tuple[float, str] | None = None,
) -> Chart | None:
    """Draw lines over one pair of axes.

    Args:
        key: a word that is unique on the page: ids are made from it.
        title: what the chart shows; it heads the chart and is read out by screen readers.
        series: the lines; those without points are left out.
        x_label: name and unit of the horizontal axis. y_label: of the vertical one.
        from_zero: whether the vertical axis begins at 0.
        mark: an x where a dashed line stands, and its label.

    Returns:
        The chart, or None where no line has a point.
    """
    shown = [Series(s.name, thin(s.points), s.faint) for s in series if s.points]
    if not shown:
        return None
    xs = [x for s in shown for x, _ in s.points]
    ys = [y for s in shown for _, y in s.points]
    x_low, x_high = min(xs), max(xs)
    if 0 < x_low <= 0.1 * x_high:
        x_low = 0.0
    x_ticks = nice_ticks(x_low, x_high, 6, whole=all(float(x).is_integer() for s in series for x, _ in s.points))
    y_ticks = nice_ticks(min(0.0, *ys) if from_zero else min(ys), max(ys), 4)
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    y_low, y_high = y_ticks[0], y_ticks[-1]
    left = 27 + CHARACTER * max(len(tick_text(t)) for t in y_ticks)

    def px(x: float) -> float:
        return left + (x - x_low) / (x_high - x_low) * (WIDTH - left - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    # What the page's script shows where the pointer is; the frame is in the units of the drawing.
    frame = {"left": left, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
    scale = {"x": x_label, "low": x_low, "high": x_high, "ylow": y_low, "yhigh": y_high}
    data = json.dumps(frame | scale | {"lines": _values(shown)}, separators=(",", ":"))
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d" data-chart="{}">').format(
            WIDTH, HEIGHT, key, key, data
        ),
        Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(key, title, key, _words(shown, x_label)),
    ]
    for tick in y_ticks:
        parts.append(_line("grid" if tick != y_low else "axis", left, py(tick), WIDTH - RIGHT, py(tick)))
        parts.append(_text("tick", left - 7, py(tick) + 4, tick_text(tick), "end"))
    for tick in x_ticks:
        if x_low <= tick <= x_high:
            parts.append(_line("axis", px(tick), HEIGHT - BOTTOM, px(tick), HEIGHT - BOTTOM + 4))
            parts.append(_text("tick", px(tick), HEIGHT - BOTTOM + 17, tick_text(tick), "middle"))
    parts.append(_text("label", (left + WIDTH - RIGHT) / 2, HEIGHT - 5, x_label, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        Markup(
            '<text class="label" text-anchor="middle" transform="translate(11 {:.1f}) rotate(-90)">{}</text>'
        ).format(middle, y_label)
    )
    if mark and x_low <= mark[0] <= x_high:
        near_end = px(mark[0]) > 0.7 * WIDTH
        parts.append(_line("mark", px(mark[0]), TOP, px(mark[0]), HEIGHT - BOTTOM))
        at = px(mark[0]) + (-5 if near_end else 5)
        # Beside the foot of the line: learning curves leave that corner free.
        parts.append(_text("tick", at, HEIGHT - BOTTOM - 7, mark[1], "end" if near_end else "start"))
    names: dict[str, int] = {}
    for line in shown:
        number = names.setdefault(line.name, len(names))
        parts.append(_polyline(line, _style(number), [(px(x), py(y)) for x, y in line.points]))
    parts.append(Markup("</svg>"))
    legend = tuple((_style(number), shorten(name, 60)) for name, number in names.items())
    return Chart(title, Markup("").join(parts), legend if len(legend) > 1 else ())


def bar_chart(key: str, title: str, bars: Sequence[tuple[str, float]], x_label: str) -> Chart | None:
    """Draw horizontal bars, each with its name on the left and its number behind it.

    Args:
        key: a word that is unique on the page. title: what the chart shows.
        bars: (name, number from 0 on), from top to bottom.
        x_label: what the numbers are.

    Returns:
        The chart, or None without bars.
    """
    if not bars:
        return None
    names = [shorten(name, 26) for name, _ in bars]
    left = 14 + CHARACTER * max(map(len, names))
    room = WIDTH - left - RIGHT - CHARACTER * max(len(tick_text(value)) for _, value in bars)
    most = max(value for _, value in bars) or 1.0
    words = "; ".join(f"{name}: {tick_text(value)}" for name, value in bars)
    height = TOP + BAR * len(bars) + 20
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d">').format(WIDTH, height, key, key),
        Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(key, title, key, words),
    ]
    for i, (name, (_, value)) in enumerate(zip(names, bars, strict=True)):
        y, width = TOP + BAR * i, value / most * room
        parts.append(_text("tick", left - 7, y + 0.7 * BAR, name, "end"))
        parts.append(
            Markup('<rect class="value" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                left, y + 2, width, BAR - 4
            )
        )
        parts.append(_text("tick", left + width + 5, y + 0.7 * BAR, tick_text(value), "start"))
    parts.append(_text("label", (left + WIDTH - RIGHT) / 2, height - 5, x_label, "middle"))
    parts.append(Markup("</svg>"))
    return Chart(title, Markup("").join(parts), ())


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points, or `points` if they are no more: equal groups, each replaced by its mean."""
    if len(points) <= most:
        return list(points)
    edges = [i * len(points) // most for i in range(most + 1)]
    groups = [points[low:high] for low, high in itertools.pairwise(edges)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def smooth(points: Sequence[tuple[float, float]], span: int) -> list[tuple[float, float]]:
    """An exponential mean with the weight of `span` points, free of the bias towards its first value."""
    keep, total, weight, smoothed = 1 - 2 / (span + 1), 0.0, 0.0, []
    for x, y in points:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        smoothed.append((x, total / weight))
    return smoothed


def nice_ticks(low: float, high: float, wanted: int, whole: bool = False) -> list[float]:
    """About `wanted` round numbers (steps of 1, 2 or 5 times a power of ten) that enclose `low` to `high`."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = (low - pad, high + pad) if low else (0.0, pad)
    raw = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= 0.7 * raw)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def tick_text(value: float) -> str:
    """``1,200``, ``0.25``, ``2e-05``."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:g}"


def _values(shown: Sequence[Series]) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """(name, CSS classes, points at six significant digits) of each line that is not faint."""
    names: dict[str, int] = {}
    lines = []
    for line in shown:
        number = names.setdefault(line.name, len(names))
        if not line.faint:
            points = [(float(f"{x:.6g}"), float(f"{y:.6g}")) for x, y in line.points]
            lines.append((shorten(line.name, 60), _style(number), points))
    return lines


def _style(number: int) -> str:
    return f"c{number % COLOURS} d{number // COLOURS % DASHES}"


def _polyline(line: Series, style: str, points: Sequence[tuple[float, float]]) -> Markup:
    style += " faint" if line.faint else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn = Markup('<polyline class="line {}" points="{}"/>').format(style, path)
    # Few points are measurements that a reader wants to see one by one; a single point has no line at all.
    if len(points) <= 30 and not line.faint:
        for (x, y), (at, value) in zip(points, line.points, strict=True):
            drawn += Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.6"><title>{}</title></circle>').format(
                style, x, y, f"{shorten(line.name, 60)}: {value:.4g} at {tick_text(at)}"
            )
    return drawn


def _line(style: str, x0: float, y0: float, x1: float, y1: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x0, y0, x1, y1)


def _text(style: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(style, x, y, anchor, text)


def _words(series: Sequence[Series], x_label: str) -> str:
    """The chart in words, for those who do not see it."""
    sentences = []
    for line in series:
        if not line.faint:
            (x0, y0), (x1, y1) = line.points[0], line.points[-1]
            low, high = min(y for _, y in line.points), max(y for _, y in line.points)
            sentences.append(
                f"{shorten(line.name, 60)}: {y0:.4g} at {x_label} {tick_text(x0)}, {y1:.4g} at {tick_text(x1)}, "
                f"between {low:.4g} and {high:.4g}."
            )
    return " ".join(sentences)
