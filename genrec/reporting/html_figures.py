"""Figures as HTML with legend and caption, for the pages of comparisons and of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from genrec.reporting.html_tables import breakable
from genrec.reporting.plots import DASHES, NUM_COLORS, PANEL, Line, panel

_POINTS = 64
"""Maximum number of points of a curve of code use."""
_LARGE = (460, 260)
"""Width and height of a single plot, in points."""
LegendEntry = tuple[str, str, str]
"""Name of a color variable, mark and text."""


@dataclass(frozen=True)
class Series:
    """Lines that belong together: a panel for each group, a color for each label."""

    name: str
    group: str
    label: str
    lines: Sequence[Line]
    """Without colors."""


@dataclass(frozen=True)
class CodeUse:
    """How often the codes of a stream are used."""

    title: str
    levels: Sequence[Mapping[str, Any]]
    """From :func:`~genrec.evaluation.code_quality.measure_levels`."""


def lines_figure(
    series: Sequence[Series],
    *,
    caption: str,
    x_label: str,
    y_label: str,
    beside: Mapping[str, Line] | None = None,
) -> str:
    """Series in few panels: one, one for each group, or one for each series with all others behind it.

    Args:
        series: to be drawn; without any, the figure is empty.
        caption: above the plots.
        x_label: of the horizontal axes.
        y_label: of the vertical axes, which are equal in all panels.
        beside: further lines of every panel, by name.
    """
    beside = beside or {}
    if not series:
        return ""
    groups = list(dict.fromkeys(part.group for part in series))
    labels = list(dict.fromkeys(part.label for part in series))
    legend = [("muted", f"dash{number % len(DASHES)}", baseline) for number, baseline in enumerate(beside)]
    panels: list[tuple[str, list[Line]]]
    if len(series) <= NUM_COLORS and (len(groups) == 1 or len(labels) == 1):
        panels = [("", [line for n, part in enumerate(series) for line in _colored(part, _color(n))])]
        legend = [(_color(n), "solid", part.name) for n, part in enumerate(series)] + legend
    elif len(groups) > 1 and len(labels) <= NUM_COLORS:
        panels = [
            (group, [line for p in series if p.group == group for line in _colored(p, _color(labels.index(p.label)))])
            for group in groups
        ]
        legend = [(_color(n), "solid", label) for n, label in enumerate(labels)] + legend
    else:
        behind = [replace(part.lines[-1], color="muted", width=0.8, opacity=0.3) for part in series]
        panels = [(part.name, [*behind, *_colored(part, "c0")]) for part in series]
        legend = [("c0", "solid", "the series named above"), ("muted", "faint", "all others"), *legend]
    everything = [line for _, lines in panels for line in lines] + list(beside.values())
    low = min(float(line.y.min()) for line in everything)
    high = max(float(line.y.max()) for line in everything)
    margin = max(0.05 * (high - low), 1e-3 * max(abs(low), abs(high))) or 0.01
    drawn = [
        _titled(title)
        + panel(
            [*beside.values(), *lines],
            described=f"{y_label} by {x_label}: {title or ', '.join(part.name for part in series)}",
            x_label=x_label,
            y_label=y_label,
            y_range=(max(low - margin, min(low, 0.0)), high + margin),
            size=_LARGE if len(panels) == 1 else PANEL,
        )
        for title, lines in panels
    ]
    return _panels_figure(caption, legend, drawn)


def _colored(series: Series, color: str) -> list[Line]:
    return [replace(line, color=color) for line in series.lines]


def _color(number: int) -> str:
    return f"c{number}" if number < NUM_COLORS else "muted"


def _titled(title: str) -> str:
    return f"<h3><bdi>{breakable(title)}</bdi></h3>" if title else ""


def wide_figure(caption: str, legend: Sequence[LegendEntry], plot: str, *, label: str) -> str:
    """A figure of one wide plot, which scrolls on a small screen.

    Args:
        caption: above the plot.
        legend: of the plot.
        plot: as HTML.
        label: text alternative of the box that scrolls.
    """
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{_legend(legend)}"
        f'<div class="scroll wide" tabindex="0" role="region" aria-label="{escape(label)}">{plot}</div></figure>'
    )


def codes_use_figure(uses: Sequence[CodeUse], *, note: str = "") -> str:
    """How often each code of each level is used: a panel for each stream.

    Args:
        uses: of the streams.
        note: at the end of the caption.
    """
    curves = [[_use(level["counts"]) for level in use.levels] for use in uses]
    top = max((float(y.max()) for of_stream in curves for _, y in of_stream if len(y)), default=1.0)
    deepest = max(len(of_stream) for of_stream in curves)
    panels = []
    for use, of_stream in zip(uses, curves, strict=True):
        used = ", ".join(f"{level['used']:,} of {level['vocabulary']:,}" for level in use.levels)
        plot = panel(
            [
                Line(x, y, _color(level), width=max(1.4, 4.0 - 1.3 * level))
                for level, (x, y) in enumerate(of_stream)
                if len(y)
            ],
            described=f"Use of codes, {use.title}. Codes used by level: {used}",
            x_label="% of the level's codes, from the most used",
            y_label="items per code",
            x_range=(0, 100),
            y_range=(0.8, 1.3 * max(top, 1.0)),
            is_log=True,
        )
        panels.append(f'{_titled(use.title)}<p class="small">used: {used}</p>{plot}')
    names = [f"level {level + 1}" for level in range(min(deepest, NUM_COLORS))]
    if deepest > NUM_COLORS:
        names.append(f"level {NUM_COLORS + 1} and deeper")
    legend = [(_color(level), "solid", name) for level, name in enumerate(names)]
    return _panels_figure(
        "Items per code, from the most used code. A flat line uses all codes equally; one that ends before 100 % "
        f"leaves codes unused.{note}",
        legend,
        panels,
    )


def _panels_figure(caption: str, legend: Sequence[LegendEntry], panels: Sequence[str]) -> str:
    inside = "".join(f'<div class="panel">{part}</div>' for part in panels)
    one = " one" if len(panels) == 1 else ""
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{_legend(legend)}"
        f'<div class="panels{one}">{inside}</div></figure>'
    )


_SWATCHES = {
    "dot": '<circle cx="13" cy="5" r="3.5" fill="{}"/>',
    "diamond": '<path d="M13 0.5 L17.5 5 L13 9.5 L8.5 5z" fill="{}"/>',
    "solid": '<path d="M1 5H25" stroke="{}" stroke-width="2.5"/>',
    "faint": '<path d="M1 5H25" stroke="{}" stroke-width="1" opacity="0.5"/>',
    "dash0": '<path d="M1 5H25" stroke="{}" stroke-width="1.6" stroke-dasharray="7 3"/>',
    "dash1": '<path d="M1 5H25" stroke="{}" stroke-width="1.6" stroke-dasharray="1.6 2.4"/>',
    "dash2": '<path d="M1 5H25" stroke="{}" stroke-width="1.6" stroke-dasharray="9 3 1.5 3"/>',
}


def _legend(entries: Sequence[LegendEntry]) -> str:
    """Color, mark and name of each entry; empty without entries."""
    if not entries:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 26 10" aria-hidden="true">{_SWATCHES[mark].format(f"var(--{color})")}</svg>'
        f"<bdi>{breakable(name)}</bdi></li>"
        for color, mark, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _use(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Position in % and number of items of the used codes."""
    count_V = np.asarray(counts, dtype=np.float64)
    place = np.unique(np.linspace(0, len(count_V) - 1, _POINTS).round().astype(np.int64))
    is_used = count_V[place] > 0
    return 100.0 * (place[is_used] + 1) / len(count_V), count_V[place[is_used]]
