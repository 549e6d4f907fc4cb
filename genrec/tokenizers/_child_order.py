"""Codes of a tree node's children, such that a code has the same meaning under every parent of a level."""

from __future__ import annotations

from typing import Any

import numpy as np

from genrec.tokenizers._balanced import cluster_means
from genrec.tokenizers._present import unit_rows

_FITS = 5
"""Alternations between matching the children and averaging the directions."""


def matched_codes(
    offsets_ME: np.ndarray, families: list[np.ndarray], num_codes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give children in the same direction from their parents the same code; a parent's children get distinct codes.

    A k-means over the directions of all children of a level in which each parent assigns its children to different
    codes by the best matching (Hungarian method); similarity is the cosine.

    Args:
        offsets_ME: child center less parent center, of all M children of a level.
        families: the rows of each parent's children; at most ``num_codes`` each.
        num_codes: codes of the level, at most M.
        seed: of the k-means that the directions start from.

    Returns:
        code_M int64 (M,), and directions_VE, the mean unit direction of each code's children.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    units_ME = unit_rows(offsets_ME)
    distinct = len(np.unique(units_ME, axis=0))
    settings: dict[str, Any] = {"n_init": 1, "max_iter": 10, "random_state": seed % 2**32}
    start = KMeans(min(num_codes, distinct), **settings).fit(units_ME)
    directions_VE = np.zeros((num_codes, units_ME.shape[1]), dtype=units_ME.dtype)
    directions_VE[: len(start.cluster_centers_)] = start.cluster_centers_
    code_M = np.zeros(len(units_ME), dtype=np.int64)
    for _ in range(_FITS):
        similarity_MV = units_ME @ unit_rows(directions_VE).T
        previous_M = code_M.copy()
        for family in families:
            child, code = linear_sum_assignment(similarity_MV[family], maximize=True)
            code_M[family[child]] = code
        used, cluster_M = np.unique(code_M, return_inverse=True)
        directions_VE[used] = cluster_means(units_ME, cluster_M, len(used))
        if np.array_equal(previous_M, code_M):
            break
    return code_M, directions_VE


def principal_codes(offsets_ME: np.ndarray, families: list[np.ndarray]) -> np.ndarray:
    """Number each parent's children along the first principal axis of their centers, int64 (M,).

    The axis points where its largest component is positive.
    """
    code_M = np.zeros(len(offsets_ME), dtype=np.int64)
    for family in families:
        offsets = offsets_ME[family].astype(np.float64)
        axis = np.linalg.svd(offsets - offsets.mean(axis=0), full_matrices=False)[2][0]
        axis *= np.sign(axis[np.abs(axis).argmax()]) or 1.0
        code_M[family[np.argsort(offsets @ axis, kind="stable")]] = np.arange(len(family))
    return code_M


def random_codes(num_children: int, families: list[np.ndarray], seed: int) -> np.ndarray:
    """Number each parent's children in random order, int64 (M,)."""
    generator = np.random.default_rng(seed)
    code_M = np.zeros(num_children, dtype=np.int64)
    for family in families:
        code_M[family] = generator.permutation(len(family))
    return code_M
