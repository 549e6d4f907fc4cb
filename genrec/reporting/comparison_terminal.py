"""A comparison on a terminal: conclusion, main cutoff, verdicts on the best variant, notes and next steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrec.comparison.results import Comparison, ComparisonRow
from genrec.evaluation.metrics import column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.beyond_accuracy import BEYOND
from genrec.reporting.comparison_texts import (
    cell_text,
    cells_text,
    comparison_beyond_text,
    cost_cells,
    failure_texts,
    scope_text,
    steps_of,
    streams_text,
    summary_text,
)
from genrec.reporting.conclusion import comparison_sentences
from genrec.reporting.next_steps import step_lines
from genrec.reporting.texts import interval_text, named, protocol_text


def print_comparison(comparison: Comparison, console: Console, folder: Path) -> None:
    """Print the conclusion, the table at the main cutoff, the verdicts, the protocol and the next steps.

    Args:
        comparison: to be reported.
        console: to print to.
        folder: of the comparison, for the commands at the end.
    """
    first, *others = comparison_sentences(comparison)
    console.print(escape(first), style="bold")
    for sentence in others:
        console.print(escape(f"- {sentence}"))
    streams = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    console.print(_table(comparison, comparison.methods, streams))
    console.print(escape(scope_text(comparison)))
    for metric in comparison.main_metric_first:
        if summary := summary_text(comparison, metric):
            console.print(escape(f"- {summary}"))
    for row in comparison.rows:
        for text in failure_texts(row):
            console.print(escape(f"- no result: {text}"))
        for note in row.notes:
            console.print(escape(f"- {named(row.name)}: {note}"))
    console.print(escape(f"{protocol_text(comparison.protocol)} {cells_text(comparison)}"))
    if comparison.pairs:
        count = f"Holm-corrected for {len(comparison.pairs):,} tests"
        console.print(f"Rows that share a letter are {NOT_SIGNIFICANT} (paired bootstrap over users, {count}).")
    if streams:
        console.print(escape(streams_text(streams)))
    if comparison.beyond_accuracy:
        console.print(_beyond_table(comparison))
        console.print(escape(comparison_beyond_text(comparison, has_intervals=False)))
    for note in comparison.notes:
        console.print(escape(f"Note: {note}"))
    console.print("Next steps:")
    for line in step_lines(steps_of(comparison, folder)):
        console.print(escape(f"  {line}"), soft_wrap=True, highlight=False)


def _beyond_table(comparison: Comparison) -> Table:
    table, cutoff = Table(title=BEYOND, title_justify="left"), comparison.cutoff
    table.add_column("method")
    for metric in comparison.beyond_accuracy:
        table.add_column(column_name(metric, cutoff), justify="right")
    best = {metric: comparison.best_rows(metric, cutoff) for metric in comparison.beyond_accuracy}
    for row in comparison.table_rows:
        cells = []
        for metric in comparison.beyond_accuracy if row.list_values else ():
            text = cell_text(comparison.cells[row.name][metric][cutoff])
            letters = comparison.letters.get(metric, {}).get(row.name, "")
            cells.append(f"[bold]{text}[/bold] {letters}" if row.name in best[metric] else f"{text} {letters}")
        if cells:
            table.add_row(escape(row.name), *cells)
    return table


def _table(comparison: Comparison, methods: Sequence[ComparisonRow], others: Sequence[ComparisonRow]) -> Table:
    table = Table(title=escape(comparison.title), title_justify="left")
    table.add_column("method")
    for metric in comparison.metrics:
        table.add_column(column_name(metric, comparison.cutoff), justify="right")
        table.add_column("")
    for column in ("seeds", "parameters", "training"):
        table.add_column(column, justify="right")
    best = {metric: comparison.best_rows(metric, comparison.cutoff) for metric in comparison.metrics}
    for row in (*methods, *others):
        cells = [escape(row.name) + ("\n[dim]upper bound[/dim]" if row.kind == "oracle" else "")]
        for metric in comparison.metrics:
            cell = comparison.cells[row.name][metric][comparison.cutoff]
            mean = f"[bold]{cell_text(cell)}[/bold]" if row.name in best[metric] else cell_text(cell)
            cells.append(f"{mean}\n[dim]{escape(interval_text(cell))}[/dim]")
            cells.append(comparison.letters.get(metric, {}).get(row.name, ""))
        parameters, training, _, _ = cost_cells(row)
        table.add_row(
            *cells,
            str(len(row.seeds)),
            parameters,
            training,
            style="italic" if row.kind == "oracle" else None,
            end_section=row is methods[-1],
        )
    return table
