"""Plots as SVG inside a page: lines over an axis, and intervals of methods.

Colors are CSS variables of the page (``--ink``, ``--muted``, ``--line``, ``--c0`` to ``--c6``), so that light and dark
mode share a plot; texts are selectable. Equal data give equal bytes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile

import numpy as np

from genrec.reporting.texts import plain

NUM_COLORS = 7
"""``--c0`` to ``--c6``: Okabe and Ito's palette, distinguishable for color-blind readers."""
DASHES = ("7 3", "1.6 2.4", "9 3 1.5 3")
"""Line styles of the baselines, as SVG writes them."""
_EM = 0.62
"""Upper bound of the width of a letter as a share of the font size."""
_CONTEXT = 12
"""Number of shared letters of long names that stay before and after the differing part."""
_FONT, _SMALL, _ROW = 11, 10, 19
"""Font size, font size of the axes, and height of a line of intervals, in units of a plot."""
_LONG = 1e6
"""Ticks of an axis that reaches this far are written with an exponent."""
PANEL = (300, 190)
"""Width and height of one of several plots, in units of a plot."""
Scale = Callable[[float], float]
"""From a value to its place in a plot."""


@dataclass(frozen=True)
class Line:
    """One curve."""

    x: np.ndarray
    y: np.ndarray
    color: str = "ink"
    """Name of a variable of the page."""
    width: float = 1.8
    opacity: float = 1.0
    dash: str = ""
    """One of ``DASHES``; empty for a solid line."""


@dataclass(frozen=True)
class Span:
    """One line of a plot of intervals."""

    label: str
    mean: float
    low: float
    high: float
    seeds: Sequence[float]
    """The mean of each seed; shown for two seeds or more."""
    note: str
    """Short, at the right."""
    color: str
    is_baseline: bool = False
    """Baselines are also lines from top to bottom."""


def panel(
    lines: Sequence[Line],
    *,
    described: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float],
    x_range: tuple[float, float] | None = None,
    is_log: bool = False,
    size: tuple[int, int] = PANEL,
) -> str:
    """A small plot of lines.

    Args:
        lines: in the order of drawing.
        described: text alternative.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        y_range: of the vertical axis, equal for plots that are compared.
        x_range: of the horizontal axis; default: fitted to the lines.
        is_log: whether the vertical axis is logarithmic.
        size: width and height in units of a plot.
    """
    width, height = size
    left, right, top, bottom = 58.0, width - 18.0, 8.0, height - 38.0
    x_low, x_high = x_range or _widened([float(x) for line in lines for x in line.x])
    across = _scale(x_low, x_high, left, right)
    y_low, y_high = (math.log10(y_range[0]), math.log10(y_range[1])) if is_log else y_range
    up = _scale(y_low, y_high, bottom, top)
    parts = []
    for value, label in _powers(*y_range) if is_log else ticks(*y_range, 4):
        y = up(math.log10(value) if is_log else value)
        parts.append(_rule(left, y, right, y))
        parts.append(_text(left - 6, y + 3.5, label, anchor="end", size=_SMALL))
    parts += _axis(across, ticks(x_low, x_high, 5, whole=True), left, right, bottom, x_label)
    parts.append(_rule(left, top, left, bottom))
    middle = (top + bottom) / 2
    parts.append(_text(12, middle, y_label, anchor="middle", more=f' transform="rotate(-90 12 {_number(middle)})"'))
    for line in lines:
        heights = np.log10(line.y) if is_log else line.y
        points = [(across(float(x)), up(float(y))) for x, y in zip(line.x, heights, strict=True)]
        parts.append(_curve(points, line))
    return _svg(width, height, parts, described)


def intervals(groups: Sequence[tuple[str, Sequence[Span]]], *, described: str, x_label: str) -> str:
    """A line for each method: its interval, its mean and the means of its seeds.

    Args:
        groups: title ("" for none) and members, from top to bottom.
        described: text alternative.
        x_label: of the horizontal axis.
    """
    spans = [span for _, members in groups for span in members]
    rows = sum(len(members) + bool(title) for title, members in groups)
    left = 14 + _EM * _FONT * max([text_width(span.label) + 2 for span in spans] + [text_width(t) for t, _ in groups])
    margin = 22 + _EM * _FONT * max(text_width(span.note) for span in spans)
    width, top = round(max(left + margin + 380, 640)), 8
    right, bottom = width - margin, float(top + rows * _ROW)
    extent = [value for span in spans for value in (span.low, span.high, *span.seeds)]
    low, high = _widened(extent)
    across = _scale(low, high, left, right)
    parts = [_rule(across(value), top, across(value), bottom) for value, _ in ticks(low, high, 6)]
    parts += _axis(across, ticks(low, high, 6), left, right, bottom, x_label)
    parts += [
        _rule(across(span.mean), top, across(span.mean), bottom, span.color, f' stroke-dasharray="5 2" {_faint(0.7)}')
        for span in spans
        if span.is_baseline
    ]
    y = top + _ROW / 2
    for title, members in groups:
        if title:
            parts.append(_text(4, y + 4, title, more=' font-weight="bold"'))
            y += _ROW
        for span in members:
            parts.append(_text(18 if title else 4, y + 4, span.label))
            parts.append(_text(right + 10, y + 4, span.note))
            parts += _marks(span, across, y)
            y += _ROW
    return _svg(width, round(bottom) + 34, parts, described)


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Round values inside a range and their labels.

    Args:
        low: start of the range.
        high: end of the range, larger than ``low``.
        most: maximum number of steps between them.
        whole: whether the values are whole numbers.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (factor * power for factor in (1, 2, 2.5, 5, 10, 20) if not whole or factor * power % 1 == 0)
    step = next((step for step in steps if _last(high, step) - _first(low, step) <= most), 1.0)
    digits = max(-math.floor(math.log10(step)), 0)
    digits += round(step * 10**digits, 6) % 1 != 0
    values = [number * step + 0.0 for number in range(_first(low, step), _last(high, step) + 1)]
    form = f",.{digits}f" if max(abs(low), abs(high)) < _LONG else ".3g"
    return [(value, f"{value:{form}}".replace("-", "\N{MINUS SIGN}")) for value in values]


def text_width(text: str) -> int:
    """Width of a text in columns; ideographs take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(texts: Sequence[str], width: int) -> list[str]:
    """Texts shortened to about this width, one line each and still unique: parts shared by all long ones are cut."""
    texts = [plain(text) for text in texts]
    short = [_shorten(text, width) for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    long = [text for text in texts if text_width(text) > width]
    head, tail = _num_shared(long), _num_shared([text[::-1] for text in long])
    head, tail = max(head - _CONTEXT, 0), max(tail - _CONTEXT, 0)
    short = [f"…{text[head : len(text) - tail]}…" if text in long else text for text in texts]
    return short if len(set(short)) == len(set(texts)) else texts


def _num_shared(texts: Sequence[str]) -> int:
    """Length of the common prefix."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))


def _shorten(text: str, width: int) -> str:
    """The beginning and the end of a text."""
    if text_width(text) <= width:
        return text
    head, tail = text, text
    while text_width(head) > (width - 1) // 2:
        head = head[:-1]
    while text_width(tail) > width - 1 - text_width(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def _first(low: float, step: float) -> int:
    """The first multiple of a step that is not below a value, in steps."""
    return math.ceil(low / step - 1e-9)


def _last(high: float, step: float) -> int:
    """The last multiple of a step that is not above a value, in steps."""
    return math.floor(high / step + 1e-9)


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """Five powers of ten or fewer inside a range, and their labels."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [(10.0**power, f"{10.0**power:,g}") for power in range(first, last + 1, max((last - first) // 4, 1))]


def _widened(values: Sequence[float]) -> tuple[float, float]:
    """The range of some values and a little more."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = max(0.04 * (high - low), 1e-3 * max(abs(low), abs(high))) or 0.01
    return low - margin, high + margin


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axis(
    across: Scale, marked: Sequence[tuple[float, str]], left: float, right: float, bottom: float, label: str
) -> list[str]:
    """The horizontal axis with its label."""
    labels = [_text(across(value), bottom + 14, text, anchor="middle", size=_SMALL) for value, text in marked]
    return [
        _rule(left, bottom, right, bottom),
        *labels,
        _text((left + right) / 2, bottom + 29, label, anchor="middle"),
    ]


def _curve(points: Sequence[tuple[float, float]], line: Line) -> str:
    """A curve; a single point is a dot."""
    if len(points) == 1:
        return _dot(*points[0], 2.5, line.color, line.opacity)
    path = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    return (
        f'<path d="M{path}" fill="none" stroke="var(--{line.color})" stroke-width="{line.width:g}"'
        f'{dash} {_faint(line.opacity)} stroke-linecap="{"butt" if line.dash else "round"}"/>'
    )


def _marks(span: Span, across: Scale, y: float) -> list[str]:
    """The interval, the mean and the means of the seeds."""
    x, color = across(span.mean), span.color
    marks = [_rule(across(span.low), y, across(span.high), y, color, f' stroke-width="2.4" {_faint(0.45)}')]
    if len(span.seeds) > 1:
        marks += [_dot(across(seed), y + 0.27 * _ROW, 1.3, color, 0.75) for seed in span.seeds]
    if span.is_baseline:
        marks.append(f'<path d="M{_number(x)} {_number(y - 3.9)}l3.9 3.9l-3.9 3.9l-3.9 -3.9z" fill="var(--{color})"/>')
    else:
        marks.append(_dot(x, y, 2.75, color))
    return marks


def _dot(x: float, y: float, radius: float, color: str, opacity: float = 1.0) -> str:
    return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="{radius:g}" fill="var(--{color})" {_faint(opacity)}/>'


def _rule(x: float, y: float, to_x: float, to_y: float, color: str = "line", more: str = "") -> str:
    return f'<path d="M{_number(x)} {_number(y)}L{_number(to_x)} {_number(to_y)}" stroke="var(--{color})"{more}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = _FONT, more: str = "") -> str:
    return (
        f'<text x="{_number(x)}" y="{_number(y)}" fill="var(--ink)" font-size="{size}" text-anchor="{anchor}"{more}>'
        f"{escape(text)}</text>"
    )


def _faint(opacity: float) -> str:
    return f'opacity="{opacity:g}"'


def _number(value: float) -> str:
    """A coordinate with one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")


def _svg(width: int, height: int, parts: Sequence[str], described: str) -> str:
    return (
        f'<svg class="plot" role="img" aria-label="{escape(plain(described))}" viewBox="0 0 {width} {height}" '
        f'style="--natural: {width}px">{"".join(parts)}</svg>'
    )
