"""A comparison in words and cells, the same on a page, in Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from genrec.comparison._values import named
from genrec.comparison.results import Cell, Comparison, ComparisonRow, Pair, Trained
from genrec.comparison.statistics import methods_of
from genrec.evaluation.metrics import METRICS, column_name
from genrec.evaluation.significance import samples_for
from genrec.reporting.report_markdown import p_text, seconds_text

_MOST_NAMED = 6
"""Rows that one sentence names; letters and the list of tests name them all."""


def asked_text(comparison: Comparison) -> str:
    """What was compared, and whom it was asked of."""
    count = sum(row.kind == "variant" for row in comparison.rows)
    varied = f" ({', '.join(comparison.axes)})" if comparison.axes else ""
    seeds = f"seed{'s' * (len(comparison.seeds) != 1)} {listed(map(str, comparison.seeds))}"
    return f"{count} variant{'s' * (count != 1)}{varied}, {seeds}, asked: {comparison.split} users."


def protocol_text(comparison: Comparison) -> str:
    """The rules of the tables in one paragraph."""
    protocol = comparison.protocol
    item = "last item" if comparison.split == "test" else "last item but one"
    seen = "kept in the lists" if protocol.seen_items == "keep" else "filtered from the lists"
    return (
        f"{protocol.dataset}, leave-one-out: the {item} of each of {protocol.users:,} users is to be found among all "
        f"{protocol.items:,} items, none sampled. Seen items are {seen}; the target is one of them for "
        f"{protocol.seen_targets:.1%} of the users. Final fit: {protocol.final_fit}. Order of histories: "
        f"{protocol.order}. Selection: {protocol.selection}."
    )


def cells_text(comparison: Comparison) -> str:
    """What stands in a cell."""
    protocol = comparison.protocol
    deviation = "; ±: standard deviation over seeds" if len(comparison.seeds) > 1 else "; one seed says little"
    return (
        f"Mean over users and seeds{deviation}. Brackets: {protocol.confidence:.0%} bootstrap interval over users "
        f"({protocol.bootstrap_samples:,} resamples), each user's seeds averaged first: it does not hold the noise "
        "between seeds."
    )


def tests_text(comparison: Comparison) -> str:
    """How the tests were made, and what the letters say."""
    count = len(comparison.pairs)
    return (
        "Rows that share a letter are not different in that metric. Each variant and baseline is tested against each "
        f"other over the same users, each user's seeds averaged first: paired bootstrap ({samples_for(count):,} "
        f"resamples), two-sided, Holm-corrected for all {count:,} tests of the comparison; from p = 0.05 on it says "
        "*not different*. Wilcoxon's signed-rank p, corrected likewise, is a second opinion. Users are resampled, not "
        "trainings: how many of the seeds agree stands beside a difference."
    )


def streams_text(rows: Sequence[ComparisonRow]) -> str:
    """What rows of single streams and oracles are."""
    oracle = (
        " The oracle is no method: it looks at the target and takes, for each user, the stream that ranks it best. It "
        "bounds what choosing one stream for each user could reach."
    )
    return "Each stream of a model by itself; these rows are not tested." + oracle * any(
        row.kind == "oracle" for row in rows
    )


def cell_text(cell: Cell) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{cell.mean:.4f}" if cell.std is None else f"{cell.mean:.4f} ± {cell.std:.4f}"


def interval_text(cell: Cell | Pair, *, signed: bool = False) -> str:
    """The interval in brackets."""
    show = _signed if signed else "{:.4f}".format
    return f"[{show(cell.low)}, {show(cell.high)}]"


def best_rows(comparison: Comparison, metric: str, cutoff: int) -> list[str]:
    """The variants and baselines with the best mean; none where nothing was found."""
    measure = METRICS.get(metric)
    means = {row.name: comparison.cells[row.name][metric][cutoff].mean for row in methods_of(comparison.rows)}
    best = measure.best(means.values())
    return [name for name, mean in means.items() if measure.is_best(mean, best)]


def against_best(comparison: Comparison, metric: str) -> list[Pair]:
    """The tests of the variant with the best mean against all variants and baselines, best means first.

    It is the ``first`` of each.
    """
    if metric not in comparison.letters:
        return []
    methods, merit = methods_of(comparison.rows), METRICS.get(metric).merit
    means = {row.name: merit(comparison.cells[row.name][metric][comparison.cutoff].mean) for row in methods}
    variants = [row.name for row in methods if row.kind == "variant"]
    best = max(variants or means, key=lambda name: means[name], default="")
    found = [
        test if test.first == best else _turned(test)
        for test in comparison.pairs
        if test.metric == metric and best in (test.first, test.second)
    ]
    return sorted(found, key=lambda test: -means[test.second])


def summary_text(comparison: Comparison, metric: str) -> str:
    """The verdicts on the variant with the best mean in a sentence; empty where nothing was tested."""
    tests, measure = against_best(comparison, metric), METRICS.get(metric)
    if not tests:
        return ""
    best = tests[0].first
    cell = comparison.cells[best][metric][comparison.cutoff]
    by_verdict: dict[str, list[str]] = {"worse": [], "not significantly different": [], "better": []}
    for test in tests:
        by_verdict[test.verdict].append(named(test.second))
    worse, same, better = by_verdict.values()
    said = []
    if worse:
        said.append(f"worse than {listed(worse)}")
    if same:
        said.append(f"not different from {listed(same) if len(same) <= _MOST_NAMED else f'{len(same)} others'}")
    if better:
        others = f"the other {len(better)}" if len(better) > 1 else better[0]
        said.append(f"better than {others if said else 'all others'}")
    among = " of the variants" if any(measure.merit(test.difference) < 0 for test in tests) else ""
    name = f"{column_name(metric, comparison.cutoff)}: {named(best)}"
    best_mean = "highest" if measure.higher_is_better else "lowest"
    return f"{name} has the {best_mean} mean{among} ({cell_text(cell)}): {'; '.join(said)}."


def pair_text(test: Pair) -> str:
    """A test in words."""
    first, second = named(test.first), named(test.second)
    if test.verdict == "not significantly different":
        said = f"{first} and {second} are not different"
    else:
        said = f"{first} is {test.verdict} than {second}"
    numbers = (
        f"{column_name(test.metric, test.cutoff)} difference {_signed(test.difference)} "
        f"{interval_text(test, signed=True)}, {_p('Holm p', test.p_holm)}, "
        f"{_p('Wilcoxon', test.wilcoxon_p_holm)}"
    )
    agree = ""
    if test.seeds_agree is not None and test.seeds_shared > 1:
        agree = f"; {test.seeds_agree} of {test.seeds_shared} seeds agree"
    return f"{said} ({numbers}{agree})"


class Costs(NamedTuple):
    """What a row's models took, as far as it is known."""

    training_seconds: float | None
    """Of one model, averaged over seeds."""
    search_seconds: float | None
    """The same."""
    parameters: int | None
    """Of the largest."""
    peak_bytes: int | None
    """Of the process that held most."""


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
    """Why which seeds of a row have no result."""
    seeds: dict[str, list[str]] = {}
    for seed, why in row.failures.items():
        seeds.setdefault(why, []).append(str(seed))
    return [f"{named(row.name)}, seed{'s' * (len(found) > 1)} {listed(found)}: {why}" for why, found in seeds.items()]


def models_of(row: ComparisonRow) -> tuple[str, ...]:
    """Which models a row has: rows with the same share them."""
    return tuple(model.model_key for model in row.models)


def trained_once(rows: Sequence[ComparisonRow]) -> list[Trained]:
    """Every model of some rows once."""
    return list({model.model_key: model for row in rows for model in row.models}.values())


def models_text(count: int) -> str:
    """How many models, in words."""
    return "one model" if count == 1 else f"all {count:,} models"


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _turned(test: Pair) -> Pair:
    return replace(
        test, first=test.second, second=test.first, difference=-test.difference, low=-test.high, high=-test.low
    )


def _signed(value: float) -> str:
    """With its sign; what rounds to 0 is +0.0000."""
    return f"{round(value, 4) + 0.0:+.4f}"


def _p(name: str, p: float) -> str:
    return f"{name} {p_text(p)}" if p < 0.001 else f"{name} = {p_text(p)}"
