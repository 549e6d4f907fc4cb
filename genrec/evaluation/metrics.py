"""Ranks of targets, and all metrics: of accuracy, of lists and of whole systems.

To add a metric, register a function here or in a plugin: recipes, reports, comparisons and tests find it by name.
docs/metrics.md has the definitions with their sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genrec.evaluation.metric_registry import Metric as Metric
from genrec.evaluation.metric_registry import MetricRegistry as MetricRegistry
from genrec.evaluation.top_lists import TopLists
from genrec.types import ABSENT, Ranking, Split

DEFAULT_METRICS = ("recall", "ndcg")
"""Metrics of a recipe without ``evaluation.metrics``."""
DEFAULT_BEYOND_ACCURACY = ("coverage", "gini", "novelty", "intra_list_distance", "tail_share", "repeat_share")
"""Metrics of a recipe without ``evaluation.beyond_accuracy``."""
TAIL = 0.8
"""The long tail is the least popular items: this share of the catalog."""

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


def split_ranks(ranking: Ranking, split: Split) -> np.ndarray:
    """The rank of every target of a split, user by user, as :func:`target_ranks`; int32 (U,) with one target each."""
    if split.all_targets is None:
        return target_ranks(ranking, split.targets)
    if len(ranking.items_BN) != len(split):
        raise ValueError(f"{len(ranking.items_BN)} lists for {len(split)} users")
    ranks = np.full(len(split.all_targets.items), ABSENT, dtype=np.int32)
    user = np.repeat(np.arange(len(split)), split.all_targets.lengths)
    for place in reversed(range(ranking.items_BN.shape[1])):
        ranks[ranking.items_BN[user, place] == split.all_targets.items] = place
    return ranks


def target_offsets(split: Split) -> np.ndarray | None:
    """Where the targets of each user begin and end in :func:`split_ranks`, int64 (U + 1,); None: one target each."""
    return None if split.all_targets is None else split.all_targets.offsets


def best_ranks(ranks_SU: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
    """The best rank of the target of each user over lists, int32 (U,); ABSENT if no list has it.

    With several targets per user (``offsets``): the ranks in the list with the user's best NDCG.
    """
    if offsets is not None:
        best_U = ndcg(ranks_SU, int(ranks_SU.max(initial=0)) + 1, offsets).argmax(axis=0)
        return ranks_SU[np.repeat(best_U, np.diff(offsets)), np.arange(ranks_SU.shape[1])]
    last = np.iinfo(np.int32).max
    best_U = np.where(ranks_SU == ABSENT, last, ranks_SU).min(axis=0)
    return np.where(best_U == last, ABSENT, best_U).astype(np.int32)


@METRICS.register("recall", "Recall", kind="hits")
def _recall(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """Share of the user's targets that are among the first K; with one target the same as hit rate."""
    return hits_UK.sum(axis=1) / num_targets_U


@METRICS.register("ndcg", "NDCG", kind="hits")
def _ndcg(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """Normalized discounted cumulative gain: the sum of 1 / log2(rank + 2) over the targets among the first K.

    It is divided by the sum of the best possible list, which has min(targets, K) targets at its top; with one target
    that sum is 1.
    """
    discount_K = 1.0 / np.log2(np.arange(hits_UK.shape[1]) + 2.0)
    ideal_K = np.cumsum(discount_K)
    return (hits_UK * discount_K).sum(axis=1) / ideal_K[_reachable(hits_UK, num_targets_U) - 1]


@METRICS.register("mrr", "MRR", kind="hits")
def _mrr(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """Reciprocal rank: 1 / (rank + 1) of the first target among the first K, 0 without one."""
    return hits_UK.any(axis=1) / (hits_UK.argmax(axis=1) + 1.0)


@METRICS.register("hit_rate", "Hit rate", kind="hits")
def _hit_rate(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """1 if any target is among the first K, else 0."""
    return hits_UK.max(axis=1)


@METRICS.register("map", "MAP", kind="hits")
def _map(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """Average precision: the precision at each target among the first K, summed and divided by min(targets, K)."""
    precision_UK = np.cumsum(hits_UK, axis=1) / np.arange(1, hits_UK.shape[1] + 1)
    return (hits_UK * precision_UK).sum(axis=1) / _reachable(hits_UK, num_targets_U)


@METRICS.register("precision", "Precision", kind="hits")
def _precision(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """Number of targets among the first K, divided by K."""
    return hits_UK.mean(axis=1)


def _reachable(hits_UK: np.ndarray, num_targets_U: np.ndarray) -> np.ndarray:
    """The number of targets that a list of K items can have, int64 (U,)."""
    return np.minimum(num_targets_U, hits_UK.shape[1])


recall, ndcg, mrr = (METRICS.get(name) for name in ("recall", "ndcg", "mrr"))
"""As functions of the ranks of one target each and of the cutoff."""


@METRICS.register("coverage", "Coverage", kind="system")
def _coverage(lists: TopLists) -> float:
    """Catalog coverage: share of the catalog's items that are among the first K of any user."""
    return np.count_nonzero(lists.times_recommended_I) / lists.num_items


@METRICS.register("gini", "Gini index", kind="system", higher_is_better=False)
def _gini(lists: TopLists) -> float:
    """Inequality of how often items are among the first K: 0 if all equally often, near 1 if always the same few."""
    times_I = np.sort(lists.times_recommended_I)
    num_items, total = len(times_I), max(int(times_I.sum()), 1)
    return float(((2 * np.arange(1, num_items + 1) - num_items - 1) * times_I).sum() / num_items / total)


@METRICS.register("novelty", "Novelty", kind="lists", higher_is_better=None)
def _novelty(lists: TopLists) -> np.ndarray:
    """Mean self-information of the first K, -log2 of an item's share of the training interactions, in bits.

    An item without interactions counts as one with a single interaction.
    """
    counts_I = np.maximum(lists.facts.counts_I, 1)
    return lists.mean(np.log2(max(int(lists.facts.counts_I.sum()), 1)) - np.log2(counts_I))


@METRICS.register("intra_list_distance", "Intra-list distance", kind="lists", needs_vectors=True)
def _intra_list_distance(lists: TopLists) -> np.ndarray:
    """Mean cosine distance of all pairs of the first K in the item vectors of a stream; 0 for less than two vectors."""
    distance_U = np.zeros(len(lists))
    for rows, unit_UKE, has_vector_UK in lists.unit_vectors():
        # The sum over ordered pairs of the dot products is the squared length of the sum without each item's own.
        sum_UE = unit_UKE.sum(axis=1, dtype=np.float64)
        own_U = np.square(unit_UKE, dtype=np.float64).sum(axis=(1, 2))
        count_U = has_vector_UK.sum(axis=1)
        similarity_U = (np.square(sum_UE).sum(axis=1) - own_U) / np.maximum(count_U * (count_U - 1), 1)
        distance_U[rows] = np.where(count_U > 1, 1.0 - similarity_U, 0.0)
    return distance_U


@METRICS.register("tail_share", "Long-tail share", kind="lists")
def _tail_share(lists: TopLists) -> np.ndarray:
    """Share of the first K in the long tail: the 80 % of the catalog with the fewest training interactions."""
    counts_I = lists.facts.counts_I
    is_tail_I = np.zeros(len(counts_I), dtype=bool)
    is_tail_I[np.argsort(counts_I, kind="stable")[: max(int(len(counts_I) * TAIL), 1)]] = True
    return lists.mean(is_tail_I)


@METRICS.register("repeat_share", "Repeat share", kind="lists", higher_is_better=None)
def _repeat_share(lists: TopLists) -> np.ndarray:
    """Share of the first K that are in the user's history."""
    return lists.mean(lists.is_seen_UK)


def mean_ndcg(ranking: Ranking, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG@K averaged over users, the criterion of checkpoint selection."""
    return float(ndcg(target_ranks(ranking, targets), cutoff).mean())
