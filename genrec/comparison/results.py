"""What a comparison found: its rows with every user's rank under every seed, and the models behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from genrec.evaluation.metrics import METRICS, main_metric
from genrec.reporting.report import Protocol
from genrec.training.log import EpochRecord

RowKind = Literal["variant", "stream", "baseline", "oracle"]
"""``variant``: a recipe as it was asked for. ``stream``: one stream of the model of some variants, alone.
``oracle``: the best stream of such a model for each user; no method, an upper bound for merges. ``baseline``: a
yardstick."""


@dataclass(frozen=True)
class Trained:
    """One trained model: a recipe without its merge, under one seed."""

    seed: int
    model_key: str
    """Its cache key: rows with equal keys share the model."""
    parameters: int
    training_seconds: float
    search_seconds: float | None
    """Of all the users asked, all streams; None where it is not known."""
    peak_bytes: int | None
    """Most memory that the process which trained and searched it has held; None where it is not known."""
    curve: tuple[EpochRecord, ...] = ()
    codes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By stream: what :func:`genrec.evaluation.code_quality.measure_codes` says, and the ``notes`` on its vectors and
    codes."""


@dataclass(frozen=True)
class ComparisonRow:
    """One line of the table."""

    name: str
    """Unique, short; made of what varies."""
    kind: RowKind
    setting: Mapping[str, str]
    """Axis -> its value here; empty for baselines."""
    seeds: tuple[int, ...]
    """The seeds that are finished, ascending. A method without randomness has one."""
    ranks_SU: np.ndarray
    """Place of each user's target under each seed, int32 (S, U), ABSENT where it was not found."""
    models: tuple[Trained, ...] = ()
    """By seed, as ``seeds``; empty for baselines."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """Seed -> why it has no result, in a line."""
    notes: tuple[str, ...] = ()
    """What was left out or changed to make this variant."""
    command: str = ""
    """What runs this variant alone, with ``SEED`` where the seed goes."""

    def values_SU(self, metric: str, cutoff: int) -> np.ndarray:
        """A metric of each seed and user, float64 (S, U)."""
        return METRICS.get(metric)(self.ranks_SU, cutoff)


@dataclass(frozen=True)
class Cell:
    """A metric of a row: over seeds and over users."""

    mean: float
    """Over users and seeds."""
    std: float | None
    """Of the seeds' means, with S - 1 in the denominator; None with one seed."""
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
    """First less second."""
    low: float
    high: float
    p: float
    """Two-sided, paired bootstrap over users (shift method)."""
    p_holm: float
    """Corrected for all pairs of the comparison and all its metrics."""
    wilcoxon_p: float
    wilcoxon_p_holm: float
    seeds_agree: int | None
    """Of the seeds that both rows have, those whose own difference has the sign of the mean one; None where the rows
    have no seeds in common."""
    seeds_shared: int

    @property
    def verdict(self) -> Literal["better", "worse", "not significantly different"]:
        """What may be said of ``first``; by ``p_holm`` at the 5 % level."""
        if self.p_holm >= 0.05:
            return "not significantly different"
        return "better" if METRICS.get(self.metric).merit(self.difference) > 0 else "worse"


@dataclass(frozen=True)
class Slice:
    """Some of the users, and every row's metrics there."""

    axis: Literal["history length", "target popularity"]
    label: str
    """E.g. ``5-8 items``, ``bought 0 times in training``."""
    users: int
    cells: Mapping[str, Mapping[str, Cell]]
    """Name of a row -> metric -> its cell at the main cutoff."""


@dataclass(frozen=True)
class Comparison:
    """All that ``genrec compare`` has to say."""

    title: str
    split: Literal["validation", "test"]
    protocol: Protocol
    axes: Mapping[str, tuple[str, ...]]
    """What was varied: axis -> its values in the order given. Empty when recipes stand side by side."""
    seeds: tuple[int, ...]
    rows: Sequence[ComparisonRow]
    metrics: tuple[str, ...]
    """Names of what is reported, in the order of the columns."""
    cells: Mapping[str, Mapping[str, Mapping[int, Cell]]]
    """Name of a row -> metric -> cutoff -> cell."""
    pairs: Sequence[Pair]
    """All pairs of variants and baselines, metric by metric, at the main cutoff."""
    letters: Mapping[str, Mapping[str, str]]
    """Metric -> row name -> letters: rows that share a letter are not different."""
    slices: Sequence[Slice]
    cutoff: int
    """The main cutoff: of pairs, letters and slices."""
    stages: Mapping[str, Mapping[str, int]]
    """RowKind of stage -> ``made``, ``reused``: how often it was worked out and found finished."""
    seconds: float
    notes: Sequence[str] = ()
    target_popularity_U: np.ndarray | None = None
    """How often each user's target occurs in training, int64 (U,); None where it is not known."""

    @property
    def metric(self) -> str:
        """The main metric: of slices and plots, and the first that sentences speak of."""
        return main_metric(self.metrics)

    @property
    def main_metric_first(self) -> tuple[str, ...]:
        """All metrics, the main one before the others."""
        return (self.metric, *(metric for metric in self.metrics if metric != self.metric))

    @property
    def table_rows(self) -> Sequence[ComparisonRow]:
        """Rows that have a result, in the order of the table: as given."""
        return [row for row in self.rows if len(row.seeds)]
