"""Ranks of targets, and the registry of metrics for one target per user.

To add a metric, register a function here or in a plugin: recipes, reports, comparisons and tests find it by name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from genrec.errors import PluginError
from genrec.registry import Entry, check_unchanged, error_text, load_entry, place_of, plugin_entries, plugin_line
from genrec.types import ABSENT, Ranking

Measure: TypeAlias = Callable[[np.ndarray, int], np.ndarray]
"""(ranks_U, cutoff) -> the metric of each user, float64 (U,). Ranks are int32, 0 is the top of the list, ABSENT for
a target that is not in it."""

DEFAULT_METRICS = ("recall", "ndcg")
"""Metrics of a recipe without ``evaluation.metrics``."""
_NOT_IN_FILES = ("name", "kind")
"""Other keys of a method in ``metrics.json``."""


@dataclass(frozen=True)
class Metric:
    """A metric with a cutoff."""

    name: str
    """In recipes and in files."""
    title: str
    """In tables and sentences, where ``@K`` follows."""
    measure: Measure
    higher_is_better: bool = True

    def __call__(self, ranks: np.ndarray, cutoff: int) -> np.ndarray:
        """The metric of each rank, float64 of the shape of ``ranks``.

        Args:
            ranks: int32 of any shape, 0 is the top of a list, ABSENT for a target that is not in it.
            cutoff: the K.

        Raises:
            PluginError: the function returned values of another shape or not finite values.
        """
        values = np.asarray(self.measure(ranks.reshape(-1), cutoff), dtype=np.float64)
        if values.shape != (ranks.size,):
            raise PluginError(
                f"{place_of(self.measure)}: metric {self.name!r} returned values of shape {values.shape} "
                f"for ranks of shape {(ranks.size,)}; expected one value for each rank"
            )
        if not np.isfinite(values).all():
            raise PluginError(
                f"{place_of(self.measure)}: metric {self.name!r} returned a value that is not finite; "
                "expected a number for each rank"
            )
        return values.reshape(ranks.shape)

    def merit(self, value: float) -> float:
        """A number that is larger for better values: for sorting, and for the sign of a difference."""
        return value if self.higher_is_better else -value

    def best(self, means: Iterable[float]) -> float:
        """The best of several means; NaN for no means."""
        return max(means, key=self.merit, default=float("nan"))

    def is_best(self, mean: float, best: float) -> bool:
        """Whether to mark a mean as the best; a gain of 0 is not marked, as no target was found."""
        return mean == best and (mean > 0 or not self.higher_is_better)

    def check(self) -> None:
        """Call the function with four ranks.

        Raises:
            PluginError: it fails or returns invalid values.
        """
        try:
            self(np.array([ABSENT, 0, 1, 2], dtype=np.int32), 2)
        except PluginError:
            raise
        except Exception as error:
            place = plugin_line(error) or place_of(self.measure)
            raise PluginError(f"{place}: metric {self.name!r} cannot be computed: {error_text(error)}") from error


class MetricRegistry:
    """All metrics, by name: those of this file, of plugin files and of entry points ``genrec.metrics``."""

    family = "metrics"
    singular = "metric"

    def __init__(self) -> None:
        self._known: dict[str, Metric] = {}

    def register(self, name: str, title: str, *, higher_is_better: bool = True) -> Callable[[Measure], Measure]:
        """Function decorator: register the function as a metric.

        Args:
            name: in recipes and in files: lower-case letters, digits and _.
            title: in tables and sentences.
            higher_is_better: whether a method with a higher mean is the better one.

        Raises:
            PluginError: the name is taken or not allowed.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _NOT_IN_FILES:
            raise PluginError(
                f"found the metric name {name!r}, expected a lower-case letter, then letters, digits and _, "
                f"and not {' or '.join(_NOT_IN_FILES)}"
            )

        def remember(measure: Measure) -> Measure:
            known = self._known.get(name)
            if known is not None and _place(known.measure) != _place(measure):
                raise PluginError(
                    f"metric {name!r} is registered twice: {_file(known.measure)} and {_file(measure)}; "
                    "rename one of them"
                )
            self._known[name] = Metric(name, title, measure, higher_is_better)
            return measure

        return remember

    def entries(self) -> list[Entry]:
        """All metrics: core, then plugins, then packages; includes broken plugin files."""
        core = [
            Entry(self.family, name, _summary(metric.measure), "core", _file(metric.measure))
            for name, metric in self._known.items()
            if metric.measure.__module__ == __name__
        ]
        return [*core, *plugin_entries(self.family)]

    def names(self) -> list[str]:
        """The names of :meth:`entries` without broken files."""
        return list(dict.fromkeys([*(entry.name for entry in self.entries() if not entry.problem), *self._known]))

    def get(self, name: str) -> Metric:
        """The metric with a name; imports its plugin if necessary.

        Raises:
            PluginError: unknown name, or a plugin that fails to load.
        """
        return self._known[name] if name in self._known else self.find(name)

    def find(self, name: str) -> Metric:
        """As :meth:`get`, for a name from a recipe: also checks that the name is unique and the function works.

        Raises:
            PluginError: unknown or ambiguous name, a plugin that fails to load, or a function that fails.
        """
        entries = [entry for entry in self.entries() if entry.name == name and not entry.problem]
        if len({(entry.file, entry.target) for entry in entries}) > 1:
            places = " and ".join(str(entry.file or entry.origin) for entry in entries)
            raise PluginError(f"metric {name!r} exists twice: {places}; rename one of them")
        if name not in self._known:
            if not entries:
                raise PluginError(f"unknown metric {name!r}; expected one of {', '.join(self.names())}")
            load_entry(entries[0], lambda _: None)
            if name not in self._known:
                raise PluginError(f"{entries[0].origin}: registers no metric named {name!r}")
        check_unchanged(self._known[name].measure)
        self._known[name].check()
        return self._known[name]


def _place(measure: Measure) -> tuple[str, str]:
    return measure.__module__, getattr(measure, "__qualname__", "")


def _file(measure: Measure) -> Path:
    return Path(inspect.getfile(measure))


def _summary(measure: Measure) -> str:
    return (inspect.getdoc(measure) or "").partition("\n")[0]


METRICS = MetricRegistry()
"""All metrics."""


def main_metric(metrics: Sequence[str]) -> str:
    """The metric of slices, plots and first sentences: NDCG if reported, else the first."""
    return "ndcg" if "ndcg" in metrics else metrics[0]


def main_cutoff(cutoffs: Sequence[int]) -> int:
    """The K of tests, letters and slices: 10 if it is among the cutoffs, else the middle one."""
    ordered = sorted(set(cutoffs))
    return 10 if 10 in ordered else ordered[len(ordered) // 2]


def column_name(metric: str, cutoff: int) -> str:
    """For example Recall@10."""
    return f"{METRICS.get(metric).title}@{cutoff}"


def target_ranks(ranking: Ranking, targets: np.ndarray) -> np.ndarray:
    """The rank of the target of each user.

    Args:
        ranking: U lists.
        targets: the target items, (U,).

    Returns:
        ranks_U int32, 0 is the top of the list, ABSENT if the target is not in it.
    """
    if targets.shape != (len(ranking.items_BN),):
        raise ValueError(f"{len(ranking.items_BN)} lists for targets of shape {targets.shape}")
    if len(targets) and targets.min() < 0:
        raise ValueError("a target is not an item number")
    hit_UN = ranking.items_BN == targets[:, None]
    return np.where(hit_UN.any(axis=1), hit_UN.argmax(axis=1), ABSENT).astype(np.int32)


def best_ranks(ranks_SU: np.ndarray) -> np.ndarray:
    """The best rank of the target of each user over lists, int32 (U,); ABSENT if no list has it."""
    last = np.iinfo(np.int32).max
    best_U = np.where(ranks_SU == ABSENT, last, ranks_SU).min(axis=0)
    return np.where(best_U == last, ABSENT, best_U).astype(np.int32)


@METRICS.register("recall", "Recall")
def recall(ranks_U: np.ndarray, cutoff: int) -> np.ndarray:
    """Recall@K of each user, float64 (U,): 1 if the target is among the first K, else 0 (the same as hit rate)."""
    return ((ranks_U != ABSENT) & (ranks_U < cutoff)).astype(np.float64)


@METRICS.register("ndcg", "NDCG")
def ndcg(ranks_U: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG@K of each user, float64 (U,): 1 / log2(rank + 2) if the target is among the first K, else 0.

    With one target the ideal DCG is 1, so DCG is NDCG.
    """
    gain_U = 1.0 / np.log2(np.maximum(ranks_U, 0) + 2.0)
    return recall(ranks_U, cutoff) * gain_U


@METRICS.register("mrr", "MRR")
def mrr(ranks_U: np.ndarray, cutoff: int) -> np.ndarray:
    """MRR@K of each user, float64 (U,): 1 / (rank + 1) if the target is among the first K, else 0."""
    return recall(ranks_U, cutoff) / (np.maximum(ranks_U, 0) + 1.0)


def mean_ndcg(ranking: Ranking, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG@K averaged over users, the criterion of checkpoint selection."""
    return float(ndcg(target_ranks(ranking, targets), cutoff).mean())
