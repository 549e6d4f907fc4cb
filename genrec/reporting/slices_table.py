"""A heat map of groups of users and methods, as an HTML table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.slices import MEMORIZATION, MEMORIZATION_TEXT
from genrec.reporting.html_tables import row_head, scrolling

_HALF = 0.5
"""Cells have no color up to this share of the best in their column."""


class SliceColumn(NamedTuple):
    """A group of users."""

    axis: str
    """What divides the users; columns of one axis are neighbors."""
    label: str
    users: int


class SliceRow(NamedTuple):
    """A method."""

    name: str
    is_baseline: bool
    means: Sequence[float]
    """By column."""


def slices_table(
    metric: str, cutoff: int, columns: Sequence[SliceColumn], rows: Sequence[SliceRow], *, averaged_over: str
) -> str:
    """The table and its explanation.

    Args:
        metric: name of the metric.
        cutoff: the K.
        columns: groups of users.
        rows: methods.
        averaged_over: what a mean is taken over: ``users``.
    """
    axes = list(dict.fromkeys(column.axis for column in columns))
    ordered = [place for axis in axes for place, column in enumerate(columns) if column.axis == axis]
    firsts = {next(place for place in ordered if columns[place].axis == axis) for axis in axes}
    measure = METRICS.get(metric)
    top = [measure.best(row.means[place] for row in rows) for place in range(len(columns))]

    def cell(mean: float, place: int) -> str:
        small, large = (mean, top[place]) if measure.higher_is_better else (top[place], mean)
        share = max(small / large - _HALF, 0.0) / (1.0 - _HALF) if large > 0 else 0.0
        first = " first" if place in firsts else ""
        text = f"<b>{mean:.4f}</b>" if measure.is_best(mean, top[place]) else f"{mean:.4f}"
        return f'<td class="heat{first}" style="--share: {share:.3f}">{text}</td>'

    spans = "".join(
        f'<th scope="colgroup" class="first" colspan="{sum(column.axis == axis for column in columns)}">'
        f"{escape(axis)}</th>"
        for axis in axes
    )
    labels = "".join(
        f'<th scope="col"{" class=first" if place in firsts else ""}>{escape(columns[place].label)}'
        f'<span class="note">{columns[place].users:,} users</span></th>'
        for place in ordered
    )
    tag = ' <span class="tag">baseline</span>'
    body = "".join(
        f"<tr>{row_head(row.name, tag * row.is_baseline)}"
        f"{''.join(cell(row.means[place], place) for place in ordered)}</tr>"
        for row in rows
    )
    title = column_name(metric, cutoff)
    note = (
        f"{title}, mean over {averaged_over}. Color: share of the best in the column, none below {_HALF:.0%}. "
        "Slices are small and differences between them are not tested."
        + f" {MEMORIZATION_TEXT}"
        * (MEMORIZATION in axes)
    )
    head = f'<thead><tr><td></td>{spans}</tr><tr><th scope="col">method</th>{labels}</tr></thead>'
    table = scrolling(f"{title} by slice", f"{head}<tbody>{body}</tbody>", kind="slices")
    return f'<p class="small">{escape(note)}</p>{table}'
