"""The result of a comparison: rows with the rank of every user under every seed, and their models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from genrec.evaluation.beyond_accuracy import ListValues
from genrec.evaluation.metrics import METRICS, main_metric
from genrec.evaluation.significance import Difference, Verdict, holm, verdict
from genrec.reporting.report import Protocol
from genrec.training.log import EpochRecord

RowKind = Literal["variant", "stream", "baseline", "oracle"]
"""``variant``: a recipe with its settings. ``stream``: one stream of the model of some variants, without a merge.
``oracle``: the best stream of such a model for each user; an upper bound for merges, not a method. ``baseline``: one of
the baselines of the recipes."""


@dataclass(frozen=True)
class Trained:
    """One trained model: a recipe without its merge, under one seed."""

    seed: int
    model_key: str
    """Its cache key: rows with equal keys share the model."""
    parameters: int
    training_seconds: float
    search_seconds: float | None
    """Search of all evaluation users in all streams; None if unknown."""
    peak_bytes: int | None
    """Peak memory of the process that trained and searched the model; None if unknown."""
    curve: tuple[EpochRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    """Of the training."""
    codes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By stream: result of :func:`genrec.evaluation.code_quality.measure_codes`, and ``notes`` on vectors and codes."""


@dataclass(frozen=True)
class ComparisonRow:
    """One line of the table."""

    name: str
    """Unique and short; consists of the values that vary."""
    kind: RowKind
    setting: Mapping[str, str]
    """Axis -> its value here; empty for baselines."""
    seeds: tuple[int, ...]
    """Finished seeds, ascending. A deterministic method has one."""
    ranks_SU: np.ndarray
    """Place of each user's target under each seed, int32 (S, U), ABSENT where it was not found."""
    models: tuple[Trained, ...] = ()
    """By seed, as ``seeds``; empty for baselines."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """Seed -> one-line reason for the missing result."""
    notes: tuple[str, ...] = ()
    """Changes beyond the setting, such as tasks left out."""
    command: str = ""
    """Command that runs this variant alone, with ``SEED`` in place of the seed."""
    list_values: tuple[ListValues, ...] = ()
    """Metrics beyond accuracy by seed, as ``seeds``; empty for oracles and without such metrics."""
    target_offsets: np.ndarray | None = None
    """With several targets per user: ``ranks_SU`` has all of them, user by user, and user u has those from offsets[u]
    to offsets[u + 1], int64 (U + 1,). None: each user has one."""

    def values_SU(self, metric: str, cutoff: int) -> np.ndarray:
        """A metric of each seed and user, float64 (S, U)."""
        return METRICS.get(metric)(self.ranks_SU, cutoff, self.target_offsets)

    def beyond_SU(self, metric: str) -> np.ndarray:
        """A metric of lists of each seed and user at the main cutoff, float64 (S, U)."""
        return np.stack([values.of_users[metric] for values in self.list_values]).astype(np.float64)


@dataclass(frozen=True)
class Cell:
    """A metric of a row: over seeds and over users."""

    mean: float
    """Over users and seeds."""
    std: float | None
    """Standard deviation of the means of the seeds (denominator S - 1); None with one seed."""
    low: float
    high: float
    """Bootstrap interval over users, each user's seeds averaged first."""


@dataclass(frozen=True)
class Pair:
    """Two rows over the same users, each user's seeds averaged first."""

    first: str
    second: str
    metric: str
    cutoff: int
    difference: float
    """First minus second."""
    low: float
    high: float
    p: float
    """Two-sided, paired bootstrap over users (shift method)."""
    p_holm: float
    """Corrected for all pairs of the comparison and all its metrics."""
    wilcoxon_p: float
    wilcoxon_p_holm: float
    seeds_agree: int | None
    """Number of common seeds whose difference has the sign of the mean difference; None without common seeds."""
    seeds_shared: int

    @property
    def verdict(self) -> Verdict:
        """The verdict on ``first``."""
        metric = METRICS.get(self.metric)
        has_direction = metric.higher_is_better is not None
        return verdict(self.p_holm, metric.merit(self.difference), has_direction=has_direction)

    def reversed(self) -> Pair:
        """The same test with ``first`` and ``second`` swapped."""
        return replace(
            self, first=self.second, second=self.first, difference=-self.difference, low=-self.high, high=-self.low
        )


SliceAxis = Literal["history length", "target popularity", "memorization"]
"""What divides the users of slices."""


@dataclass(frozen=True)
class Slice:
    """A group of users, and the metrics of every row on them."""

    axis: SliceAxis
    label: str
    """E.g. ``5-8 items``, ``bought 0 times in training``."""
    users: int
    cells: Mapping[str, Mapping[str, Cell]]
    """Name of a row -> metric -> its cell at the main cutoff."""


ControlKind = Literal["random codes", "repeated stream", "concatenated vectors"]
"""``random codes``: semantic IDs that do not depend on the item vectors. ``repeated stream``: the same stream several
times. ``concatenated vectors``: one stream on the vectors of several."""


@dataclass(frozen=True)
class Control:
    """A variant that shows what a property of others contributes: it lacks the property and is otherwise like them."""

    kind: ControlKind
    variant: str
    """Name of the control."""
    counterparts: tuple[str, ...]
    """Names of the variants that have the property."""


@dataclass(frozen=True)
class Comparison:
    """The result of ``genrec compare``."""

    title: str
    split: Literal["validation", "test"]
    protocol: Protocol
    axes: Mapping[str, tuple[str, ...]]
    """Axis -> its values in the order given. Empty if recipes are compared as they are."""
    seeds: tuple[int, ...]
    rows: Sequence[ComparisonRow]
    metrics: tuple[str, ...]
    """Names of the metrics, in the order of the columns."""
    cells: Mapping[str, Mapping[str, Mapping[int, Cell]]]
    """Name of a row -> metric -> cutoff -> cell."""
    pairs: Sequence[Pair]
    """All pairs of variants and baselines, metric by metric, at the main cutoff."""
    letters: Mapping[str, Mapping[str, str]]
    """Metric -> row name -> letters: rows that share a letter are not significantly different."""
    slices: Sequence[Slice]
    cutoff: int
    """The main cutoff: of pairs, letters and slices."""
    stages: Mapping[str, Mapping[str, int]]
    """Kind of stage -> how many are ``made``, ``reused`` and ``missing``; ``wanted``: summed over the trials."""
    seconds: float
    notes: Sequence[str] = ()
    controls: Sequence[Control] = ()
    """The controls among the variants."""
    beyond_accuracy: tuple[str, ...] = ()
    """Names of the metrics beyond accuracy, in the order of the columns; their cells are at the main cutoff."""
    beyond_pairs: Sequence[Pair] = ()
    """All pairs of variants and baselines in metrics of lists; corrected among themselves."""
    distances_in: str = ""
    """The stream whose item vectors measure distances; empty if there is none."""
    target_popularity_U: np.ndarray | None = None
    """How often each user's target occurs in training, int64 (U,); None if unknown."""

    @property
    def metric(self) -> str:
        """The main metric: of slices, plots and the first sentence."""
        return main_metric(self.metrics)

    @property
    def main_metric_first(self) -> tuple[str, ...]:
        """All metrics, the main one first."""
        return (self.metric, *(metric for metric in self.metrics if metric != self.metric))

    @property
    def table_rows(self) -> Sequence[ComparisonRow]:
        """Rows that have a result, in the order of the table: as given."""
        return [row for row in self.rows if len(row.seeds)]

    @property
    def methods(self) -> list[ComparisonRow]:
        """The rows that are tested against each other."""
        return methods_of(self.rows)

    def best_rows(self, metric: str, cutoff: int) -> list[str]:
        """Names of the variants and baselines with the best mean; none if no target was found."""
        measure = METRICS.get(metric)
        means = {row.name: self.cells[row.name][metric][cutoff].mean for row in self.methods}
        best = measure.best(means.values())
        return [name for name, mean in means.items() if measure.is_best(mean, best)]

    def against_best(self, metric: str) -> list[Pair]:
        """The tests of the variant with the best mean against all variants and baselines, best means first.

        It is the ``first`` of each.
        """
        if metric not in self.letters:
            return []
        merit = METRICS.get(metric).merit
        means = {row.name: merit(self.cells[row.name][metric][self.cutoff].mean) for row in self.methods}
        variants = [row.name for row in self.methods if row.kind == "variant"]
        best = max(variants or means, key=lambda name: means[name], default="")
        tests = [
            test if test.first == best else test.reversed()
            for test in self.pairs
            if test.metric == metric and best in (test.first, test.second)
        ]
        return sorted(tests, key=lambda test: -means[test.second])


def agreement(
    first: ComparisonRow, second: ComparisonRow, one: Mapping[int, float], two: Mapping[int, float], difference: float
) -> tuple[int | None, int]:
    """The number of common seeds with the same sign of the difference, and the number of common seeds.

    A deterministic baseline has one seed, which stands for all.

    Args:
        first: a row.
        second: another row.
        one: the mean of each seed of the first row.
        two: the mean of each seed of the second row.
        difference: of the means over seeds.
    """
    if first.kind == "baseline" and len(one) == 1:
        one = dict.fromkeys(two, *one.values())
    if second.kind == "baseline" and len(two) == 1:
        two = dict.fromkeys(one, *two.values())
    shared = [seed for seed in one if seed in two]
    if not shared:
        return None, 0
    return int(sum(np.sign(one[seed] - two[seed]) == np.sign(difference) for seed in shared)), len(shared)


def methods_of(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """The rows that are tested against each other: variants and baselines with a result.

    Single streams would multiply the tests, and the oracle is an upper bound, not a method.
    """
    return [row for row in rows if row.seeds and row.kind in ("variant", "baseline")]


def corrected_pairs(
    tests: Sequence[tuple[ComparisonRow, ComparisonRow, str, int]],
    differences: Sequence[Difference],
    seed_means: Callable[[ComparisonRow, str, int], Mapping[int, float]],
) -> list[Pair]:
    """The tests of pairs of rows, Holm-corrected together.

    Args:
        tests: first row, second row, metric and cutoff.
        differences: of each test.
        seed_means: of a row, a metric and a cutoff: the mean of each seed.
    """
    corrected = holm([difference.p for difference in differences])
    wilcoxon_corrected = holm([difference.wilcoxon_p for difference in differences])
    found = []
    for number, ((first, second, metric, cutoff), difference) in enumerate(zip(tests, differences, strict=True)):
        one, two = seed_means(first, metric, cutoff), seed_means(second, metric, cutoff)
        agree, shared = agreement(first, second, one, two, difference.mean)
        found.append(
            Pair(
                first=first.name,
                second=second.name,
                metric=metric,
                cutoff=cutoff,
                difference=difference.mean,
                low=difference.low,
                high=difference.high,
                p=difference.p,
                p_holm=corrected[number],
                wilcoxon_p=difference.wilcoxon_p,
                wilcoxon_p_holm=wilcoxon_corrected[number],
                seeds_agree=agree,
                seeds_shared=shared,
            )
        )
    return found
