"""A report on a terminal: the same numbers as in ``report.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrec.evaluation.metrics import METRICS, column_name
from genrec.reporting.report_markdown import (
    best_means,
    columns,
    interval_text,
    oracle_text,
    protocol_text,
    verdict_text,
)

if TYPE_CHECKING:
    from genrec.reporting.report import Report


def print_tables(report: Report, console: Console) -> None:
    """Print the results, the protocol, the notes and the verdicts."""
    best = best_means(report)
    table = Table(title=escape(report.title), title_justify="left")
    table.add_column("method")
    table.add_column("kind")
    for metric, cutoff in columns(report):
        table.add_column(column_name(metric, cutoff), justify="right")
    for row in report.rows:
        cells = [escape(row.name), "not a method" if row.kind == "oracle" else row.kind]
        for metric, cutoff in columns(report):
            estimate = row.metrics[metric][cutoff]
            is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[metric, cutoff])
            mean = f"[bold]{estimate.mean:.4f}[/bold]" if is_best else f"{estimate.mean:.4f}"
            cells.append(f"{mean}\n[dim]{escape(interval_text(estimate))}[/dim]")
        table.add_row(*cells, style="italic" if row.kind == "oracle" else None)
    console.print(table)
    console.print(escape(protocol_text(report.protocol)))
    if any(row.kind == "oracle" for row in report.rows):
        console.print(escape(oracle_text()))
    for test in report.tests:
        console.print(escape(f"- {verdict_text(test)}"))
    for note in report.notes:
        console.print(escape(f"Note: {note}"))
