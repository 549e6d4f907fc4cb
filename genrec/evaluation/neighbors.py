"""The nearest items of sampled items by cosine."""

from __future__ import annotations

import numpy as np

from genrec.tokenizers._present import unit_rows

_CELLS = 2**24
"""Maximum number of similarities in memory."""


def sample_rows(num_items: int, sample: int, seed: int) -> np.ndarray:
    """A random sample of row numbers, ascending; all rows if there are no more than ``sample``; int64 (Q,)."""
    return np.sort(np.random.default_rng(seed).permutation(num_items)[:sample])


def nearest_rows(points_NE: np.ndarray, query_Q: np.ndarray, neighbors: int) -> np.ndarray:
    """The rows nearest to the query rows by cosine, excluding themselves, unordered.

    Args:
        points_NE: all vectors.
        query_Q: query rows.
        neighbors: K, from 1 to N - 1.

    Returns:
        int64 (Q, K).
    """
    units_NE = unit_rows(points_NE)
    block = max(1, _CELLS // len(units_NE))
    nearest_QK = np.empty((len(query_Q), neighbors), dtype=np.int64)
    for start in range(0, len(query_Q), block):
        rows = query_Q[start : start + block]
        similarity = units_NE[rows] @ units_NE.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest_QK[start : start + block] = np.argpartition(-similarity, neighbors - 1, axis=1)[:, :neighbors]
    return nearest_QK
