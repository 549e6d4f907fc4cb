"""``comparison.html``: a comparison as one self-contained page: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from genrec.comparison.results import Comparison, ComparisonRow, Pair
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.beyond_accuracy import BEYOND
from genrec.reporting.comparison_texts import (
    cell_text,
    cells_text,
    comparison_beyond_text,
    cost_cells,
    costs_text,
    failure_texts,
    model_groups,
    scope_text,
    steps_of,
    streams_text,
    summary_text,
    tests_text,
)
from genrec.reporting.conclusion import comparison_sentences
from genrec.reporting.figures import (
    by_cutoff_figure,
    codes_figure,
    curves_figure,
    intervals_figure,
    metric_by_cutoff,
)
from genrec.reporting.html_page import Section, document, list_element
from genrec.reporting.html_tables import TableCell, TableRow, breakable, table_element
from genrec.reporting.next_steps import step_lines
from genrec.reporting.slices_table import SliceColumn, SliceRow, slices_table
from genrec.reporting.texts import interval_text, named, p_text, protocol_text, signed_text

_PARTS = {
    "variant": "Variants",
    "baseline": "Baselines",
    "stream": "Single streams",
    "oracle": "Oracle (upper bound)",
}


def page(comparison: Comparison, folder: Path) -> str:
    """The whole page; equal comparisons give equal bytes.

    Args:
        comparison: to be reported.
        folder: of the comparison, for the commands at the end.
    """
    footer = (
        "Written by genrec compare. In the same folder: comparison.json (unrounded numbers, all tests), "
        "comparison.csv, comparison.md and ranks.safetensors (the rank of every user under every seed)."
    )
    return document(comparison.title, _header(comparison), _sections(comparison, folder), footer)


def _sections(comparison: Comparison, folder: Path) -> Iterator[Section]:
    metric, by_cutoff = column_name(comparison.metric, comparison.cutoff), metric_by_cutoff(comparison)
    yield "results", "Results", _results(comparison)
    yield "steps", "Next steps", _steps(comparison, folder)
    yield "metric", f"{metric} by variant", intervals_figure(comparison)
    yield "tests", "Tests of the best variant", _tests(comparison)
    yield "beyond", BEYOND, _beyond(comparison)
    yield by_cutoff, f"{METRICS.get(by_cutoff).title} at every K", by_cutoff_figure(comparison)
    yield "slices", f"{metric} by kind of user and item", _slices(comparison)
    yield "curves", "Learning curves", curves_figure(comparison)
    yield "codes", "Use of codes", codes_figure(comparison)
    yield "streams", "Single streams", _streams(comparison)
    yield "costs", "Time, parameters, memory", _costs(comparison)
    yield "changes", "Changes to variants", list_element(_changes(comparison))
    yield "stages", "Shared stages", _stages(comparison)
    yield "notes", "Notes", list_element(comparison.notes)
    yield "commands", "Commands of the variants", _commands(comparison)


def _header(comparison: Comparison) -> str:
    is_test = comparison.split == "test"
    split = (
        '<p class="split test">TEST users: evaluate once, after selection on validation users</p>'
        if is_test
        else '<p class="split">Validation users</p>'
    )
    sentences = "".join(f"<p>{breakable(text)}</p>" for text in comparison_sentences(comparison))
    return (
        f"<header>\n{split}\n<h1><bdi>{breakable(comparison.title)}</bdi></h1>\n"
        f'<div class="conclusion">{sentences}</div>\n'
        f'<p class="scope">{breakable(scope_text(comparison))}</p>\n{_failures(comparison)}</header>'
    )


def _summaries(comparison: Comparison) -> str:
    """The verdicts on the best variant in each metric, with numbers."""
    summaries = [summary_text(comparison, metric) for metric in comparison.main_metric_first]
    return "".join(f"<p>{breakable(text)}</p>" for text in summaries if text)


def _failures(comparison: Comparison) -> str:
    failed = [text for row in comparison.rows for text in failure_texts(row)]
    if not failed:
        return ""
    return f'<div class="failed"><p><strong>Variants without a result:</strong></p>{list_element(failed)}</div>'


def _results(comparison: Comparison) -> str:
    rows = [row for row in comparison.rows if row.kind in ("variant", "baseline")]
    texts = [cells_text(comparison), *([tests_text(comparison)] if comparison.pairs else [])]
    texts.append(protocol_text(comparison.protocol))
    return _metrics_table(comparison, rows, "Results") + "".join(
        f'<p class="small">{breakable(text)}</p>' for text in texts
    )


def _streams(comparison: Comparison) -> str:
    rows = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    if not rows:
        return ""
    return f"<p>{breakable(streams_text(rows))}</p>{_metrics_table(comparison, rows, 'Single streams')}"


def _beyond(comparison: Comparison) -> str:
    if not comparison.beyond_accuracy:
        return ""
    rows = [row for row in comparison.table_rows if row.list_values]
    columns = [(metric, comparison.cutoff) for metric in comparison.beyond_accuracy]
    text = f'<p class="small">{breakable(comparison_beyond_text(comparison))}</p>'
    return f"{_metrics_table(comparison, rows, BEYOND, columns)}{text}"


def _metrics_table(
    comparison: Comparison, rows: Sequence[ComparisonRow], caption: str, columns: Sequence[tuple[str, int]] = ()
) -> str:
    columns = columns or [(metric, k) for metric in comparison.main_metric_first for k in comparison.protocol.cutoffs]
    best = {column: comparison.best_rows(*column) for column in columns}
    are_tested = any(row.name in letters for letters in comparison.letters.values() for row in rows)

    def cell(row: ComparisonRow, metric: str, cutoff: int) -> TableCell:
        found = comparison.cells[row.name][metric][cutoff]
        is_best = row.name in best[metric, cutoff]
        if cutoff == comparison.cutoff:
            letters = comparison.letters.get(metric, {}).get(row.name, "") if are_tested else None
            return TableCell(cell_text(found), is_best, interval_text(found), letters)
        mean, _, deviation = cell_text(found).partition(" ")
        return TableCell(mean, is_best, deviation)

    def line(row: ComparisonRow) -> TableRow:
        wanted = len(row.seeds) + len(row.failures)
        seeds = f"{len(row.seeds)} of {wanted}" if row.failures else f"{len(row.seeds)}"
        cells = [cell(row, *column) for column in columns] if row.seeds else ["no result"]
        return TableRow(row.name, [seeds, *cells], _PARTS[row.kind])

    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = [line(row) for kind in kinds for row in rows if row.kind == kind]
    main = [column_name(metric, comparison.cutoff) for metric in comparison.metrics]
    return table_element(caption, ("method", "seeds", *(column_name(*column) for column in columns)), lines, main=main)


def _costs(comparison: Comparison) -> str:
    groups = model_groups(comparison)
    if not groups:
        return ""
    lines = [
        TableRow(first.name, cost_cells(first), note=f"and {len(others)} more" if others else "")
        for first, *others in groups
    ]
    head = ("variants", "parameters", "training", "search", "memory")
    return f"<p>{breakable(costs_text(comparison))}</p>{table_element('Time, parameters, memory', head, lines)}"


def _tests(comparison: Comparison) -> str:
    lines = []
    for metric in comparison.main_metric_first:
        tests = comparison.against_best(metric)
        if tests:
            group = f"{column_name(metric, comparison.cutoff)}: {tests[0].first} against"
            lines += [_test(test, group) for test in tests]
    if not lines:
        return ""
    head = ("method", "verdict", "difference", "p (Holm)", "Wilcoxon p (Holm)", "seeds that agree")
    note = (
        "Brackets: interval of the difference, which is not corrected, unlike the p-values. It may exclude 0 although "
        f"the verdict is <em>{NOT_SIGNIFICANT}</em>. All other pairs are in comparison.json."
    )
    table = table_element("Tests of the best variant", head, lines, left=("verdict",))
    return f'{_summaries(comparison)}<p class="small">{note}</p>{table}'


def _test(test: Pair, group: str) -> TableRow:
    agree = f"{test.seeds_agree} of {test.seeds_shared}" if test.seeds_agree is not None else "-"
    cells = (
        TableCell(test.verdict, is_bold=test.verdict != NOT_SIGNIFICANT),
        TableCell(signed_text(test.difference), note=interval_text(test, signed=True)),
        p_text(test.p_holm),
        p_text(test.wilcoxon_p_holm),
        agree,
    )
    return TableRow(test.second, cells, group)


def _slices(comparison: Comparison) -> str:
    if not comparison.slices:
        return ""
    return slices_table(
        comparison.metric,
        comparison.cutoff,
        [SliceColumn(part.axis, part.label, part.users) for part in comparison.slices],
        [
            SliceRow(
                row.name,
                row.kind == "baseline",
                [part.cells[row.name][comparison.metric].mean for part in comparison.slices],
            )
            for row in comparison.methods
        ],
        averaged_over="users and seeds",
    )


def _stages(comparison: Comparison) -> str:
    if not comparison.stages:
        return ""
    keys = list(dict.fromkeys(key for counts in comparison.stages.values() for key in counts))
    lines = [TableRow(kind, [f"{counts.get(key, 0):,}" for key in keys]) for kind, counts in comparison.stages.items()]
    return (
        '<p class="small">Stages made in this comparison, reused from the cache, missing; trials that need them.</p>'
        f"{table_element('Stages', ('stage', *keys), lines)}"
    )


def _changes(comparison: Comparison) -> Iterator[str]:
    yield from (f"{named(row.name)}: {note}" for row in comparison.rows for note in row.notes)


def _commands(comparison: Comparison) -> str:
    commands = [(row.name, row.command) for row in comparison.rows if row.command]
    if not commands:
        return ""
    note = "<p>Click a command to select it; replace <code>SEED</code> by a number.</p>"
    return note + "".join(
        f"<h3><bdi>{breakable(name)}</bdi></h3><pre><code>{escape(command)}</code></pre>" for name, command in commands
    )


def _steps(comparison: Comparison, folder: Path) -> str:
    lines = "\n".join(step_lines(steps_of(comparison, folder)[1:]))  # the first opens this page
    return f"<pre><code>{escape(lines)}</code></pre>"
