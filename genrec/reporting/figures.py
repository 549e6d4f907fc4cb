"""The figures of a comparison as HTML with legend and caption; an empty text if there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genrec.comparison._values import in_a_name
from genrec.comparison.results import Comparison, ComparisonRow, Trained
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.html_figures import CodeUse, Series, codes_use_figure, lines_figure, wide_figure
from genrec.reporting.plots import DASHES, Line, Span, intervals, shortened

_LABEL = 46
"""Maximum width of a name in the plot of intervals, in columns."""


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
    shown_legend = [entry for entry in legend if entry[0] in colors]
    return wide_figure(caption, shown_legend, plot, label=f"Plot of {metric}")


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

    series = [Series(row.name, *places[row.name], [line(row)]) for row in rows if row.kind == "variant"]
    baselines = {
        row.name: replace(line(row), color="muted", width=1.4, dash=DASHES[number % len(DASHES)])
        for number, row in enumerate(row for row in rows if row.kind == "baseline")
    }
    return lines_figure(
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
            series.append(Series(name, group, label, curves))
    return lines_figure(
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
    uses = []
    for (stream, _), (names, levels) in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        title = stream if streams.count(stream) == 1 else f"{names[0]}{more}: {stream}"
        uses.append(CodeUse(title, levels))
    return codes_use_figure(uses, note=" First seed of each model.")


def _curve(model: Trained) -> Line:
    points = [
        (epoch.epoch, epoch.validation)
        for epoch in model.curve
        if epoch.validation is not None and np.isfinite(epoch.validation)
    ]
    return Line(np.array([x for x, _ in points], dtype=np.int64), np.array([y for _, y in points], dtype=np.float64))


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
