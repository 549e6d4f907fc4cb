"""A run's report on a terminal: the same numbers as in ``report.md``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrec.evaluation.metrics import METRICS, column_name
from genrec.reporting.beyond_accuracy import BEYOND
from genrec.reporting.cold_items import cold_sentence
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.next_steps import step_lines
from genrec.reporting.report import MethodResult, Metrics, Report
from genrec.reporting.report_markdown import (
    best_means,
    beyond_columns,
    beyond_rows,
    columns,
    run_beyond_text,
    run_protocol_text,
    steps_of,
    verdict_text,
)
from genrec.reporting.texts import interval_text, oracle_text


def print_report(report: Report, console: Console, folder: Path) -> None:
    """Print the conclusion, the table, the protocol, the verdicts, the notes and the next steps.

    Args:
        report: of a run.
        console: to print to.
        folder: of that run, for the commands at the end.
    """
    console.print(escape(run_conclusion(report)), style="bold")
    console.print(_table(report))
    console.print(escape(run_protocol_text(report)))
    if any(row.kind == "oracle" for row in report.rows):
        console.print(escape(oracle_text()))
    for test in report.tests:
        console.print(escape(f"- {verdict_text(test)}"))
    if report.beyond_accuracy:
        console.print(_beyond_table(report))
        console.print(escape(run_beyond_text(report, has_intervals=False)))
    if report.cold_items is not None:
        console.print(escape(cold_sentence(report.cold_items)))
    for note in report.notes:
        console.print(escape(f"Note: {note}"))
    console.print("Next steps:")
    for line in step_lines(steps_of(report, folder)):
        console.print(escape(f"  {line}"), soft_wrap=True, highlight=False)


def _table(report: Report) -> Table:
    best = best_means(report)
    table = Table(title=escape(report.title), title_justify="left")
    table.add_column("method")
    table.add_column("kind")
    for metric, cutoff in columns(report):
        table.add_column(column_name(metric, cutoff), justify="right")
    for row in report.rows:
        cells = [escape(row.name), "upper bound" if row.kind == "oracle" else row.kind]
        for metric, cutoff in columns(report):
            interval = escape(interval_text(row.metrics[metric][cutoff]))
            cells.append(f"{_mean(row, row.metrics, (metric, cutoff), best)}\n[dim]{interval}[/dim]")
        table.add_row(*cells, style="italic" if row.kind == "oracle" else None)
    return table


def _beyond_table(report: Report) -> Table:
    best = best_means(report)
    table = Table(title=BEYOND, title_justify="left")
    table.add_column("method")
    for metric, cutoff in beyond_columns(report):
        table.add_column(column_name(metric, cutoff), justify="right")
    for row in beyond_rows(report):
        cells = (_mean(row, row.beyond_accuracy, column, best) for column in beyond_columns(report))
        table.add_row(escape(row.name), *cells)
    return table


def _mean(row: MethodResult, metrics: Metrics, column: tuple[str, int], best: Mapping[tuple[str, int], float]) -> str:
    metric, cutoff = column
    estimate = metrics[metric][cutoff]
    is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[column])
    return f"[bold]{estimate.mean:.4f}[/bold]" if is_best else f"{estimate.mean:.4f}"
