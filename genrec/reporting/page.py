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
    failure_texts,
    models_text,
    scope_text,
    steps_of,
    streams_text,
    summary_text,
    tests_text,
    trained_once,
)
from genrec.reporting.conclusion import comparison_conclusion
from genrec.reporting.figures import (
    by_cutoff_figure,
    codes_figure,
    curves_figure,
    intervals_figure,
    metric_by_cutoff,
)
from genrec.reporting.next_steps import step_lines
from genrec.reporting.plots import plain
from genrec.reporting.texts import interval_text, named, p_text, seconds_text, signed_text

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
    style = (files("genrec.reporting") / "page.css").read_text(encoding="utf-8")
    sections = "\n".join(
        f'<section aria-label="{escape(title)}"><h2 id="{slug}">{title}</h2>\n{content}\n</section>'
        for slug, title, content in _sections(comparison, folder)
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(comparison.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(comparison)}\n<main>\n{sections}\n</main>\n"
        "<footer>Written by genrec compare. In the same folder: comparison.json (unrounded numbers, all tests), "
        "comparison.csv, comparison.md and ranks.safetensors (the rank of every user under every seed).</footer>\n"
        "</body>\n</html>\n"
    )


def _sections(comparison: Comparison, folder: Path) -> Iterator[tuple[str, str, str]]:
    metric, by_cutoff = column_name(comparison.metric, comparison.cutoff), metric_by_cutoff(comparison)
    yield "metric", f"{metric} by variant", intervals_figure(comparison)
    yield "results", "Results", _results(comparison)
    yield "tests", "Tests of the best variant", _tests(comparison)
    yield by_cutoff, f"{METRICS.get(by_cutoff).title} at every K", by_cutoff_figure(comparison)
    yield "slices", f"{metric} by kind of user and item", _slices(comparison)
    yield "curves", "Learning curves", curves_figure(comparison)
    yield "codes", "Use of codes", codes_figure(comparison)
    yield "streams", "Single streams", _streams(comparison)
    yield "changes", "Changes to variants", _list(_changes(comparison))
    yield "stages", "Shared stages", _stages(comparison)
    yield "notes", "Notes", _list(comparison.notes)
    yield "commands", "Commands of the variants", _commands(comparison)
    yield "steps", "Next steps", _steps(comparison, folder)


def _header(comparison: Comparison) -> str:
    is_test = comparison.split == "test"
    split = (
        '<p class="split test">TEST users: evaluate once, after selection on validation users</p>'
        if is_test
        else '<p class="split">Validation users</p>'
    )
    return (
        f"<header>\n{split}\n<h1><bdi>{_text(comparison.title)}</bdi></h1>\n"
        f'<div class="conclusion"><p>{_text(comparison_conclusion(comparison))}</p></div>\n'
        f'<p class="scope">{_text(scope_text(comparison))}</p>\n{_failures(comparison)}\n'
        f"<p>{_text(comparison_protocol_text(comparison))}</p>\n</header>"
    )


def _summaries(comparison: Comparison) -> str:
    """The verdicts on the best variant in each metric, with numbers."""
    summaries = [summary_text(comparison, metric) for metric in comparison.main_metric_first]
    return "".join(f"<p>{_text(text)}</p>" for text in summaries if text)


def _failures(comparison: Comparison) -> str:
    failed = [text for row in comparison.rows for text in failure_texts(row)]
    if not failed:
        return ""
    return f'<div class="failed"><p><strong>Variants without a result:</strong></p>{_list(failed)}</div>'


def _results(comparison: Comparison) -> str:
    rows = [row for row in comparison.rows if row.kind in ("variant", "baseline")]
    models = trained_once(rows)
    shared = ""
    if models:
        training = seconds_text(sum(model.training_seconds for model in models))
        shared = (
            f"<p>Parameters, times and memory are those of one model, averaged over its seeds; variants that differ in "
            f"their merge only share it. Training took {training} for {models_text(len(models))}; this comparison took "
            f"{seconds_text(comparison.seconds)} without stages from the cache.</p>"
        )
    letters = f"<p>{_text(tests_text(comparison))}</p>" if comparison.pairs else ""
    return f"{_metrics_table(comparison, rows, 'Results')}<p>{_text(cells_text(comparison))}</p>{letters}{shared}"


def _streams(comparison: Comparison) -> str:
    rows = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    if not rows:
        return ""
    return f"<p>{_text(streams_text(rows))}</p>{_metrics_table(comparison, rows, 'Single streams')}"


def _metrics_table(comparison: Comparison, rows: Sequence[ComparisonRow], caption: str) -> str:
    columns = [(metric, cutoff) for metric in comparison.main_metric_first for cutoff in comparison.protocol.cutoffs]
    best = {column: comparison.best_rows(*column) for column in columns}
    has_models = any(row.models for row in rows)
    are_tested = any(row.name in letters for letters in comparison.letters.values() for row in rows)

    def cell(row: ComparisonRow, metric: str, cutoff: int) -> str:
        found = comparison.cells[row.name][metric][cutoff]
        mean, _, deviation = cell_text(found).partition(" ")
        text = f"<b>{mean}</b>" if row.name in best[metric, cutoff] else mean
        if cutoff == comparison.cutoff:
            letters = comparison.letters.get(metric, {}).get(row.name, "")
            text += f" {deviation}" + f'<span class="letters">{_text(letters)}</span>' * are_tested
            deviation = interval_text(found)
        return f'<td>{text}<span class="interval">{deviation}</span></td>'

    def line(row: ComparisonRow) -> str:
        head = f'<th scope="row"><bdi>{_text(row.name)}</bdi></th>'
        wanted = len(row.seeds) + len(row.failures)
        seeds = f"{len(row.seeds)} of {wanted}" if row.failures else f"{len(row.seeds)}"
        if not row.seeds:
            return f'<tr>{head}<td>{seeds}</td><td class="none" colspan="{width - 2}">no result</td></tr>'
        costs = "".join(f"<td>{text}</td>" for text in cost_cells(row)) if has_models else ""
        return f"<tr>{head}<td>{seeds}</td>{''.join(cell(row, *column) for column in columns)}{costs}</tr>"

    heads = [
        f'<th scope="col"{" class=main" if cutoff == comparison.cutoff else ""}>{column_name(metric, cutoff)}</th>'
        for metric, cutoff in columns
    ]
    heads += [f'<th scope="col">{text}</th>' for text in ("parameters", "training", "search", "memory") if has_models]
    width = 2 + len(heads)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    bodies = [
        f'<tbody><tr class="group"><th scope="rowgroup" colspan="{width}">{_PARTS[kind]}</th></tr>'
        f"{''.join(line(row) for row in rows if row.kind == kind)}</tbody>"
        for kind in kinds
    ]
    head = f'<thead><tr><th scope="col">method</th><th scope="col">seeds</th>{"".join(heads)}</tr></thead>'
    return _scrolled(caption, f"{head}{''.join(bodies)}")


def _tests(comparison: Comparison) -> str:
    bodies = []
    for metric in comparison.main_metric_first:
        tests = comparison.against_best(metric)
        if tests:
            title = f"{column_name(metric, comparison.cutoff)}: <bdi>{_text(tests[0].first)}</bdi> against"
            bodies.append(
                f'<tbody><tr class="group"><th scope="rowgroup" colspan="6">{title}</th></tr>'
                f"{''.join(_test(test) for test in tests)}</tbody>"
            )
    if not bodies:
        return ""
    heads = ("method", "verdict", "difference", "p (Holm)", "Wilcoxon p (Holm)", "seeds that agree")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    note = (
        "Brackets: interval of the difference, which is not corrected, unlike the p-values. It may exclude 0 although "
        f"the verdict is <em>{NOT_SIGNIFICANT}</em>. All other pairs are in comparison.json."
    )
    table = _scrolled("Tests of the best variant", f"<thead><tr>{head}</tr></thead>{''.join(bodies)}")
    return f'{_summaries(comparison)}<p class="small">{note}</p>{table}'


def _test(test: Pair) -> str:
    agree = f"{test.seeds_agree} of {test.seeds_shared}" if test.seeds_agree is not None else "-"
    verdict = test.verdict if test.verdict == NOT_SIGNIFICANT else f"<b>{test.verdict}</b>"
    return (
        f'<tr><th scope="row"><bdi>{_text(test.second)}</bdi></th><td>{verdict}</td>'
        f"<td>{signed_text(test.difference)} {interval_text(test, signed=True)}</td>"
        f"<td>{_text(p_text(test.p_holm))}</td><td>{_text(p_text(test.wilcoxon_p_holm))}</td><td>{agree}</td></tr>"
    )


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
        f'<th scope="colgroup" class="first" colspan="{sum(part.axis == axis for part in slices)}">{_text(axis)}</th>'
        for axis in axes
    )
    labels = "".join(
        f'<th scope="col"{" class=first" if part in firsts else ""}>{_text(part.label)}'
        f'<span class="interval">{part.users:,} users</span></th>'
        for part in ordered
    )
    tag = ' <span class="tag">baseline</span>'
    body = "".join(
        f'<tr><th scope="row"><bdi>{_text(row.name)}</bdi>{tag * (row.kind == "baseline")}</th>'
        f"{''.join(cell(row, place) for place in range(len(ordered)))}</tr>"
        for row in rows
    )
    metric = column_name(comparison.metric, comparison.cutoff)
    note = (
        f"{metric}, mean over users and seeds. Color: share of the best in the column, none below {_HALF:.0%}. "
        "Slices are small and differences between them are not tested."
    )
    head = f'<thead><tr><td></td>{spans}</tr><tr><th scope="col">method</th>{labels}</tr></thead>'
    table = _scrolled(f"{metric} by slice", f"{head}<tbody>{body}</tbody>", kind="slices")
    return f'<p class="small">{note}</p>{table}'


def _stages(comparison: Comparison) -> str:
    if not comparison.stages:
        return ""
    keys = list(dict.fromkeys(key for counts in comparison.stages.values() for key in counts))
    head = "".join(f'<th scope="col">{_text(key)}</th>' for key in keys)
    body = "".join(
        f'<tr><th scope="row">{_text(kind)}</th>{"".join(f"<td>{counts.get(key, 0):,}</td>" for key in keys)}</tr>'
        for kind, counts in comparison.stages.items()
    )
    table = _scrolled("Stages", f'<thead><tr><th scope="col">stage</th>{head}</tr></thead><tbody>{body}</tbody>')
    return (
        '<p class="small">Stages made in this comparison, reused from the cache, missing; trials that need them.</p>'
        f"{table}"
    )


def _changes(comparison: Comparison) -> Iterator[str]:
    yield from (f"{named(row.name)}: {note}" for row in comparison.rows for note in row.notes)


def _commands(comparison: Comparison) -> str:
    commands = [(row.name, row.command) for row in comparison.rows if row.command]
    if not commands:
        return ""
    note = "<p>Click a command to select it; <code>SEED</code> is a placeholder.</p>"
    return note + "".join(
        f"<h3><bdi>{_text(name)}</bdi></h3><pre><code>{escape(command)}</code></pre>" for name, command in commands
    )


def _steps(comparison: Comparison, folder: Path) -> str:
    lines = "\n".join(step_lines(steps_of(comparison, folder)[1:]))  # the first opens this page
    return f"<pre><code>{escape(lines)}</code></pre>"


def _scrolled(caption: str, content: str, *, kind: str = "") -> str:
    """A table in a box that scrolls, also by keyboard."""
    opening = f'<table class="{kind}">' if kind else "<table>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {_text(caption)}">'
        f"{opening}<caption>{_text(caption)}</caption>{content}</table></div>"
    )


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _text(text: str) -> str:
    """Text of any origin, escaped."""
    return escape(plain(text))
