"""Checkpoint selection: the score that compares epochs, and settings of a baseline.

It is part of the cache key of every model and does not depend on the metrics, merge or search of the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from genrec.search.bound import BoundSearch
from genrec.search.settings import SearchSettings
from genrec.search.streams import Searchable, search_streams
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, Candidates, Ranking, Split

CUTOFF = 10


def mean_stream_ndcg(
    model: Searchable,
    tries: Mapping[str, Trie],
    users: Split,
    *,
    num_items: int,
    max_history: int,
    seen_items: Literal["keep", "filter"],
) -> float:
    """Mean over streams of the NDCG@10 of each stream alone, by exact search, so that no beam width matters.

    Args:
        model: in any mode.
        tries: prefix tree of each stream.
        users: validation users.
        num_items: index of the padding item.
        max_history: number of most recent items that the model reads.
        seen_items: whether items of a user's history are kept or filtered.
    """
    found = search_streams(
        model,
        tries,
        users.histories,
        SearchSettings(method="bound", list_length=CUTOFF),
        method=BoundSearch(),
        num_items=num_items,
        max_history=max_history,
        seen=seen_items,
        title="validating",
    )
    ndcg = [_ndcg(_ranks_in_stream(found, number, users.targets)) for number in range(len(found.streams))]
    return sum(ndcg) / len(ndcg)


def ranking_ndcg(ranking: Ranking, targets: np.ndarray) -> float:
    """Mean NDCG@10 of a ranking, for trained baselines."""
    hit_UN = ranking.items_BN == targets[:, None]
    return _ndcg(np.where(hit_UN.any(axis=1), hit_UN.argmax(axis=1), ABSENT))


def _ranks_in_stream(found: Candidates, stream: int, targets: np.ndarray) -> np.ndarray:
    """The rank of each user's target in the list of a stream, int (U,); ABSENT if it is not in the list."""
    is_own_BC = found.ranks_BCS[:, :, stream] != ABSENT
    is_target_BC = is_own_BC & (found.items_BC == targets[:, None])
    log_probs_BC = np.where(is_own_BC, found.log_probs_BCS[:, :, stream], -np.inf)
    target_B1 = np.max(np.where(is_target_BC, log_probs_BC, -np.inf), axis=1, initial=-np.inf)[:, None]
    is_tied_BC = (log_probs_BC == target_B1) & (found.items_BC < targets[:, None])  # ties: lower item number first
    rank_B = (is_own_BC & ((log_probs_BC > target_B1) | is_tied_BC)).sum(axis=1)
    return np.where(np.isfinite(target_B1[:, 0]), rank_B, ABSENT)


def _ndcg(ranks_U: np.ndarray) -> float:
    gain_U = 1.0 / np.log2(np.maximum(ranks_U, 0) + 2.0)
    return float((((ranks_U != ABSENT) & (ranks_U < CUTOFF)).astype(np.float64) * gain_U).mean())
