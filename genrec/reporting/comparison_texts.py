"""Sentences and table cells of a comparison, the same in HTML, in Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from genrec.comparison.results import Cell, Comparison, ComparisonRow, Pair, Trained
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import LEVEL, NOT_SIGNIFICANT, samples_for
from genrec.reporting.beyond_accuracy import beyond_text
from genrec.reporting.next_steps import Step, comparison_steps
from genrec.reporting.texts import (
    count_text,
    interval_text,
    intervals_text,
    listed,
    named,
    named_p_text,
    oracle_text,
    seconds_text,
    signed_text,
)

_MOST_NAMED = 6
"""Rows that one sentence names; letters and the list of tests have all."""


def scope_text(comparison: Comparison) -> str:
    """What was compared, under which seeds, and on which users."""
    count = sum(row.kind == "variant" for row in comparison.rows)
    varied = f" ({', '.join(comparison.axes)})" if comparison.axes else ""
    seeds = f"seed{'s' * (len(comparison.seeds) != 1)} {listed(map(str, comparison.seeds))}"
    return f"{count_text(count, 'variant')}{varied}, {seeds}, evaluated on {comparison.split} users."


def cells_text(comparison: Comparison) -> str:
    """What the numbers of a cell are."""
    deviation = "; ±: standard deviation over seeds" if len(comparison.seeds) > 1 else " (one seed)"
    return (
        f"Mean over users and seeds{deviation}. {intervals_text(comparison.protocol)} "
        "The values of a user are averaged over seeds first."
    )


def comparison_beyond_text(comparison: Comparison, *, has_intervals: bool = True) -> str:
    """What the table of metrics beyond accuracy has, and what its letters mean."""
    confidence = comparison.protocol.confidence if has_intervals else None
    text = beyond_text(comparison.beyond_accuracy, comparison.cutoff, confidence, distances_in=comparison.distances_in)
    if not comparison.beyond_pairs:
        return text
    return (
        f"{text} Rows that share a letter are {NOT_SIGNIFICANT} in that metric (paired t-test over users, "
        f"Holm-corrected for these {len(comparison.beyond_pairs):,} tests; all are in comparison.json)."
    )


def tests_text(comparison: Comparison) -> str:
    """How the tests were made, and what the letters mean."""
    count = len(comparison.pairs)
    return (
        f"Rows that share a letter are {NOT_SIGNIFICANT} in that metric. Each variant and baseline is tested against "
        "each other over the same users, after averaging the values of a user over seeds: paired bootstrap "
        f"({samples_for(count):,} resamples), two-sided, Holm-corrected for all {count:,} tests of the comparison. A "
        f"difference is not significant if p is {LEVEL} or more after the correction. Wilcoxon's signed-rank p is "
        "corrected in the same way. The tests resample users, not seeds: see the number of seeds that agree."
    )


def streams_text(rows: Sequence[ComparisonRow]) -> str:
    """What rows of single streams and oracles are."""
    oracle = f" {oracle_text()}" * any(row.kind == "oracle" for row in rows)
    return f"Each stream of a model without a merge; these rows are not tested.{oracle}"


def cell_text(cell: Cell) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{cell.mean:.4f}" if cell.std is None else f"{cell.mean:.4f} ± {cell.std:.4f}"


def summary_text(comparison: Comparison, metric: str) -> str:
    """The verdicts on the variant with the best mean in a sentence; empty without tests."""
    tests, measure = comparison.against_best(metric), METRICS.get(metric)
    if not tests:
        return ""
    best = tests[0].first
    cell = comparison.cells[best][metric][comparison.cutoff]
    worse, same, better = (
        [named(test.second) for test in tests if test.verdict == verdict]
        for verdict in ("worse", NOT_SIGNIFICANT, "better")
    )
    parts = []
    if worse:
        parts.append(f"worse than {listed(worse)}")
    if same:
        parts.append(f"{NOT_SIGNIFICANT} from {listed(same) if len(same) <= _MOST_NAMED else f'{len(same)} others'}")
    if better:
        others = f"the other {len(better)}" if len(better) > 1 else better[0]
        parts.append(f"better than {others if parts else 'all others'}")
    among = " of the variants" if any(measure.merit(test.difference) < 0 for test in tests) else ""
    name = f"{column_name(metric, comparison.cutoff)}: {named(best)}"
    best_mean = "highest" if measure.higher_is_better else "lowest"
    return f"{name} has the {best_mean} mean{among} ({cell_text(cell)}): {'; '.join(parts)}."


def pair_text(test: Pair) -> str:
    """A test in words."""
    first, second = named(test.first), named(test.second)
    if test.verdict == NOT_SIGNIFICANT:
        verdict = f"{first} and {second} are {NOT_SIGNIFICANT}"
    else:
        verdict = f"{first} is {test.verdict} than {second}"
    numbers = (
        f"{column_name(test.metric, test.cutoff)} difference {signed_text(test.difference)} "
        f"{interval_text(test, signed=True)}, {named_p_text('Holm p', test.p_holm)}, "
        f"{named_p_text('Wilcoxon', test.wilcoxon_p_holm)}"
    )
    agree = ""
    if test.seeds_agree is not None and test.seeds_shared > 1:
        agree = f"; {test.seeds_agree} of {test.seeds_shared} seeds agree"
    return f"{verdict} ({numbers}{agree})"


class Costs(NamedTuple):
    """Costs of a row's models; None if unknown."""

    training_seconds: float | None
    """Training of one model, averaged over seeds."""
    search_seconds: float | None
    """Search of all users, averaged over seeds."""
    parameters: int | None
    """Parameters of the largest model."""
    peak_bytes: int | None
    """Peak memory of the largest process."""


def costs_of(row: ComparisonRow) -> Costs:
    """Time, parameters and memory of a row's models."""
    search = [model.search_seconds for model in row.models if model.search_seconds is not None]
    return Costs(
        fmean(model.training_seconds for model in row.models) if row.models else None,
        fmean(search) if search else None,
        max((model.parameters for model in row.models), default=None),
        max((model.peak_bytes for model in row.models if model.peak_bytes is not None), default=None),
    )


def cost_cells(row: ComparisonRow) -> tuple[str, str, str, str]:
    """Parameters, training time, search time and memory."""
    costs = costs_of(row)
    return (
        "-" if costs.parameters is None else f"{costs.parameters:,}",
        "-" if costs.training_seconds is None else seconds_text(costs.training_seconds),
        "-" if costs.search_seconds is None else seconds_text(costs.search_seconds),
        "-" if costs.peak_bytes is None else f"{costs.peak_bytes / 1e6:,.0f} MB",
    )


def failure_texts(row: ComparisonRow) -> list[str]:
    """The seeds of a row without a result, and why."""
    seeds: dict[str, list[str]] = {}
    for seed, why in row.failures.items():
        seeds.setdefault(why, []).append(str(seed))
    return [f"{named(row.name)}, seed{'s' * (len(found) > 1)} {listed(found)}: {why}" for why, found in seeds.items()]


def models_of(row: ComparisonRow) -> tuple[str, ...]:
    """Cache keys of a row's models; rows with the same keys share them."""
    return tuple(model.model_key for model in row.models)


def trained_once(rows: Sequence[ComparisonRow]) -> list[Trained]:
    """The distinct models of some rows."""
    return list({model.model_key: model for row in rows for model in row.models}.values())


def model_groups(comparison: Comparison) -> list[list[ComparisonRow]]:
    """The variants with a result, those with the same models together."""
    groups: dict[tuple[str, ...], list[ComparisonRow]] = {}
    for row in comparison.table_rows:
        if row.kind == "variant" and row.models:
            groups.setdefault(models_of(row), []).append(row)
    return list(groups.values())


def costs_text(comparison: Comparison) -> str:
    """What the costs of the variants are, and what the comparison took."""
    models = trained_once([row for group in model_groups(comparison) for row in group])
    return (
        "One model, averaged over its seeds; variants on one line share a model. Memory is the peak of the process. "
        f"Training took {seconds_text(sum(model.training_seconds for model in models))} for "
        f"{models_text(len(models))}; this comparison took {seconds_text(comparison.seconds)} without stages from the "
        "cache."
    )


def models_text(count: int) -> str:
    """A number of models in words."""
    return "one model" if count == 1 else f"all {count:,} models"


def best_command(comparison: Comparison) -> str:
    """The command that runs the best variant of the main metric alone, with its first seed; empty without one."""
    metric, cutoff = comparison.metric, comparison.cutoff
    variants = [row for row in comparison.methods if row.kind == "variant" and row.command]
    if not variants:
        return ""
    merit = METRICS.get(metric).merit
    best = max(variants, key=lambda row: merit(comparison.cells[row.name][metric][cutoff].mean))
    return best.command.replace("--seed SEED", f"--seed {best.seeds[0]}")


def steps_of(comparison: Comparison, folder: Path) -> list[Step]:
    """The commands for the next steps after a comparison in a folder."""
    return comparison_steps(folder, command=best_command(comparison), is_validation=comparison.split == "validation")
