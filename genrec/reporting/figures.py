"""The figures of a comparison as HTML with legend and caption; an empty text if there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from genrec.comparison._values import in_a_name
from genrec.comparison.results import Comparison, ComparisonRow, Trained
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.html_tables import breakable
from genrec.reporting.plots import DASHES, NUM_COLORS, PANEL, Line, Span, intervals, panel, shortened

_LABEL = 46
"""Maximum width of a name in the plot of intervals, in columns."""
_POINTS = 64
"""Maximum number of points of a curve of code use."""
_LARGE = (460, 260)
"""Width and height of a single plot, in points."""


@dataclass(frozen=True)
class _Series:
    """Lines that belong together: a panel for each group, a color for each label."""

    name: str
    group: str
    label: str
    lines: Sequence[Line]
    """Without colors."""


def intervals_figure(comparison: Comparison) -> str:
    """The main metric of each variant and baseline with its interval, and of each seed."""
    rows, cutoff = comparison.methods, comparison.cutoff
    if not rows:
        return ""
    metric = column_name(comparison.metric, cutoff)
    tests = comparison.against_best(comparison.metric)
    equal = {test.second for test in tests if test.verdict == NOT_SIGNIFICANT}
    equal.update([tests[0].first] if tests else comparison.best_rows(comparison.metric, cutoff))
    letters = comparison.letters.get(comparison.metric, {})
    places = _places(comparison, rows)
    grouped: dict[str, list[Span]] = {}
    shown = dict(zip(places, shortened([label for _, label in places.values()], _LABEL), strict=True))
    for row in rows:
        cell = comparison.cells[row.name][comparison.metric][cutoff]
        is_baseline = row.kind == "baseline"
        group = "Baselines" if is_baseline else places[row.name][0]
        span = Span(
            label=shown[row.name],
            mean=cell.mean,
            low=cell.low,
            high=cell.high,
            seeds=row.values_SU(comparison.metric, cutoff).mean(axis=1).tolist(),
            note=f"{cell.mean:.4f}  {letters.get(row.name, '')}".strip(),
            color="c0" if row.name in equal else "muted" if is_baseline else "ink",
            is_baseline=is_baseline,
        )
        grouped.setdefault(group, []).append(span)
    plot = intervals(
        "intervals",
        list(zip(shortened(list(grouped), _LABEL), grouped.values(), strict=True)),
        described=f"{metric} of {len(rows)} methods with their intervals; the numbers are in the table of results",
        x_label=metric,
    )
    has_seeds = any(len(row.seeds) > 1 for row in rows)
    same = f"best, or {NOT_SIGNIFICANT} from it" if tests else "best"
    legend = [("c0", "dot", same), ("ink", "dot", "other variants"), ("muted", "diamond", "baselines")]
    colors = {span.color for members in grouped.values() for span in members}
    seeds = " Small dots: single seeds." if has_seeds else ""
    caption = f"{metric}: mean, and its {comparison.protocol.confidence:.0%} interval over users.{seeds}"
    if tests:
        caption += (
            " Intervals can overlap although methods differ, as the users are the same: use the letters at the right, "
            "not the intervals."
        )
    shown_legend = _legend([entry for entry in legend if entry[0] in colors])
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{shown_legend}"
        f'<div class="scroll wide" tabindex="0" role="region" aria-label="Plot of {metric}">{plot}</div></figure>'
    )


def metric_by_cutoff(comparison: Comparison) -> str:
    """The metric shown at every K: Recall, whose curve is the distribution of ranks, else the main metric."""
    return "recall" if "recall" in comparison.metrics else comparison.metric


def by_cutoff_figure(comparison: Comparison) -> str:
    """A metric at every K, from the users' ranks."""
    rows = comparison.methods
    largest = max(comparison.protocol.cutoffs)
    places = _places(comparison, rows)
    metric = metric_by_cutoff(comparison)
    title = METRICS.get(metric).title

    def line(row: ComparisonRow) -> Line:
        return Line(
            np.arange(1, largest + 1),
            np.array([float(row.values_SU(metric, cutoff).mean()) for cutoff in range(1, largest + 1)]),
        )

    series = [_Series(row.name, *places[row.name], [line(row)]) for row in rows if row.kind == "variant"]
    baselines = {
        row.name: replace(line(row), color="muted", width=1.4, dash=DASHES[number % len(DASHES)])
        for number, row in enumerate(row for row in rows if row.kind == "baseline")
    }
    return _figure(
        metric,
        series,
        caption=f"{title}@K at every K, averaged over users and seeds.",
        x_label="K",
        y_label=f"{title}@K",
        beside=baselines,
    )


def curves_figure(comparison: Comparison) -> str:
    """Validation NDCG@10 by epoch of every model; the seeds thin, their mean thick."""
    series = []
    for (name, group, label), models in _models(comparison):
        curves = [_curve(model) for model in models]
        curves = [curve for curve in curves if len(curve.x)]
        if len(curves) > 1:
            common = sorted(set.intersection(*(set(curve.x.tolist()) for curve in curves)))
            mean = np.mean([curve.y[np.isin(curve.x, common)] for curve in curves], axis=0)
            thin = [replace(curve, width=0.9, opacity=0.45) for curve in curves]
            curves = [*thin, Line(np.array(common), mean)] if common else thin
        if curves:
            series.append(_Series(name, group, label, curves))
    return _figure(
        "curves",
        series,
        caption="NDCG@10 on validation users by epoch, mean of the single streams, before any merge: the criterion "
        "of checkpoint selection. Merges share one model. Thin: one seed; thick: mean over seeds.",
        x_label="epoch",
        y_label="validation NDCG@10",
    )


def codes_figure(comparison: Comparison) -> str:
    """How often each code of each level is used, by stream and model; models with equal codes share a plot."""
    found: dict[tuple[str, str], tuple[list[str], Sequence[Mapping[str, Any]]]] = {}
    for (name, _, _), models in _models(comparison):
        codes = next((model.codes for model in models if model.codes), {})
        for stream, quality in codes.items():
            names, _ = found.setdefault((stream, repr(quality["levels"])), ([], quality["levels"]))
            names.append(name)
    if not found:
        return ""
    streams = [stream for stream, _ in found]
    curves = {key: [_use(level["counts"]) for level in levels] for key, (_, levels) in found.items()}
    top = max((float(y.max()) for of_stream in curves.values() for _, y in of_stream if len(y)), default=1.0)
    deepest = max(len(of_stream) for of_stream in curves.values())
    panels = []
    for number, (key, (names, levels)) in enumerate(found.items()):
        stream = key[0]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        title = stream if streams.count(stream) == 1 else f"{names[0]}{more}: {stream}"
        used = ", ".join(f"{level['used']:,} of {level['vocabulary']:,}" for level in levels)
        plot = panel(
            f"codes{number}",
            [
                Line(x, y, _color(level), width=max(1.4, 4.0 - 1.3 * level))
                for level, (x, y) in enumerate(curves[key])
                if len(y)
            ],
            described=f"Use of codes, {title}. Codes used by level: {used}",
            x_label="% of the level's codes, from the most used",
            y_label="items per code",
            x_range=(0, 100),
            y_range=(0.8, 1.3 * max(top, 1.0)),
            is_log=True,
        )
        panels.append(f'{_titled(title)}<p class="small">used: {used}</p>{plot}')
    names = [f"level {level + 1}" for level in range(min(deepest, NUM_COLORS))]
    if deepest > NUM_COLORS:
        names.append(f"level {NUM_COLORS + 1} and deeper")
    legend = [(_color(level), "solid", name) for level, name in enumerate(names)]
    return _html(
        "Items per code, from the most used code. A flat line uses all codes equally; one that ends before 100 % "
        "leaves codes unused. First seed of each model.",
        legend,
        panels,
    )


def _curve(model: Trained) -> Line:
    points = [
        (epoch.epoch, epoch.validation)
        for epoch in model.curve
        if epoch.validation is not None and np.isfinite(epoch.validation)
    ]
    return Line(np.array([x for x, _ in points], dtype=np.int64), np.array([y for _, y in points], dtype=np.float64))


def _use(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Position in % and number of items of the used codes."""
    count_V = np.asarray(counts, dtype=np.float64)
    place = np.unique(np.linspace(0, len(count_V) - 1, _POINTS).round().astype(np.int64))
    is_used = count_V[place] > 0
    return 100.0 * (place[is_used] + 1) / len(count_V), count_V[place[is_used]]


def _places(comparison: Comparison, rows: Iterable[ComparisonRow]) -> dict[str, tuple[str, str]]:
    """Name of a row -> group (the value on the first axis) and label (those on the others), if they are unique."""
    varied = [axis for axis, values in comparison.axes.items() if len(values) > 1]
    places = {}
    for row in rows:
        values = [in_a_name(axis, row.setting[axis]) for axis in varied if axis in row.setting]
        is_whole = len(values) == len(varied) > 1 and row.kind == "variant"
        places[row.name] = (values[0], ", ".join(values[1:])) if is_whole else ("", row.name)
    names = [name for name in places if next(iter(places[name]))]
    if len({places[name] for name in names}) < len(names):
        return {name: ("", name) for name in places}
    return places


def _models(comparison: Comparison) -> list[tuple[tuple[str, str, str], Sequence[Trained]]]:
    """The distinct models of the variants: name, group and label, and the model of each seed."""
    owners: dict[str, int] = {}
    groups: list[list[ComparisonRow]] = []
    for row in comparison.table_rows:
        if row.kind != "variant" or not row.models:
            continue
        known = [owners[model.model_key] for model in row.models if model.model_key in owners]
        number = known[0] if known else len(groups)
        if number == len(groups):
            groups.append([])
        groups[number].append(row)
        owners.update({model.model_key: number for model in row.models})
    deciding = [
        axis
        for axis, values in comparison.axes.items()
        if len(values) > 1 and all(len({row.setting.get(axis) for row in rows}) == 1 for rows in groups)
    ]
    named = []
    for rows in groups:
        shared = [in_a_name(axis, rows[0].setting[axis]) for axis in deciding if axis in rows[0].setting]
        name = ", ".join(shared) or (rows[0].name if len(rows) == 1 else "all variants")
        named.append((name, shared[0] if len(shared) > 1 else "", ", ".join(shared[1:]) or name))
    if len({name for name, _, _ in named}) < len(named):
        named = [(rows[0].name, "", rows[0].name) for rows in groups]
    models = [list({model.model_key: model for row in rows for model in row.models}.values()) for rows in groups]
    return list(zip(named, models, strict=True))


def _figure(
    name: str,
    series: Sequence[_Series],
    *,
    caption: str,
    x_label: str,
    y_label: str,
    beside: Mapping[str, Line] | None = None,
) -> str:
    """Series in few panels: one, one for each group, or one for each series with all others behind it."""
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
    margin = 0.05 * (high - low) or 0.01
    drawn = [
        _titled(title)
        + panel(
            f"{name}{number}",
            [*beside.values(), *lines],
            described=f"{y_label} by {x_label}: {title or ', '.join(part.name for part in series)}",
            x_label=x_label,
            y_label=y_label,
            y_range=(max(low - margin, 0.0), high + margin),
            size=_LARGE if len(panels) == 1 else PANEL,
        )
        for number, (title, lines) in enumerate(panels)
    ]
    return _html(caption, legend, drawn)


def _colored(series: _Series, color: str) -> list[Line]:
    return [replace(line, color=color) for line in series.lines]


def _color(number: int) -> str:
    return f"c{number}" if number < NUM_COLORS else "muted"


def _titled(title: str) -> str:
    return f"<h3><bdi>{breakable(title)}</bdi></h3>" if title else ""


def _html(caption: str, legend: Sequence[tuple[str, str, str]], panels: Sequence[str]) -> str:
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


def _legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """Color, mark and name of each entry."""
    items = "".join(
        f'<li><svg viewBox="0 0 26 10" aria-hidden="true">{_SWATCHES[mark].format(f"var(--{color})")}</svg>'
        f"<bdi>{breakable(name)}</bdi></li>"
        for color, mark, name in entries
    )
    return f'<ul class="legend">{items}</ul>'
