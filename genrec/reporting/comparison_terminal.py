"""A comparison on a terminal: the main cutoff, the verdicts on the best row, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrec.comparison.results import Comparison, ComparisonRow
from genrec.comparison.statistics import methods_of
from genrec.evaluation.metrics import column_name
from genrec.reporting.comparison_texts import (
    asked_text,
    best_rows,
    cell_text,
    cells_text,
    cost_cells,
    failure_texts,
    interval_text,
    named,
    protocol_text,
    streams_text,
    summary_text,
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the table at the main cutoff, what was found, and under which rules."""
    methods = methods_of(comparison.rows)
    others = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    console.print(_table(comparison, methods, others))
    console.print(escape(asked_text(comparison)))
    for metric in comparison.main_metric_first:
        if summary := summary_text(comparison, metric):
            console.print(escape(f"- {summary}"))
    for row in comparison.rows:
        for text in failure_texts(row):
            console.print(escape(f"- no result: {text}"))
        for note in row.notes:
            console.print(escape(f"- {named(row.name)}: {note}"))
    console.print(escape(f"{protocol_text(comparison)} {cells_text(comparison)}"))
    if comparison.pairs:
        count = f"Holm-corrected for {len(comparison.pairs):,} tests"
        console.print(f"Rows that share a letter are not different (paired bootstrap over users, {count}).")
    if others:
        console.print(escape(streams_text(others)))
    for note in comparison.notes:
        console.print(escape(f"Note: {note}"))


def _table(comparison: Comparison, methods: Sequence[ComparisonRow], others: Sequence[ComparisonRow]) -> Table:
    table = Table(title=escape(comparison.title), title_justify="left")
    table.add_column("method")
    for metric in comparison.metrics:
        table.add_column(column_name(metric, comparison.cutoff), justify="right")
        table.add_column("")
    for column in ("seeds", "parameters", "training"):
        table.add_column(column, justify="right")
    best = {metric: best_rows(comparison, metric, comparison.cutoff) for metric in comparison.metrics}
    for row in (*methods, *others):
        cells = [escape(row.name) + ("\n[dim]not a method[/dim]" if row.kind == "oracle" else "")]
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
