"""Plots as SVG inside a page: unique ids, colors of the page, selectable text.

Colors are CSS variables of the page (``--ink``, ``--muted``, ``--line``, ``--c0`` to ``--c6``), so that light and dark
mode share a plot. Equal data give equal bytes.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.reporting.texts import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_COLORS = 7
"""``--c0`` to ``--c6``: Okabe and Ito's palette, distinguishable for color-blind readers."""
DASHES: Sequence[Any] = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
"""Line styles of the baselines, as matplotlib writes them."""
_STAND_INS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    **{f"c{number}": f"#04040{number}" for number in range(NUM_COLORS)},
}
"""Placeholder colors for matplotlib, later replaced by variables. Matplotlib shortens none of them."""
_EM = 0.62
"""Upper bound of the width of a letter as a share of the font size, for fonts that matplotlib cannot measure."""
_CONTEXT = 12
"""Number of shared letters of long names that stay before and after the differing part."""
_FONT, _ROW = 11, 19
PANEL = (300, 190)
"""Width and height of one of several plots, in points."""


@dataclass(frozen=True)
class Line:
    """One curve."""

    x: np.ndarray
    y: np.ndarray
    color: str = "ink"
    """Name of a variable of the page."""
    width: float = 1.8
    opacity: float = 1.0
    dash: Any = "solid"


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
    name: str,
    lines: Sequence[Line],
    *,
    described: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float],
    x_range: tuple[float, float] | None = None,
    is_log: bool = False,
    size: tuple[float, float] = PANEL,
) -> str:
    """A small plot of lines.

    Args:
        name: letters and digits, unique on the page.
        lines: in the order of drawing.
        described: text alternative.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        y_range: of the vertical axis, equal for plots that are compared.
        x_range: of the horizontal axis; default: fitted to the lines.
        is_log: whether the vertical axis is logarithmic.
        size: width and height in points.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    with _style():
        figure, axes = _figure(*size, left=54, right=12, top=8, bottom=38)
        for line in lines:
            marker = "o" if len(line.x) == 1 else ""
            axes.plot(
                line.x,
                line.y,
                color=_STAND_INS[line.color],
                linewidth=line.width,
                alpha=line.opacity,
                linestyle=line.dash,
                marker=marker,
                markersize=4,
                solid_capstyle="round",
            )
        axes.set_ylim(*y_range)
        if x_range is not None:
            axes.set_xlim(*x_range)
        if is_log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(numticks=5))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.grid(axis="y")
        axes.set_xlabel(x_label, labelpad=3)
        figure.text(
            10 / size[0], 0.5 + 15 / size[1], y_label, rotation=90, va="center", ha="center", rotation_mode="anchor"
        )
        return _svg(figure, name, described)


def intervals(name: str, groups: Sequence[tuple[str, Sequence[Span]]], *, described: str, x_label: str) -> str:
    """A line for each method: its interval, its mean and the means of its seeds.

    Args:
        name: letters and digits, unique on the page.
        groups: title ("" for none) and members, from top to bottom.
        described: text alternative.
        x_label: of the horizontal axis.
    """
    from matplotlib.ticker import MaxNLocator

    spans = [span for _, members in groups for span in members]
    rows = sum(len(members) + bool(title) for title, members in groups)
    left = 14 + _EM * _FONT * max([text_width(span.label) + 2 for span in spans] + [text_width(t) for t, _ in groups])
    right = 22 + _EM * _FONT * max(text_width(span.note) for span in spans)
    width, top, bottom = max(left + right + 380, 640), 8, 34
    height = top + bottom + rows * _ROW
    with _style():
        figure, axes = _figure(width, height, left=left, right=right, top=top, bottom=bottom)
        axes.set_ylim(rows - 0.5, -0.5)
        row = 0
        for title, members in groups:
            if title:
                _text(axes, 4 - left, row, title, "left", weight="bold")
                row += 1
            for span in members:
                _span(axes, span, row, indent=(18 if title else 4) - left, width=width - left - right)
                row += 1
        extent = [value for span in spans for value in (span.low, span.high, *span.seeds)]
        margin = 0.04 * (max(extent) - min(extent)) or 0.01
        axes.set_xlim(min(extent) - margin, max(extent) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label, labelpad=3)
        return _svg(figure, name, described)


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


def _span(axes: Axes, span: Span, row: int, *, indent: float, width: float) -> None:
    color = _STAND_INS[span.color]
    if span.is_baseline:
        axes.axvline(span.mean, color=color, linewidth=1, linestyle=DASHES[0], alpha=0.7, zorder=1)
    axes.plot(
        [span.low, span.high], [row, row], color=color, linewidth=2.4, alpha=0.45, solid_capstyle="butt", zorder=2
    )
    if len(span.seeds) > 1:
        axes.plot(span.seeds, [row + 0.27] * len(span.seeds), "o", color=color, markersize=2.6, alpha=0.75, zorder=3)
    axes.plot([span.mean], [row], "D" if span.is_baseline else "o", color=color, markersize=5.5, zorder=4)
    _text(axes, indent, row, span.label, "left")
    _text(axes, width + 10, row, span.note, "left")


def _text(axes: Axes, x: float, row: int, text: str, align: Any, **style: Any) -> None:
    """A text at a distance from the left edge of the axes, on a row."""
    axes.annotate(
        text,
        (0, row),
        xycoords=("axes fraction", "data"),
        xytext=(x, 0),
        textcoords=("offset points", "offset points"),
        va="center_baseline",
        ha=align,
        annotation_clip=False,
        **style,
    )


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib settings of all plots; warnings about missing glyphs are irrelevant for SVG text."""
    from matplotlib import rc_context

    ink, line = _STAND_INS["ink"], _STAND_INS["line"]
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "genrec",
        "text.parse_math": False,
        "font.size": _FONT,
        "font.family": "sans-serif",
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": line,
        "axes.linewidth": 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": _FONT,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": line,
        "grid.linewidth": 0.8,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "xtick.labelsize": _FONT - 1,
        "ytick.labelsize": _FONT - 1,
        "ytick.major.size": 0,
        "path.simplify": True,
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield


def _figure(
    width: float, height: float, *, left: float, right: float, top: float, bottom: float
) -> tuple[Figure, Axes]:
    """A figure with one plot, in points, which are the units of its SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    place = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(place)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str, described: str) -> str:
    """The figure as an element of a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<g") : svg.rindex("</svg>")]
    linked = set(re.findall(r'<[^>]*?(?:url\(|href=")#([^)"]+)', svg))
    svg = re.sub(r"<[^>]+>", lambda tag: _tag(tag[0], name, linked), svg)  # texts stay as they are
    svg = re.sub(r"<!--.*?-->|<defs>\s*</defs>|<g/>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\n\s*", "\n", svg)
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    return (
        f'<svg class="plot" role="img" aria-label="{escape(plain(described))}" viewBox="0 0 {width} {height}" '
        f'style="--natural: {width}px">{svg}</svg>'
    )


def _tag(tag: str, name: str, linked: set[str]) -> str:
    """A tag with the colors and fonts of the page, unique ids and few digits."""
    tag = re.sub(r"""font: ([^;"]*?)([\d.]+)px[^;"]*""", r"font-weight: \1; font-size: \2px", tag)
    tag = re.sub(r"""font-weight: ;\s*|font-family: [^;"]*;?\s*| transform="rotate\(-0 [^"]*\)\"""", "", tag)
    tag = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in linked else "", tag)
    tag = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", tag)
    for variable, stand_in in _STAND_INS.items():
        tag = tag.replace(stand_in, f"var(--{variable})")
    tag = re.sub(r"(?<=\d)\.(\d)\d+", r".\1", tag)
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"\s*([MLCz])\s*", r"\1", path[0]), tag)
