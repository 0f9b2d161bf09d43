"""Line charts as SVG elements that stand in an HTML page and take its text colour."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, safe for the colour-blind, without the two that vanish on a white or a
# black page. Dashes begin where the colours run out.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 30, 44
# Between the axis and its numbers, and of a letter of these on a phone, where they are largest.
_TICK_GAP, _LETTER = 7, 10
_MAX_LOG_TICKS = 7
_LEAST_LOG_TICKS = 4


@dataclass(frozen=True)
class Curve:
    """One line of a chart, as many x as y. Points that are not finite are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Curves on common axes. Curves of one label look alike and share one legend entry."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    caption: str
    log_y: bool = False
    # What y may be at all: a linear axis has no room beyond it.
    y_range: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class LineStyle:
    """How the curves of one label are drawn: a colour and an SVG dash pattern."""

    colour: str
    dash: str

    def attributes(self) -> str:
        """Give the style as SVG attributes."""
        return f'stroke="{self.colour}" stroke-dasharray="{self.dash}"'


def line_styles(labels: Iterable[str]) -> dict[str, LineStyle]:
    """Give every distinct label a style of its own, in order of first appearance."""
    unique = dict.fromkeys(labels)
    return {
        label: LineStyle(_COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS) % len(_DASHES)])
        for i, label in enumerate(unique)
    }


def chart_svg(chart: Chart, styles: Mapping[str, LineStyle]) -> str:
    """Draw the axes and curves of a chart as one `<svg>` that scales with its container.

    Title, caption and legend are the page's to write. Under `log_y`, points with y <= 0 are left
    out too.
    """
    lines = [(curve.label, _visible(curve, chart.log_y)) for curve in chart.curves]
    x_axis = _linear_axis([x for _, points in lines for x, _ in points], snap=False)
    ys = [y for _, points in lines for _, y in points]
    y_axis = _log_axis(ys) if chart.log_y else _linear_axis(ys, snap=True, within=chart.y_range)
    left = max(_LEFT, _TICK_GAP + _LETTER * max(len(_tick_text(tick)) for tick in y_axis.ticks))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + x_axis.fraction(x) * (_WIDTH - left - _RIGHT),
            _HEIGHT - _BOTTOM - y_axis.fraction(y) * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
    ]
    for tick in y_axis.ticks:
        _, y = place(x_axis.low, tick)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(_text(left - _TICK_GAP, y + 5, _tick_text(tick), "end"))
    for tick in x_axis.ticks:
        x, _ = place(tick, y_axis.low)
        parts.append(f'<path class="axis" d="M{x:.1f} {_HEIGHT - _BOTTOM}v5"/>')
        parts.append(_text(x, _HEIGHT - _BOTTOM + 19, _tick_text(tick), "middle"))
    parts.append(f'<path class="axis" d="M{left} {_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}"/>')
    parts.append(_text(0, 15, chart.y_label, "start"))
    parts.append(_text((left + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, chart.x_label, "middle"))
    for label, points in lines:
        style = styles[label]
        places = [place(x, y) for x, y in points]
        if len(places) == 1:
            (x, y), *_ = places
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{style.colour}"/>')
        elif places:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="curve" points="{path}" {style.attributes()}/>')
    return "".join([*parts, "</svg>"])


def _visible(curve: Curve, log_y: bool) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for x, y in zip(curve.x, curve.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and not (log_y and y <= 0)
    ]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tick_text(tick: float) -> str:
    if abs(tick) >= 1e6:
        return f"{tick / 1e6:g}M"
    if abs(tick) >= 1e4:
        return f"{tick / 1e3:g}k"
    return f"{tick:g}"


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def fraction(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _linear_axis(
    values: Sequence[float], snap: bool, within: tuple[float, float] = (-math.inf, math.inf)
) -> _Axis:
    """Cover the values; with `snap`, up to the ticks around them.

    Where all are the same there is room around them, though not beyond `within`.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.1 * abs(low) or 1.0
        low = max(low - margin, min(low, within[0]))
        high = min(high + margin, max(high, within[1]))
    ticks = [
        float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
    ]
    if snap:
        return _Axis(ticks[0], ticks[-1], ticks)
    return _Axis(low, high, [tick for tick in ticks if low <= tick <= high])


def _log_axis(values: Sequence[float]) -> _Axis:
    """Cover the values up to the ticks around them, of which there are four at the least.

    They are even steps where the values are close, else 1, 2 and 5, or 1 and 3, of each decade, or
    whole decades.
    """
    low, high = min(values, default=0.1), max(values, default=1.0)
    if high <= low * (1 + 1e-4):  # a line on the axis would not be seen, nor ticks differ
        low, high = low / 1.1, high * 1.1
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = _log_ticks(low, high, digits)
        if len(ticks) <= _MAX_LOG_TICKS:
            break
    if len(ticks) < _LEAST_LOG_TICKS:
        locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        even = [float(f"{tick:.12g}") for tick in locator.tick_values(low, high)]
        if even[0] > 0:
            ticks = even
    step = 1
    while len(ticks) > _MAX_LOG_TICKS:
        step += 1
        ticks = _log_ticks(low, high, (1,), step)
    return _Axis(ticks[0], ticks[-1], ticks, log=True)


def _log_ticks(low: float, high: float, digits: Sequence[int], step: int = 1) -> list[float]:
    """Returns digits of every so many decades, from the last up to `low` to one from `high` on."""
    first = math.floor(math.log10(low)) // step * step - step
    decades = range(first, math.ceil(math.log10(high)) + step + 1, step)
    every = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    start = max(i for i, tick in enumerate(every) if tick <= low)
    end = next(i for i, tick in enumerate(every) if tick >= high and i > start)
    return every[start : end + 1]
