"""Where each user's target stands in a ranking, and what that is worth: Recall@K and NDCG@K for one target a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from genrec.types import ABSENT, Ranking


def target_ranks(ranking: Ranking, targets: np.ndarray) -> np.ndarray:
    """The place of each user's target in its list.

    Args:
        ranking: U lists.
        targets: the item to be found, (U,).

    Returns:
        ranks_U int32, 0 is the top of the list, ABSENT where the target is not in it.
    """
    if targets.shape != (len(ranking.items_BN),):
        raise ValueError(f"{len(ranking.items_BN)} lists for targets of shape {targets.shape}")
    if len(targets) and targets.min() < 0:
        raise ValueError("a target is not an item number")
    hit_UN = ranking.items_BN == targets[:, None]
    return np.where(hit_UN.any(axis=1), hit_UN.argmax(axis=1), ABSENT).astype(np.int32)


def best_ranks(ranks_SU: np.ndarray) -> np.ndarray:
    """The best place that some list gives each user's target, int32 (U,); ABSENT where none has it."""
    last = np.iinfo(np.int32).max
    best_U = np.where(ranks_SU == ABSENT, last, ranks_SU).min(axis=0)
    return np.where(best_U == last, ABSENT, best_U).astype(np.int32)


def recall(ranks_U: np.ndarray, cutoff: int) -> np.ndarray:
    """Recall@K of each user, float64 (U,): 1 if the target is among the first K, else 0 (the same as hit rate)."""
    return ((ranks_U != ABSENT) & (ranks_U < cutoff)).astype(np.float64)


def ndcg(ranks_U: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG@K of each user, float64 (U,): 1 / log2(rank + 2) if the target is among the first K, else 0.

    With one target the ideal DCG is 1, so DCG is NDCG.
    """
    gain_U = 1.0 / np.log2(np.maximum(ranks_U, 0) + 2.0)
    return recall(ranks_U, cutoff) * gain_U


METRICS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {"recall": recall, "ndcg": ndcg}
"""Each metric by the name it has in ``metrics.json``: (ranks_U, cutoff) -> its value for each user."""


def mean_ndcg(ranking: Ranking, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG@K averaged over the users; what checkpoints are selected by."""
    return float(ndcg(target_ranks(ranking, targets), cutoff).mean())
