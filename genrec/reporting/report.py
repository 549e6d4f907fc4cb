"""The result of a run: metrics of each method, tests between methods, and the evaluation protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec.errors import DataError, PluginError, RecipeError
from genrec.evaluation.beyond_accuracy import ListValues, measurable, measure_lists
from genrec.evaluation.metrics import METRICS, best_ranks, main_cutoff, split_ranks, target_offsets
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import (
    Difference,
    Verdict,
    bootstrap_interval,
    holm,
    jackknife_interval,
    paired_difference,
    paired_t,
    t_interval,
    verdict,
)
from genrec.evaluation.slices import UserSlice
from genrec.evaluation.top_lists import ItemFacts, TopLists, seen_items
from genrec.runtime.checksums import verify
from genrec.runtime.files import read_json
from genrec.runtime.seeds import derive
from genrec.training.log import EpochRecord
from genrec.types import Dataset, Ranking, Split

MethodKind = Literal["merge", "pair", "stream", "baseline", "oracle"]
"""``pair``: the merge of two of three or more streams of the same model. ``oracle``: the best stream for each user; an
upper bound, not a method."""


@dataclass(frozen=True)
class Estimate:
    """A mean over users and its bootstrap interval."""

    mean: float
    low: float
    high: float


Metrics = Mapping[str, Mapping[int, Estimate]]
"""By metric and cutoff."""


@dataclass(frozen=True)
class MethodResult:
    """Metrics and ranks of one method."""

    name: str
    kind: MethodKind
    metrics: Mapping[str, Mapping[int, Estimate]]
    """By the metric's name (see :mod:`genrec.evaluation.metrics`) and cutoff."""
    ranks_U: np.ndarray
    """Rank of the target of each user, int32 (U,), from 0; ABSENT if it was not found. With several targets per user:
    of all targets, user by user."""
    beyond_accuracy: Metrics = field(default_factory=dict)
    """Metrics of lists and of systems, at the main cutoff; empty for the oracle and if the recipe has none."""
    lists: TopLists | None = field(default=None, repr=False, compare=False)
    """The lists that these were computed from; None for those of a finished run, which are in a file."""
    list_values: ListValues | None = field(default=None, repr=False, compare=False)
    """The values of each user in these metrics; None as ``lists``."""
    target_offsets: np.ndarray | None = field(default=None, repr=False, compare=False)
    """User u has the ranks offsets[u] to offsets[u + 1], int64 (U + 1,); None: each user has one."""

    def values_U(self, metric: str, cutoff: int) -> np.ndarray:
        """A metric of accuracy of each user, float64 (U,)."""
        return METRICS.get(metric)(self.ranks_U, cutoff, self.target_offsets)


@dataclass(frozen=True)
class ColdItems:
    """Results of users whose last item is one of the items that were held out and added after training."""

    items: int
    """Held-out items."""
    all_items: int
    """Items of the whole catalog."""
    users: int
    """Users whose last item is held out."""
    among_all: Mapping[str, Metrics]
    """By method: the target is ranked among all items."""
    among_cold: Mapping[str, Metrics]
    """By method: the target is ranked among the held-out items alone."""
    codes: Mapping[str, Mapping[str, int]]
    """By stream: how many held-out items got their codes in which way."""
    problem: str = ""
    """Why nothing was measured; empty if it was."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data; cutoffs are texts."""
        return asdict(self)

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> ColdItems:
        """The inverse of :meth:`to_dict`."""
        parts = {name: _methods(data[name]) for name in ("among_all", "among_cold")}
        return cls(**{**data, **parts})


def metrics_of(rows: Sequence[MethodResult]) -> dict[str, Metrics]:
    """The metrics of each method but the oracle."""
    return {row.name: row.metrics for row in rows if row.kind != "oracle"}


def _methods(methods: Mapping[str, Any]) -> dict[str, Metrics]:
    return {
        name: {
            metric: {int(cutoff): Estimate(**estimate) for cutoff, estimate in by_cutoff.items()}
            for metric, by_cutoff in metrics.items()
        }
        for name, metrics in methods.items()
    }


@dataclass(frozen=True)
class PairedTest:
    """One method against another over the same users."""

    method: str
    other: str
    metric: str
    cutoff: int
    difference: Difference
    p_holm: float
    """``difference.p`` corrected for all the tests of the report."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on ``method``."""
        metric = METRICS.get(self.metric)
        has_direction = metric.higher_is_better is not None
        return verdict(self.p_holm, metric.merit(self.difference.mean), has_direction=has_direction)


@dataclass(frozen=True)
class Protocol:
    """The evaluation protocol, printed with every table."""

    dataset: str
    users: int
    """Evaluation users."""
    items: int
    """Items ranked: the whole catalog."""
    seen_targets: float
    """Share of users whose target is in their history."""
    seen_items: Literal["keep", "filter"]
    order: str
    """Order of the items of a history."""
    selection: str
    """How the checkpoint was selected."""
    seed: int
    cutoffs: tuple[int, ...]
    confidence: float
    bootstrap_samples: int
    final_fit: str = "train only"
    """Data that the evaluated model was fitted on."""
    split: str = "leave-one-out"
    """What is held out for validation and test."""
    target: str = "the last item"
    """What is ranked for each user."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        settings: EvaluationSettings,
        seed: int,
        *,
        selection: str,
        final_fit: str = "train only",
        part: Literal["valid", "test"] = "test",
    ) -> Protocol:
        """The protocol of the evaluation of a dataset's validation or test users."""
        split = dataset.valid if part == "valid" else dataset.test
        return cls(
            dataset=dataset.name,
            users=len(split),
            items=dataset.num_items,
            seen_targets=_seen_targets(split),
            seen_items=settings.seen_items,
            order=dataset.order,
            selection=selection,
            seed=seed,
            cutoffs=tuple(sorted(set(settings.cutoffs))),
            confidence=settings.confidence,
            bootstrap_samples=settings.bootstrap_samples,
            final_fit=final_fit,
            split="leave-one-out" if dataset.splits is None else dataset.splits.text,
            target=_target(dataset, part),
        )


def _target(dataset: Dataset, part: Literal["valid", "test"]) -> str:
    if dataset.splits is None:
        return "the last item" if part == "test" else "the last item but one"
    return dataset.splits.test_target if part == "test" else dataset.splits.valid_target


@dataclass(frozen=True)
class Report:
    """The result of a finished run."""

    title: str
    protocol: Protocol
    users_U: np.ndarray
    """Row of each evaluation user in the dataset, int64 (U,)."""
    targets_U: np.ndarray
    """The target of each evaluation user, int64 (U,); with several, all of them, user by user."""
    rows: Sequence[MethodResult]
    tests: Sequence[PairedTest] = ()
    slices: Sequence[UserSlice] = ()
    beyond_tests: Sequence[PairedTest] = ()
    """Tests in metrics of lists; corrected among themselves."""
    distances_in: str = ""
    """The stream whose item vectors measure distances; empty if none has vectors."""
    curve: Sequence[EpochRecord] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock time of each stage, in order; stages from the cache take almost none."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Trainable parameters of each part of the model."""
    notes: Sequence[str] = ()
    """Remarks on data, streams and training, such as random weights or items without an image."""
    example_history: Sequence[str] = ()
    """Keys of a few items of one user, oldest first, for the example of ``genrec recommend``."""
    cold_items: ColdItems | None = None
    """Results on items that were held out from training; None if none were."""
    data_folder: Path | None = None
    """The data folder of the run, given or found beside the recipe, for the commands of the next steps."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of accuracy, in the order of the columns."""
        return tuple(self.rows[0].metrics) if self.rows else ()

    @property
    def beyond_accuracy(self) -> tuple[str, ...]:
        """Names of the metrics of lists and of systems, in the order of the columns."""
        return tuple(self.rows[0].beyond_accuracy) if self.rows else ()


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a finished run.

    Raises:
        DataError: the folder has no finished run, or the file is damaged.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise DataError(f"{file} is missing: expected the folder of a finished run; run the recipe to its end first")
    verify(file)
    try:
        metrics = read_json(file)
    except DataError as error:
        raise DataError(f"{error}; run the recipe again") from None
    if not isinstance(metrics, dict) or "methods" not in metrics:
        raise DataError(f"{file} has no methods: expected the metrics.json of a genrec run; run the recipe again")
    return metrics


def evaluate(
    rankings: Mapping[str, tuple[MethodKind, Ranking]],
    split: Split,
    settings: EvaluationSettings,
    seed: int,
    facts: ItemFacts | None = None,
) -> list[MethodResult]:
    """Compute the metrics of every method, and of the oracle if there are two streams or more.

    Args:
        rankings: by method: its kind and its lists, at least as long as the largest cutoff.
        split: the evaluation users, in the order of the lists.
        settings: metrics, cutoffs, seen items, bootstrap.
        seed: of the recipe.
        facts: about the items, for metrics beyond accuracy; None: those are not computed.

    Returns:
        Results in the order given, the oracle after the last stream.

    Raises:
        DataError: there are no evaluation users.
        PluginError: a method returned lists for other users, too short lists, or seen items that must be filtered.
        RecipeError: a method is named ``oracle``.
    """
    if len(split) == 0:
        raise DataError("no user has three items or more, so no user can be evaluated; expected a larger dataset")
    for name, (kind, ranking) in rankings.items():
        _check(f"{kind} {name!r}", ranking, split, settings)
    rows = [
        _row(name, kind, split_ranks(ranking, split), settings, seed, target_offsets(split))
        for name, (kind, ranking) in rankings.items()
    ]
    if facts is not None:
        names = measurable(settings.beyond_accuracy, facts)
        rows = [
            _with_lists(row, TopLists.of(ranking, split.histories, facts), names, settings)
            for row, (_, ranking) in zip(rows, rankings.values(), strict=True)
        ]
    streams = [place for place, row in enumerate(rows) if row.kind == "stream"]
    if len(streams) > 1:
        if "oracle" in rankings:
            raise RecipeError("'oracle' is the report's row for the best stream of each user; rename that method")
        offsets = target_offsets(split)
        best_U = best_ranks(np.stack([rows[place].ranks_U for place in streams]), offsets)
        rows.insert(streams[-1] + 1, _row("oracle", "oracle", best_U, settings, seed, offsets))
    return rows


def paired_tests(rows: Sequence[MethodResult], settings: EvaluationSettings, seed: int) -> list[PairedTest]:
    """Tests of the merge against every other method in every metric at the main cutoff, Holm-corrected together.

    The oracle, an upper bound, is not tested. Without a merge there are no tests.
    """
    merge = next((row for row in rows if row.kind == "merge"), None)
    if merge is None:
        return []
    cutoff = main_cutoff(settings.cutoffs)
    found = [
        (
            other.name,
            metric,
            paired_difference(
                merge.values_U(metric, cutoff),
                other.values_U(metric, cutoff),
                confidence=settings.confidence,
                seed=derive(seed, "paired test", other.name, metric),
            ),
        )
        for other in rows
        if other is not merge and other.kind != "oracle"
        for metric in settings.metrics
    ]
    corrected = holm([difference.p for _, _, difference in found])
    return [
        PairedTest(merge.name, other, metric, cutoff, difference, p)
        for (other, metric, difference), p in zip(found, corrected, strict=True)
    ]


def beyond_tests(rows: Sequence[MethodResult], settings: EvaluationSettings) -> list[PairedTest]:
    """Tests of the merge against every other method in every metric of lists, Holm-corrected among themselves."""
    merge = next((row for row in rows if row.kind == "merge"), None)
    if merge is None or merge.list_values is None:
        return []
    cutoff = main_cutoff(settings.cutoffs)
    found = [
        (other.name, metric, paired_t(values_U, other.list_values.of_users[metric], settings.confidence))
        for other in rows
        if other is not merge and other.list_values is not None
        for metric, values_U in merge.list_values.of_users.items()
    ]
    corrected = holm([difference.p for _, _, difference in found])
    return [
        PairedTest(merge.name, other, metric, cutoff, difference, p)
        for (other, metric, difference), p in zip(found, corrected, strict=True)
    ]


def _with_lists(
    row: MethodResult, lists: TopLists, metrics: Sequence[str], settings: EvaluationSettings
) -> MethodResult:
    cutoff = main_cutoff(settings.cutoffs)
    values = measure_lists(lists, metrics, cutoff)
    estimates = {metric: {cutoff: list_estimate(values, metric, settings.confidence)} for metric in metrics}
    return replace(row, beyond_accuracy=estimates, lists=lists, list_values=values)


def list_estimate(values: ListValues, metric: str, confidence: float) -> Estimate:
    """The mean over users, or the number of all users, and its interval."""
    if metric in values.of_users:
        values_U = values.of_users[metric].astype(np.float64)
        return Estimate(float(values_U.mean()), *t_interval(values_U, confidence))
    value, without_G = float(values.of_system[metric][0]), values.of_system[metric][1:]
    return Estimate(value, *jackknife_interval(value, without_G, confidence))


def _row(
    name: str,
    kind: MethodKind,
    ranks_U: np.ndarray,
    settings: EvaluationSettings,
    seed: int,
    offsets: np.ndarray | None,
) -> MethodResult:
    row = MethodResult(name, kind, {}, ranks_U, target_offsets=offsets)

    def estimate(metric: str, cutoff: int) -> Estimate:
        values_U = row.values_U(metric, cutoff)
        low, high = bootstrap_interval(
            values_U,
            samples=settings.bootstrap_samples,
            confidence=settings.confidence,
            seed=derive(seed, "bootstrap", name, metric, cutoff),
        )
        return Estimate(float(values_U.mean()), low, high)

    cutoffs = sorted(set(settings.cutoffs))
    return replace(row, metrics={metric: {k: estimate(metric, k) for k in cutoffs} for metric in settings.metrics})


def _check(what: str, ranking: Ranking, split: Split, settings: EvaluationSettings) -> None:
    num_lists, length = ranking.items_BN.shape
    if num_lists != len(split):
        raise PluginError(f"{what} returned {num_lists} lists for {len(split)} users; expected one per user, in order")
    if length < max(settings.cutoffs):
        raise PluginError(
            f"{what} returned lists of {length} items; expected {max(settings.cutoffs)}, the largest cutoff, "
            "padded with -1 where it finds no more"
        )
    if settings.seen_items == "filter":
        wrong = np.argwhere(seen_items(ranking.items_BN, split.histories))
        if len(wrong):
            user, place = wrong[0].tolist()
            raise PluginError(
                f"{what} recommends item {ranking.items_BN[user, place]} to evaluation user {user}, whose history "
                f"contains it ({len(wrong)} such items in all); expected none under 'seen_items: filter'"
            )


def _seen_targets(split: Split) -> float:
    """Share of users whose target is in their history."""
    if len(split) == 0:
        return 0.0
    user = np.repeat(np.arange(len(split)), split.histories.lengths)
    hit = split.histories.items == split.targets[user]
    return float(np.count_nonzero(np.bincount(user[hit], minlength=len(split))) / len(split))


def epoch_dict(epoch: EpochRecord) -> dict[str, Any]:
    """An epoch of the training curve in ``metrics.json`` and ``comparison.json``."""
    return {name: value for name, value in asdict(epoch).items() if name != "samples_per_second"}


def finite(value: Any) -> Any:
    """The same data with None for numbers that JSON lacks (a loss that diverged)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value
