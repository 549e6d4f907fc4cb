"""``report.html``: a run as one self-contained page: no network, no script, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np

from genrec.evaluation.metrics import METRICS, column_name, main_cutoff, main_metric
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.reporting.beyond_accuracy import BEYOND, beyond_tests_text
from genrec.reporting.code_tables import sizes_text
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.example_cards import example_element
from genrec.reporting.html_figures import CodeUse, LegendEntry, Series, codes_use_figure, lines_figure, wide_figure
from genrec.reporting.html_page import Section, document, list_element
from genrec.reporting.html_tables import TableCell, TableRow, breakable, table_element
from genrec.reporting.next_steps import step_lines
from genrec.reporting.plots import Line, Span, intervals, shortened
from genrec.reporting.report import MethodResult, Metrics, PairedTest, Report
from genrec.reporting.report_markdown import (
    best_means,
    beyond_columns,
    beyond_rows,
    columns,
    run_beyond_text,
    run_protocol_text,
    steps_of,
    tests_text,
)
from genrec.reporting.run_details import RunDetails, StreamCodes
from genrec.reporting.slices_table import SliceColumn, SliceRow, slices_table
from genrec.reporting.texts import interval_text, oracle_text, p_text, seconds_text, signed_text
from genrec.reporting.tree_figure import largest_nodes, most_bought, tree_figure

_KINDS = {
    "merge": ("Merge", "c0"),
    "pair": ("Pairs of streams", "ink"),
    "stream": ("Single streams", "ink"),
    "oracle": ("Oracle (upper bound)", "muted"),
    "baseline": ("Baselines", "muted"),
}
"""By kind of method: title of its group, and its color."""
_LABEL = 46
"""Maximum width of a name in the plot of intervals, in columns."""
_LARGEST = 5
"""Number of nodes in the table of a tree."""


def run_page(report: Report, details: RunDetails, folder: Path) -> str:
    """The whole page; equal runs give equal bytes.

    Args:
        report: of a run.
        details: of that run.
        folder: of that run, for the commands.
    """
    header = (
        f'<header>\n<p class="split">Test users</p>\n<h1><bdi>{breakable(report.title)}</bdi></h1>\n'
        f'<div class="conclusion"><p>{breakable(run_conclusion(report))}</p></div>\n'
        f'<p class="scope">{breakable(run_protocol_text(report))}</p>\n</header>'
    )
    footer = (
        "Written by genrec run. In the same folder: metrics.json (unrounded numbers), report.md, ranks.safetensors "
        "(the rank of every test user's target) and lists.safetensors (every method's lists)."
    )
    return document(report.title, header, _sections(report, details, folder), footer, styles=["run_page.css"])


def method_rows(report: Report) -> list[TableRow]:
    """The table of methods: each metric at each cutoff with its interval, the best method in bold."""
    best = best_means(report)
    return [
        TableRow(row.name, [_cell(row, row.metrics, column, best) for column in columns(report)]) for row in report.rows
    ]


def _cell(
    row: MethodResult, metrics: Metrics, column: tuple[str, int], best: Mapping[tuple[str, int], float]
) -> TableCell:
    metric, cutoff = column
    estimate = metrics[metric][cutoff]
    is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[column])
    return TableCell(f"{estimate.mean:.4f}", is_bold=is_best, note=interval_text(estimate))


def _sections(report: Report, details: RunDetails, folder: Path) -> Iterator[Section]:
    metric, cutoff = main_metric(report.metrics), main_cutoff(report.protocol.cutoffs)
    main = column_name(metric, cutoff)
    yield "results", "Results", _results(report, metric, cutoff)
    yield "metric", f"{main} by method", _intervals(report, metric, cutoff)
    yield "tests", "Tests of the merge", _tests(report)
    yield "beyond", BEYOND, _beyond(report)
    yield "examples", "Example users", _examples(report, details)
    yield "slices", f"{main} by kind of user and item", _slices(report, metric, cutoff)
    yield "curves", "Training curves", _curves(report)
    yield "codes", "Codes", _codes(details)
    yield "costs", "Parameters and time", _costs(report)
    yield "notes", "Notes", list_element(report.notes)
    yield "steps", "Next steps", f"<pre><code>{escape(_steps(report, folder))}</code></pre>"


def _results(report: Report, metric: str, cutoff: int) -> str:
    rows = [
        row._replace(group=_KINDS[result.kind][0]) for row, result in zip(method_rows(report), report.rows, strict=True)
    ]
    heads = ("method", *(column_name(*column) for column in columns(report)))
    mains = [column_name(name, cutoff) for name in report.metrics]
    note = f'<p class="small">{oracle_text()}</p>' if any(row.kind == "oracle" for row in report.rows) else ""
    return table_element("Results", heads, rows, main=mains) + note


def _intervals(report: Report, metric: str, cutoff: int) -> str:
    labels = iter(shortened([row.name for row in report.rows], _LABEL))
    groups: list[tuple[str, list[Span]]] = []
    for kind, rows in groupby(report.rows, key=lambda row: row.kind):
        title, color = _KINDS[kind]
        spans = []
        for row in rows:
            found = row.metrics[metric][cutoff]
            text = f"{found.mean:.4f}"
            is_baseline = kind == "baseline"
            spans.append(Span(next(labels), found.mean, found.low, found.high, (), text, color, is_baseline))
        groups.append((title, spans))
    main = column_name(metric, cutoff)
    plot = intervals(
        groups,
        described=f"{main} of {len(report.rows)} methods with their intervals; the numbers are in the table of results",
        x_label=main,
    )
    caption = f"{main}: mean, and its {report.protocol.confidence:.0%} interval over users."
    if report.tests:
        caption += " Intervals can overlap although methods differ, as the users are the same: use the tests below."
    kinds = {row.kind for row in report.rows}
    legend: list[LegendEntry] = [
        (color, mark, text)
        for of_kinds, color, mark, text in (
            ({"merge"}, "c0", "dot", "merge"),
            ({"stream", "pair"}, "ink", "dot", "streams"),
            ({"oracle"}, "muted", "dot", "upper bound"),
            ({"baseline"}, "muted", "diamond", "baselines"),
        )
        if kinds & of_kinds
    ]
    return wide_figure(caption, legend, plot, label=f"Plot of {main}")


def _tests(report: Report) -> str:
    if not report.tests:
        return ""
    metrics = sorted(report.metrics, key=lambda name: name != main_metric(report.metrics))
    table = _tests_table("Tests of the merge", metrics, report.tests)
    return f'<p class="small">{breakable(tests_text(report))}</p>{table}'


def _tests_table(title: str, metrics: Sequence[str], tests: Sequence[PairedTest]) -> str:
    rows = [_test(test) for metric in metrics for test in tests if test.metric == metric]
    head = ("method", "verdict", "difference", "p", "p (Holm)", "p (Wilcoxon)")
    return table_element(title, head, rows, left=("verdict",))


def _beyond(report: Report) -> str:
    if not report.beyond_accuracy:
        return ""
    best, columns = best_means(report), beyond_columns(report)
    rows = [
        TableRow(row.name, [_cell(row, row.beyond_accuracy, column, best) for column in columns], _KINDS[row.kind][0])
        for row in beyond_rows(report)
    ]
    heads = ("method", *(column_name(*column) for column in columns))
    parts = [f'<p class="small">{breakable(run_beyond_text(report))}</p>', table_element(BEYOND, heads, rows)]
    if tests := report.beyond_tests:
        text = beyond_tests_text(tests[0].method, len(tests))
        table = _tests_table("Tests beyond accuracy", report.beyond_accuracy, tests)
        parts += [f'<p class="small">{breakable(text)}</p>', table]
    return "".join(parts)


def _test(test: PairedTest) -> TableRow:
    cells = (
        TableCell(test.verdict, is_bold=test.verdict != NOT_SIGNIFICANT),
        TableCell(signed_text(test.difference.mean), note=interval_text(test.difference, signed=True)),
        p_text(test.difference.p),
        p_text(test.p_holm),
        p_text(test.difference.wilcoxon_p),
    )
    return TableRow(test.other, cells, f"{column_name(test.metric, test.cutoff)}: {test.method} against")


def _examples(report: Report, details: RunDetails) -> str:
    if not details.examples:
        return ""
    which = "All" if len(details.examples) == report.protocol.users else f"{len(details.examples)} random"
    note = (
        f"{which} test users, drawn with the seed of the run and not selected by result. Recommended by "
        f"{details.method}. Below an item: its rank in the list of each stream that found it."
    )
    users = "".join(
        example_element(user, list_length=details.list_length, has_images=details.has_images)
        for user in details.examples
    )
    return f'<p class="small">{breakable(note)}</p>{users}'


def _slices(report: Report, metric: str, cutoff: int) -> str:
    if not report.slices:
        return ""
    return slices_table(
        metric,
        cutoff,
        [SliceColumn(part.axis, part.label, part.users) for part in report.slices],
        [
            SliceRow(row.name, row.kind == "baseline", [part.means[row.name] for part in report.slices])
            for row in report.rows
            if row.name in report.slices[0].means
        ],
        averaged_over="users",
    )


def _curves(report: Report) -> str:
    parts = list(dict.fromkeys(part for epoch in report.curve for part in epoch.losses))
    losses = {part: [(epoch.epoch, epoch.losses.get(part)) for epoch in report.curve] for part in parts}
    validation = [(epoch.epoch, epoch.validation) for epoch in report.curve]
    figures = lines_figure(
        [series for part in parts if (series := _series(part, losses[part]))],
        caption="The parts of the training loss by epoch.",
        x_label="epoch",
        y_label="loss",
    ) + lines_figure(
        [series for series in [_series("validation NDCG@10", validation)] if series],
        caption="NDCG@10 on validation users by epoch, mean of the single streams, before any merge: the criterion of "
        "checkpoint selection.",
        x_label="epoch",
        y_label="validation NDCG@10",
    )
    return f'<div class="beside">{figures}</div>' if figures else ""


def _series(name: str, points: Sequence[tuple[int, float | None]]) -> Series | None:
    """A curve of the finite values; None if there are none."""
    known = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if not known:
        return None
    x, y = zip(*known, strict=True)
    return Series(name, "", name, [Line(np.array(x, dtype=np.int64), np.array(y, dtype=np.float64))])


def _codes(details: RunDetails) -> str:
    codes, others = details.codes, ""
    if details.without_codes:
        others = f"<p>Without codes, as they have no tokenizer: {breakable(', '.join(details.without_codes))}.</p>"
    if not codes:
        return others
    head = ("stream", "tokenizer", "items", "codes by level", "entropy (bits)", "collisions before repair")
    rows = [
        TableRow(
            of_stream.stream,
            [
                of_stream.tokenizer,
                f"{len(of_stream.trie.item_of_leaf):,}",
                sizes_text(of_stream.levels),
                ", ".join(f"{level['entropy']:.2f}" for level in of_stream.levels),
                f"{of_stream.collisions:,}",
            ],
        )
        for of_stream in codes
    ]
    note = "Codes by level: used/total if some are unused. Entropy: of the use of codes; at most log2 of their number."
    use = codes_use_figure([CodeUse(of_stream.stream, of_stream.levels) for of_stream in codes])
    trees = "".join(_tree(of_stream, details) for of_stream in codes)
    return f'{table_element("Codes", head, rows)}{others}<p class="small">{note}</p>{use}{trees}'


def _tree(codes: StreamCodes, details: RunDetails) -> str:
    names, purchases_I = details.item_names, details.purchases_I
    figure = tree_figure(codes.trie, names, purchases_I, title=codes.stream, num_trees=len(details.codes))
    rows = []
    for node in largest_nodes(codes.trie, _LARGEST):
        examples, bought = most_bought(codes.trie, node, names, purchases_I)
        rows.append(TableRow(f"{node.codes[0]}", [f"{node.num_items:,}", f"{bought:,}", "; ".join(examples)]))
    head = ("first code", "items", "bought in training", "most bought items")
    title = f"Largest nodes of {codes.stream}"
    table = table_element(title, head, rows, left=("most bought items",))
    return f'<h3 class="tree"><bdi>{breakable(codes.stream)}</bdi></h3>{figure}{table}'


def _costs(report: Report) -> str:
    total = sum(report.parameters.values())
    parameters = [TableRow(name, [f"{count:,}"]) for name, count in report.parameters.items()]
    seconds = [TableRow(stage, [seconds_text(spent)]) for stage, spent in report.stage_seconds.items()]
    parts = []
    if parameters:
        rows = [*parameters, TableRow("total", [TableCell(f"{total:,}", is_bold=True)])]
        parts.append(table_element("Parameters", ("part", "trainable parameters"), rows))
    if seconds:
        parts.append(table_element("Time", ("stage", "wall clock"), seconds))
    return f'<div class="beside">{"".join(parts)}</div>' if parts else ""


def _steps(report: Report, folder: Path) -> str:
    return "\n".join(step_lines(steps_of(report, folder)))
