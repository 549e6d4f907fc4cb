"""The nearest items of an item by cosine, for some of them."""

from __future__ import annotations

import numpy as np

from genrec.tokenizers._present import unit_rows

_CELLS = 2**24
"""Similarities that are held at a time."""


def asked_rows(num_items: int, sample: int, seed: int) -> np.ndarray:
    """A random sample of row numbers in ascending order, all of them where there are no more; int64 (Q,)."""
    return np.sort(np.random.default_rng(seed).permutation(num_items)[:sample])


def nearest_rows(points_NE: np.ndarray, asked_Q: np.ndarray, neighbours: int) -> np.ndarray:
    """The rows nearest to some rows by cosine, themselves left out, in no order.

    Args:
        points_NE: all vectors.
        asked_Q: rows.
        neighbours: K, from 1 to N - 1.

    Returns:
        int64 (Q, K).
    """
    units_NE = unit_rows(points_NE)
    block = max(1, _CELLS // len(units_NE))
    nearest_QK = np.empty((len(asked_Q), neighbours), dtype=np.int64)
    for start in range(0, len(asked_Q), block):
        rows = asked_Q[start : start + block]
        similarity = units_NE[rows] @ units_NE.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest_QK[start : start + block] = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
    return nearest_QK
