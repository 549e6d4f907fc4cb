"""Metrics of a finished run at any cutoff, from its stored ranks and lists: no model, no data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from genrec.errors import DataError
from genrec.evaluation.beyond_accuracy import measure_lists
from genrec.evaluation.list_file import FILE as LISTS
from genrec.evaluation.list_file import ListFile
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.rank_file import FILE as RANKS
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.significance import bootstrap_interval
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_model import existing
from genrec.experiment.storage import load_vectors
from genrec.recipe.schema import Recipe
from genrec.reporting.report import list_estimate
from genrec.runtime.checksums import parsing
from genrec.runtime.seeds import derive


class Measured(NamedTuple):
    """A metric of a method at a cutoff."""

    method: str
    metric: str
    cutoff: int
    mean: float
    low: float
    high: float


def measure_run(
    folder: RunFolder, recipe: Recipe, metrics: Sequence[str], cutoffs: Sequence[int]
) -> Iterator[Measured]:
    """Metrics of the test users, by method, metric and cutoff.

    Intervals are those of the report. Of more than :data:`~genrec.evaluation.list_file.MAX_USERS` users, metrics beyond
    accuracy are those of a random sample.

    Args:
        folder: of the finished run.
        recipe: of the run.
        metrics: names of metrics of any kind.
        cutoffs: values of K, at most the largest one of the run.

    Raises:
        DataError: a cutoff is too large, or the run has no lists, or no item vectors for a metric that needs them.
        PluginError: unknown metric.
    """
    measures = [METRICS.get(name) for name in metrics]
    of_targets = [metric.name for metric in measures if metric.is_of_targets]
    of_lists = [metric for metric in measures if not metric.is_of_targets]
    ranks = RankFile.read(folder.path)
    lists = ListFile.read(folder.path) if of_lists else None
    length, file = (ranks.list_length, RANKS) if lists is None else (lists.list_length, LISTS)
    if wrong := [cutoff for cutoff in cutoffs if not 1 <= cutoff <= length]:
        raise DataError(
            f"{folder.path / file}: found the cutoff {wrong[0]}, expected 1 to {length}, as long as the lists"
        )
    vectors, needing = None, [metric.name for metric in of_lists if metric.needs_vectors]
    if needing:
        if recipe.distance_stream is None:
            raise DataError(f"{folder.path}: {needing[0]} needs item vectors, and no stream of the run has any")
        place = folder.path / "streams" / recipe.distance_stream / "vectors.safetensors"
        with parsing(file := existing(place), "item vectors"):
            vectors = load_vectors(file)
    settings = recipe.evaluation
    for method in ranks.ranks:
        for name in of_targets:
            for cutoff in cutoffs:
                values_U = METRICS.get(name)(ranks.ranks[method], cutoff, ranks.target_offsets)
                low, high = bootstrap_interval(
                    values_U,
                    samples=settings.bootstrap_samples,
                    confidence=settings.confidence,
                    seed=derive(recipe.seed, "bootstrap", method, name, cutoff),
                )
                yield Measured(method, name, cutoff, float(values_U.mean()), low, high)
        if lists is None or method not in lists.items:
            continue
        stored = lists.of_method(method, folder.path, vectors)
        for cutoff in cutoffs:
            values = measure_lists(stored, [metric.name for metric in of_lists], cutoff)
            for metric in of_lists:
                found = list_estimate(values, metric.name, settings.confidence)
                yield Measured(method, metric.name, cutoff, found.mean, found.low, found.high)
