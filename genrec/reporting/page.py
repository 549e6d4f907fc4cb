"""``comparison.html``: a comparison as one self-contained page: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from genrec.comparison.results import Comparison, ComparisonRow, Pair
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.comparison_texts import (
    cell_text,
    cells_text,
    comparison_protocol_text,
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
from genrec.reporting.html_tables import (
    TableCell,
    TableRow,
    breakable,
    row_head,
    scrolling,
    table_element,
    table_style,
)
from genrec.reporting.next_steps import step_lines
from genrec.reporting.texts import interval_text, named, p_text, plain, signed_text

_PARTS = {
    "variant": "Variants",
    "baseline": "Baselines",
    "stream": "Single streams",
    "oracle": "Oracle (upper bound)",
}
_HALF = 0.5
"""Cells of the heat map have no color up to this share of the best in their column."""


def page(comparison: Comparison, folder: Path) -> str:
    """The whole page; equal comparisons give equal bytes.

    Args:
        comparison: to be reported.
        folder: of the comparison, for the commands at the end.
    """
    style = table_style() + (files("genrec.reporting") / "page.css").read_text(encoding="utf-8")
    sections = "\n".join(
        f'<section aria-label="{escape(title)}"><h2 id="{slug}">{title}</h2>\n{content}\n</section>'
        for slug, title, content in _sections(comparison, folder)
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(plain(comparison.title))}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(comparison)}\n<main>\n{sections}\n</main>\n"
        "<footer>Written by genrec compare. In the same folder: comparison.json (unrounded numbers, all tests), "
        "comparison.csv, comparison.md and ranks.safetensors (the rank of every user under every seed).</footer>\n"
        "</body>\n</html>\n"
    )


def _sections(comparison: Comparison, folder: Path) -> Iterator[tuple[str, str, str]]:
    metric, by_cutoff = column_name(comparison.metric, comparison.cutoff), metric_by_cutoff(comparison)
    yield "results", "Results", _results(comparison)
    yield "steps", "Next steps", _steps(comparison, folder)
    yield "metric", f"{metric} by variant", intervals_figure(comparison)
    yield "tests", "Tests of the best variant", _tests(comparison)
    yield by_cutoff, f"{METRICS.get(by_cutoff).title} at every K", by_cutoff_figure(comparison)
    yield "slices", f"{metric} by kind of user and item", _slices(comparison)
    yield "curves", "Learning curves", curves_figure(comparison)
    yield "codes", "Use of codes", codes_figure(comparison)
    yield "streams", "Single streams", _streams(comparison)
    yield "costs", "Time, parameters, memory", _costs(comparison)
    yield "changes", "Changes to variants", _list(_changes(comparison))
    yield "stages", "Shared stages", _stages(comparison)
    yield "notes", "Notes", _list(comparison.notes)
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
    return f'<div class="failed"><p><strong>Variants without a result:</strong></p>{_list(failed)}</div>'


def _results(comparison: Comparison) -> str:
    rows = [row for row in comparison.rows if row.kind in ("variant", "baseline")]
    texts = [cells_text(comparison), *([tests_text(comparison)] if comparison.pairs else [])]
    texts.append(comparison_protocol_text(comparison))
    return _metrics_table(comparison, rows, "Results") + "".join(
        f'<p class="small">{breakable(text)}</p>' for text in texts
    )


def _streams(comparison: Comparison) -> str:
    rows = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    if not rows:
        return ""
    return f"<p>{breakable(streams_text(rows))}</p>{_metrics_table(comparison, rows, 'Single streams')}"


def _metrics_table(comparison: Comparison, rows: Sequence[ComparisonRow], caption: str) -> str:
    columns = [(metric, cutoff) for metric in comparison.main_metric_first for cutoff in comparison.protocol.cutoffs]
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
    """A heat map of slices and methods as a table."""
    rows, slices = comparison.methods, comparison.slices
    if not slices:
        return ""
    axes = list(dict.fromkeys(part.axis for part in slices))
    ordered = [part for axis in axes for part in slices if part.axis == axis]
    firsts = [next(part for part in ordered if part.axis == axis) for axis in axes]
    measure = METRICS.get(comparison.metric)
    top = [measure.best(part.cells[row.name][comparison.metric].mean for row in rows) for part in ordered]

    def cell(row: ComparisonRow, place: int) -> str:
        mean = ordered[place].cells[row.name][comparison.metric].mean
        small, large = (mean, top[place]) if measure.higher_is_better else (top[place], mean)
        share = max(small / large - _HALF, 0.0) / (1.0 - _HALF) if large > 0 else 0.0
        first = " first" if ordered[place] in firsts else ""
        text = f"<b>{mean:.4f}</b>" if measure.is_best(mean, top[place]) else f"{mean:.4f}"
        return f'<td class="heat{first}" style="--share: {share:.3f}">{text}</td>'

    spans = "".join(
        f'<th scope="colgroup" class="first" colspan="{sum(part.axis == axis for part in slices)}">{escape(axis)}</th>'
        for axis in axes
    )
    labels = "".join(
        f'<th scope="col"{" class=first" if part in firsts else ""}>{escape(part.label)}'
        f'<span class="note">{part.users:,} users</span></th>'
        for part in ordered
    )
    tag = ' <span class="tag">baseline</span>'
    body = "".join(
        f"<tr>{row_head(row.name, tag * (row.kind == 'baseline'))}"
        f"{''.join(cell(row, place) for place in range(len(ordered)))}</tr>"
        for row in rows
    )
    metric = column_name(comparison.metric, comparison.cutoff)
    note = (
        f"{metric}, mean over users and seeds. Color: share of the best in the column, none below {_HALF:.0%}. "
        "Slices are small and differences between them are not tested."
    )
    head = f'<thead><tr><td></td>{spans}</tr><tr><th scope="col">method</th>{labels}</tr></thead>'
    table = scrolling(f"{metric} by slice", f"{head}<tbody>{body}</tbody>", kind="slices")
    return f'<p class="small">{note}</p>{table}'


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


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{breakable(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""
