"""A comparison as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genrec.comparison.results import Comparison, ComparisonRow
from genrec.evaluation.metrics import column_name
from genrec.evaluation.significance import NOT_SIGNIFICANT
from genrec.evaluation.slices import MEMORIZATION, MEMORIZATION_TEXT
from genrec.reporting.beyond_accuracy import BEYOND
from genrec.reporting.code_tables import sizes_text
from genrec.reporting.comparison_texts import (
    cell_text,
    cells_text,
    comparison_beyond_text,
    cost_cells,
    costs_text,
    failure_texts,
    model_groups,
    pair_text,
    scope_text,
    steps_of,
    streams_text,
    summary_text,
    tests_text,
)
from genrec.reporting.conclusion import comparison_sentences
from genrec.reporting.next_steps import step_lines
from genrec.reporting.texts import interval_text, named, protocol_text, table

_MARKS = re.compile(r"([\\`*~]|<(?=[A-Za-z/!?])|\](?=[(\[:]))")


def markdown(comparison: Comparison, folder: Path) -> str:
    """The comparison with the tests of the best variant; all other tests are in ``comparison.json``.

    Args:
        comparison: to be reported.
        folder: of the comparison, for the commands at the end.
    """
    parts = (
        _results,
        _tests,
        _beyond,
        _streams,
        _slices,
        _codes,
        _costs,
        _failures,
        _changes,
        _stages,
        _notes,
        _commands,
    )
    first, *others = map(escaped, comparison_sentences(comparison))
    lines = [f"# {escaped(comparison.title)}", "", f"**{first}**", ""]
    lines += [*(f"- {sentence}" for sentence in others), ""] if others else []
    lines += [escaped(scope_text(comparison)), ""]
    for part in parts:
        lines += part(comparison)
    lines += ["## Next steps", "", "```sh", *step_lines(steps_of(comparison, folder)), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text with all markup escaped."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def _results(comparison: Comparison) -> Iterator[str]:
    yield from ("## Results", "")
    yield from _metrics_table(comparison, comparison.methods, is_method=True)
    yield from ("", f"**Protocol.** {escaped(protocol_text(comparison.protocol))}", "", cells_text(comparison), "")


def _metrics_table(
    comparison: Comparison,
    rows: Sequence[ComparisonRow],
    *,
    is_method: bool,
    columns: Sequence[tuple[str, int]] = (),
) -> Iterator[str]:
    columns = columns or [(metric, k) for metric in comparison.metrics for k in comparison.protocol.cutoffs]
    best = {column: comparison.best_rows(*column) if is_method else [] for column in columns}

    def cell(row: ComparisonRow, metric: str, cutoff: int) -> str:
        found = comparison.cells[row.name][metric][cutoff]
        text = f"**{cell_text(found)}**" if row.name in best[metric, cutoff] else cell_text(found)
        letters = comparison.letters.get(metric, {}).get(row.name, "") if cutoff == comparison.cutoff else ""
        return " ".join(part for part in (text, interval_text(found), letters) if part)

    head = ("method", "kind", "seeds", *(column_name(*column) for column in columns))
    return table(
        head,
        (
            (
                escaped(row.name),
                "*upper bound*" if row.kind == "oracle" else row.kind,
                str(len(row.seeds)),
                *(cell(row, *column) for column in columns),
            )
            for row in rows
        ),
    )


def _tests(comparison: Comparison) -> Iterator[str]:
    if not comparison.pairs:
        return
    yield from ("## Tests of the best variant", "", tests_text(comparison), "")
    yield f"Intervals of differences are not corrected: they may exclude 0 although the verdict is *{NOT_SIGNIFICANT}*."
    yield ""
    for metric in comparison.main_metric_first:
        if summary := summary_text(comparison, metric):
            yield from (f"**{escaped(summary)}**", "")
            yield from (f"- {escaped(pair_text(test))}" for test in comparison.against_best(metric))
            yield ""
    yield from ("All other pairs are in `comparison.json`.", "")


def _beyond(comparison: Comparison) -> Iterator[str]:
    if not comparison.beyond_accuracy:
        return
    yield from (f"## {BEYOND}", "")
    columns = [(metric, comparison.cutoff) for metric in comparison.beyond_accuracy]
    rows = [row for row in comparison.table_rows if row.list_values]
    yield from _metrics_table(comparison, rows, is_method=True, columns=columns)
    yield from ("", escaped(comparison_beyond_text(comparison)), "")


def _streams(comparison: Comparison) -> Iterator[str]:
    rows = [row for row in comparison.table_rows if row.kind in ("stream", "oracle")]
    if rows:
        yield from ("## Single streams", "", streams_text(rows), "")
        yield from (*_metrics_table(comparison, rows, is_method=False), "")


def _slices(comparison: Comparison) -> Iterator[str]:
    rows = comparison.methods
    for axis in dict.fromkeys(part.axis for part in comparison.slices):
        found = [part for part in comparison.slices if part.axis == axis]
        title = column_name(comparison.metric, comparison.cutoff)
        note = f" {MEMORIZATION_TEXT}" * (axis == MEMORIZATION)
        yield from (f"## By {axis}", "", f"{title}; number of users in parentheses.{note}", "")
        yield from table(
            ("method", *(f"{escaped(part.label)} ({part.users:,})" for part in found)),
            (
                (escaped(row.name), *(cell_text(part.cells[row.name][comparison.metric]) for part in found))
                for row in rows
            ),
        )
        yield ""


def _codes(comparison: Comparison) -> Iterator[str]:
    """Use and collisions of codes; variants with the same codes share one line."""
    owners: dict[str, list[ComparisonRow]] = {}
    for row in comparison.rows:
        if row.kind == "variant" and row.models and row.models[0].codes:
            owners.setdefault(json.dumps(row.models[0].codes, sort_keys=True), []).append(row)
    if not owners:
        return
    yield from ("## Codes", "")
    yield (
        "First seed: number of items, codes of each level (as used/total if some are unused), and items that shared "
        "their codes before repair. `genrec tokenize` reports more."
    )
    yield ""
    lines = []
    for first, *others in owners.values():
        name = f"{first.name} and {len(others)} more" if others else first.name
        for stream, codes in first.models[0].codes.items():
            absent = f" ({codes['absent']:,} absent)" if codes["absent"] else ""
            collisions = f"{codes['collisions']:,} ({codes['collision_ratio']:.1%})" if codes["collisions"] else "0"
            lines.append(
                (escaped(name), stream, f"{codes['items']:,}{absent}", sizes_text(codes["levels"]), collisions)
            )
    yield from (*table(("variant", "stream", "items", "levels", "collisions"), lines), "")


def _costs(comparison: Comparison) -> Iterator[str]:
    groups = model_groups(comparison)
    if not groups:
        return
    yield from ("## Time, parameters, memory", "", costs_text(comparison), "")
    head = ("variants", "parameters", "training", "search", "memory")
    yield from table(
        head, (("<br>".join(escaped(row.name) for row in group), *cost_cells(group[0])) for group in groups)
    )
    yield ""


def _failures(comparison: Comparison) -> Iterator[str]:
    if failed := [text for row in comparison.rows for text in failure_texts(row)]:
        yield from ("## Variants without a result", "", *(f"- {escaped(text)}" for text in failed), "")


def _changes(comparison: Comparison) -> Iterator[str]:
    changed = [(row, note) for row in comparison.rows for note in row.notes]
    if changed:
        yield from ("## Changes to variants", "")
        yield from (f"- {escaped(f'{named(row.name)}: {note}')}" for row, note in changed)
        yield ""


def _stages(comparison: Comparison) -> Iterator[str]:
    if not comparison.stages:
        return
    keys = list(dict.fromkeys(key for counts in comparison.stages.values() for key in counts))
    yield from (
        "## Shared stages",
        "",
        "Stages made in this comparison, reused from the cache, missing; trials that need them (wanted).",
        "",
    )
    yield from table(
        ("stage", *keys),
        ((kind, *(f"{counts.get(key, 0):,}" for key in keys)) for kind, counts in comparison.stages.items()),
    )
    yield ""


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.notes:
        yield from ("## Notes", "", *(f"- {escaped(note)}" for note in comparison.notes), "")


def _commands(comparison: Comparison) -> Iterator[str]:
    commands = {row.name: row.command for row in comparison.rows if row.command}
    if commands:
        yield from ("## Commands of the variants", "")
        if any(command.endswith(" SEED") for command in commands.values()):
            yield from ("Replace `SEED` by a number.", "")
        yield "```sh"
        for name, command in commands.items():
            yield from (f"# {name}", command)
        yield from ("```", "")
