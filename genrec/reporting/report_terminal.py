"""A run's report on a terminal: the same numbers as in ``report.md``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrec.evaluation.metrics import METRICS, column_name
from genrec.reporting.cold_items import cold_sentence
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.next_steps import step_lines
from genrec.reporting.report import Report
from genrec.reporting.report_markdown import best_means, columns, run_protocol_text, steps_of, verdict_text
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
            estimate = row.metrics[metric][cutoff]
            is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[metric, cutoff])
            mean = f"[bold]{estimate.mean:.4f}[/bold]" if is_best else f"{estimate.mean:.4f}"
            cells.append(f"{mean}\n[dim]{escape(interval_text(estimate))}[/dim]")
        table.add_row(*cells, style="italic" if row.kind == "oracle" else None)
    return table
