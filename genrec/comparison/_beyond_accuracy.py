"""Metrics beyond accuracy of a comparison: facts about items that all rows share, cells and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from genrec.comparison.plan import Plan, Trial
from genrec.comparison.results import Cell, ComparisonRow, Pair, corrected_pairs, methods_of
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.significance import jackknife_interval, paired_t, t_interval
from genrec.evaluation.top_lists import ItemFacts
from genrec.experiment.item_facts import item_facts
from genrec.experiment.keys import SplitName, Stage
from genrec.experiment.saved_model import existing
from genrec.experiment.storage import load_vectors, save_vectors
from genrec.runtime.checksums import parsing
from genrec.types import Dataset, ItemVectors


def shared_facts(plan: Plan, split: SplitName, dataset: Dataset) -> ItemFacts | None:
    """The facts about items for all rows: distances are measured in the vectors of one trial.

    It is the first trial with a result whose recipe names ``distances_in``, else the first one with item vectors.

    Args:
        plan: after its runner has finished.
        split: the evaluation users.
        dataset: that the models were fitted on.
    """
    finished = [trial for trial in plan.trials if trial.planned is not None and not trial.failure]
    for trial in sorted(finished, key=lambda trial: trial.recipe.evaluation.distances_in is None):
        name = trial.recipe.distance_stream
        vectors = None if name is None else _vectors(trial, name, plan, split)
        if name is not None and vectors is not None:
            return item_facts(trial.recipe, dataset, {name: vectors})
    return item_facts(plan.trials[0].recipe, dataset, {})


def _vectors(trial: Trial, name: str, plan: Plan, split: SplitName) -> ItemVectors | None:
    """The vectors of a stream, from the cache or from the folder of a finished run; None if neither has them."""
    fit = trial.fits.of(split)
    if trial.run is not None:
        with parsing(file := existing(trial.run / fit.artifact(f"streams/{name}/vectors.safetensors")), "item vectors"):
            return load_vectors(file)
    stage = Stage("vectors", name, fit.keys.vectors[name])
    return plan.cache.get(stage, work=_never, save=save_vectors, load=load_vectors) if plan.cache.has(stage) else None


def _never() -> ItemVectors:
    raise AssertionError("the stage is finished")


def beyond_metrics(rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Names of the metrics that were measured, in the order of the columns."""
    first = next((row.list_values[0] for row in rows if row.list_values), None)
    return () if first is None else first.metrics


def beyond_cells(
    rows: Sequence[ComparisonRow], metrics: Sequence[str], cutoff: int, confidence: float
) -> dict[str, dict[str, dict[int, Cell]]]:
    """Name of a row -> metric -> main cutoff -> its cell; rows without lists have none.

    Args:
        rows: of one comparison.
        metrics: from :func:`beyond_metrics`.
        cutoff: the main cutoff.
        confidence: coverage of the intervals.
    """
    return {
        row.name: {metric: {cutoff: _cell(row, metric, confidence)} for metric in metrics}
        for row in rows
        if row.list_values
    }


def _cell(row: ComparisonRow, metric: str, confidence: float) -> Cell:
    if METRICS.get(metric).kind == "lists":
        values_SU = row.beyond_SU(metric)
        mean_S = values_SU.mean(axis=1)
        low, high = t_interval(values_SU.mean(axis=0), confidence)
    else:
        values_SG = np.stack([values.of_system[metric] for values in row.list_values])
        mean_S = values_SG[:, 0]
        low, high = jackknife_interval(float(mean_S.mean()), values_SG[:, 1:].mean(axis=0), confidence)
    std = float(mean_S.std(ddof=1)) if len(mean_S) > 1 else None
    return Cell(float(mean_S.mean()), std, low, high)


def beyond_pairs(rows: Sequence[ComparisonRow], metrics: Sequence[str], cutoff: int, confidence: float) -> list[Pair]:
    """Test every variant and baseline against every other in each metric of lists, Holm-corrected among these tests.

    Arguments as in :func:`beyond_cells`; each user's seeds are averaged first.
    """
    methods = [row for row in methods_of(rows) if row.list_values]
    tests = [
        (first, second, metric, cutoff)
        for metric in metrics
        if METRICS.get(metric).kind == "lists"
        for first, second in combinations(methods, 2)
    ]
    differences = [
        paired_t(_user_means(first, metric), _user_means(second, metric), confidence)
        for first, second, metric, _ in tests
    ]
    return corrected_pairs(tests, differences, _seed_means)


def _user_means(row: ComparisonRow, metric: str) -> np.ndarray:
    return row.beyond_SU(metric).mean(axis=0)


def _seed_means(row: ComparisonRow, metric: str, cutoff: int) -> Mapping[int, float]:
    return dict(zip(row.seeds, row.beyond_SU(metric).mean(axis=1).tolist(), strict=True))
