"""Results as HTML for notebooks: a conclusion and a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from genrec.comparison.results import Comparison
from genrec.evaluation.metrics import column_name
from genrec.reporting.conclusion import comparison_sentences, run_conclusion
from genrec.reporting.html_tables import TableCell, TableRow, html_table
from genrec.reporting.report import Report
from genrec.reporting.report_markdown import columns
from genrec.reporting.run_page import method_rows
from genrec.reporting.texts import interval_text


def report_html(report: Report) -> str:
    """The conclusion and the table of a run: methods by metrics, the best method in bold, intervals below."""
    heads = ["method", *(column_name(metric, cutoff) for metric, cutoff in columns(report))]
    return _with([run_conclusion(report)], html_table(report.title, heads, method_rows(report)))


def comparison_html(comparison: Comparison) -> str:
    """The conclusion and the table of a comparison at its main cutoff, the best method in bold, intervals below."""
    cutoff = comparison.cutoff
    best = {metric: comparison.best_rows(metric, cutoff) for metric in comparison.metrics}
    rows = []
    for row in comparison.table_rows:
        cells = []
        for metric in comparison.metrics:
            cell = comparison.cells[row.name][metric][cutoff]
            cells.append(TableCell(f"{cell.mean:.4f}", is_bold=row.name in best[metric], note=interval_text(cell)))
        rows.append(TableRow(row.name, [row.kind, *cells]))
    heads = ["name", "kind", *(column_name(metric, cutoff) for metric in comparison.metrics)]
    return _with(comparison_sentences(comparison), html_table(comparison.title, heads, rows, left=["kind"]))


def _with(sentences: Sequence[str], table: str) -> str:
    first, *others = map(escape, sentences)
    return f"<p><b>{first}</b></p>{''.join(f'<p>{sentence}</p>' for sentence in others)}{table}"
