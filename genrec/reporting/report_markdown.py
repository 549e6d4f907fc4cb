"""A run's report as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genrec.evaluation.metrics import METRICS, column_name, main_cutoff, main_metric
from genrec.evaluation.significance import LEVEL
from genrec.evaluation.slices import MEMORIZATION, MEMORIZATION_TEXT
from genrec.reporting.beyond_accuracy import BEYOND, beyond_tests_text, beyond_text
from genrec.reporting.cold_items import cold_lines
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.next_steps import Step, run_steps, step_lines
from genrec.reporting.report import MethodResult, Metrics, PairedTest, Report
from genrec.reporting.texts import (
    interval_text,
    intervals_text,
    oracle_text,
    p_text,
    protocol_text,
    seconds_text,
    signed_text,
    table,
)
from genrec.training.log import EpochRecord

_TEST_HEAD = ("against", "metric", "difference", "p", "p (Holm)", "p (Wilcoxon)", "verdict")
_BARS = "▁▂▃▄▅▆▇█"


def markdown(report: Report, folder: Path | None) -> str:
    """The whole report.

    Args:
        report: of a run.
        folder: of that run, for the commands at the end; None: no commands.
    """
    return "\n".join(_lines(report, folder)).rstrip() + "\n"


def _lines(report: Report, folder: Path | None) -> Iterator[str]:
    yield from (f"# {report.title}", "", f"**{run_conclusion(report)}**", "")
    yield from ("## Results", "", *results_table(report), "", f"**Protocol.** {run_protocol_text(report)}", "")
    if any(row.kind == "oracle" for row in report.rows):
        yield from (oracle_text(), "")
    if report.tests:
        yield from ("## Tests of the merge", "", tests_text(report), "")
        yield from (*table(_TEST_HEAD, _tests(report.tests)), "")
    yield from _slices(report)
    if report.beyond_accuracy:
        yield from (f"## {BEYOND}", "", *beyond_table(report), "", run_beyond_text(report), "")
    if report.beyond_tests:
        yield from (beyond_tests_text(report.beyond_tests[0].method, len(report.beyond_tests)), "")
        yield from (*table(_TEST_HEAD, _tests(report.beyond_tests)), "")
    if report.cold_items is not None:
        yield from ("## Cold items", "", *cold_lines(report.cold_items), "")
    if report.notes:
        yield from ("## Notes", "", *(f"- {note}" for note in report.notes), "")
    if report.curve:
        yield from ("## Training", "", *_training(report.curve), "")
    if report.parameters:
        rows = [(name, f"{count:,}") for name, count in report.parameters.items()]
        total = ("**total**", f"**{sum(report.parameters.values()):,}**")
        yield from ("## Parameters", "", *table(("part", "trainable parameters"), [*rows, total]), "")
    if report.stage_seconds:
        rows = [(name, seconds_text(seconds)) for name, seconds in report.stage_seconds.items()]
        yield from ("## Time", "", *table(("stage", "wall clock"), rows), "")
    if folder is not None:
        yield from ("## Next steps", "", "```sh", *step_lines(steps_of(report, folder)), "```", "")


def steps_of(report: Report, folder: Path) -> list[Step]:
    """The commands for the next steps after a run in a folder."""
    has_merge = any(row.kind == "merge" for row in report.rows)
    return run_steps(folder, history=report.example_history, has_merge=has_merge, data=report.data_folder)


def columns(report: Report) -> list[tuple[str, int]]:
    """Metric and cutoff of each column of the table."""
    return [(metric, cutoff) for metric in report.metrics for cutoff in report.protocol.cutoffs]


def beyond_columns(report: Report) -> list[tuple[str, int]]:
    """Metric and cutoff of each column of the table of metrics beyond accuracy."""
    metrics = report.rows[0].beyond_accuracy if report.rows else {}
    return [(metric, cutoff) for metric, by_cutoff in metrics.items() for cutoff in by_cutoff]


def beyond_rows(report: Report) -> list[MethodResult]:
    """The methods with metrics beyond accuracy: all but the oracle."""
    return [row for row in report.rows if row.beyond_accuracy]


def best_means(report: Report) -> dict[tuple[str, int], float]:
    """The best mean of each column of both tables among the methods, without the oracle."""
    methods = [row for row in report.rows if row.kind != "oracle"]
    accuracy = {
        (metric, cutoff): METRICS.get(metric).best(row.metrics[metric][cutoff].mean for row in methods)
        for metric, cutoff in columns(report)
    }
    beyond = {
        (metric, cutoff): METRICS.get(metric).best(
            row.beyond_accuracy[metric][cutoff].mean for row in beyond_rows(report)
        )
        for metric, cutoff in beyond_columns(report)
    }
    return {**accuracy, **beyond}


def run_beyond_text(report: Report, *, has_intervals: bool = True) -> str:
    """What the table of metrics beyond accuracy has."""
    cutoff, confidence = beyond_columns(report)[0][1], report.protocol.confidence if has_intervals else None
    return beyond_text(report.beyond_accuracy, cutoff, confidence, distances_in=report.distances_in)


def run_protocol_text(report: Report) -> str:
    """The evaluation protocol of a run, what the brackets are, and the seed."""
    protocol = report.protocol
    return f"{protocol_text(protocol)} {intervals_text(protocol)} Seed {protocol.seed}."


def tests_text(report: Report) -> str:
    """How the tests were made."""
    return (
        f"{report.tests[0].method} against each other method over the same users: paired bootstrap, two-sided, "
        f"Holm-corrected for {len(report.tests)} tests. A difference is significant if p (Holm) is below {LEVEL}. "
        "Wilcoxon's signed-rank p is not corrected."
    )


def verdict_text(test: PairedTest) -> str:
    """One test in words."""
    is_verdict = f"{test.verdict} {'than' if test.verdict in ('better', 'worse') else 'from'}"
    return (
        f"{test.method} is {is_verdict} {test.other} in {column_name(test.metric, test.cutoff)}: "
        f"{_difference(test)}, p (Holm) {p_text(test.p_holm)}"
    )


def sparkline(values: Sequence[float | None]) -> str:
    """A curve in one line of text; a space for a missing value."""
    values = [value if value is not None and math.isfinite(value) else None for value in values]
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(" " if value is None else _BARS[round((value - low) / step)] for value in values)


def results_table(report: Report) -> Iterator[str]:
    """The lines of the table of results: methods by metrics with intervals, the best method in bold."""
    best = best_means(report)
    head = ("method", "kind", *(column_name(*column) for column in columns(report)))
    rows = [
        (
            f"*{row.name}*" if row.kind == "oracle" else row.name,
            "*upper bound*" if row.kind == "oracle" else row.kind,
            *(_cell(row, row.metrics, column, best) for column in columns(report)),
        )
        for row in report.rows
    ]
    return table(head, rows)


def beyond_table(report: Report) -> Iterator[str]:
    """The lines of the table of metrics beyond accuracy."""
    best = best_means(report)
    head = ("method", "kind", *(column_name(*column) for column in beyond_columns(report)))
    return table(
        head,
        (
            (row.name, row.kind, *(_cell(row, row.beyond_accuracy, column, best) for column in beyond_columns(report)))
            for row in beyond_rows(report)
        ),
    )


def _cell(row: MethodResult, metrics: Metrics, column: tuple[str, int], best: Mapping[tuple[str, int], float]) -> str:
    metric, cutoff = column
    estimate = metrics[metric][cutoff]
    is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[column])
    mean = f"**{estimate.mean:.4f}**" if is_best else f"{estimate.mean:.4f}"
    return f"{mean} {interval_text(estimate)}"


def _tests(tests: Sequence[PairedTest]) -> Iterator[tuple[str, ...]]:
    for test in tests:
        yield (
            test.other,
            column_name(test.metric, test.cutoff),
            _difference(test),
            p_text(test.difference.p),
            p_text(test.p_holm),
            p_text(test.difference.wilcoxon_p),
            test.verdict,
        )


def _slices(report: Report) -> Iterator[str]:
    title = column_name(main_metric(report.metrics), main_cutoff(report.protocol.cutoffs)) if report.slices else ""
    for axis in dict.fromkeys(part.axis for part in report.slices):
        parts = [part for part in report.slices if part.axis == axis]
        note = f" {MEMORIZATION_TEXT}" * (axis == MEMORIZATION)
        yield from (f"## By {axis}", "", f"{title}; number of users in parentheses.{note}", "")
        rows = ((name, *(f"{part.means[name]:.4f}" for part in parts)) for name in parts[0].means)
        yield from (*table(("method", *(f"{part.label} ({part.users:,})" for part in parts)), rows), "")


def _difference(test: PairedTest) -> str:
    return f"{signed_text(test.difference.mean)} {interval_text(test.difference, signed=True)}"


def _training(curve: Sequence[EpochRecord]) -> Iterator[str]:
    measured = [epoch for epoch in curve if epoch.validation is not None]
    if measured:
        best = max(measured, key=lambda epoch: epoch.validation or 0.0)
        line = sparkline([epoch.validation for epoch in curve])
        yield f"Validation NDCG@10 `{line}`, best {best.validation:.4f} in epoch {best.epoch}."
        yield ""
    yield from ("![Loss and validation NDCG@10 by epoch](curves.svg)", "")
    parts = list(dict.fromkeys(part for epoch in curve for part in epoch.losses))
    rows = [
        (
            str(epoch.epoch),
            *(f"{epoch.losses[part]:.4f}" if part in epoch.losses else "" for part in parts),
            "" if epoch.validation is None else f"{epoch.validation:.4f}",
            f"{epoch.learning_rate:.2e}",
            seconds_text(epoch.seconds),
        )
        for epoch in curve
    ]
    yield from table(("epoch", *parts, "validation NDCG@10", "learning rate", "time"), rows)
