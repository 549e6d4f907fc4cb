"""Codes and a codebook of plain arrays -> the vectors that they decode to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genrec.types import SemanticIds

_CENTERS_AT = "centres_"  # golden: data, a name in the codebooks of finished runs


def centers_name(depth: int) -> str:
    """The name that the centers of a tree's nodes at a depth (1, 2, ...) have in its codebook."""
    return f"{_CENTERS_AT}{depth}"


def sum_of_centers(ids: SemanticIds, centers_LVE: np.ndarray, levels: int | None) -> np.ndarray:
    """The sum of the centers of an item's first codes.

    Args:
        ids: codes; levels beyond those of the codebook only separate colliding items.
        centers_LVE: one codebook per level.
        levels: codes that are read; None reads all.

    Returns:
        float32 (I, E), NaN where an item has no codes or codes that the codebook does not have.
    """
    num_levels, vocabulary_size, width = centers_LVE.shape
    codes_IL = ids.codes_IL[:, :num_levels]
    is_known_I = ((codes_IL >= 0) & (codes_IL < vocabulary_size)).all(axis=1)
    decoded_IE = np.full((len(codes_IL), width), np.nan, dtype=np.float32)
    decoded_NE = np.zeros((int(is_known_I.sum()), width), dtype=np.float32)
    for level in range(num_levels if levels is None else min(levels, num_levels)):
        decoded_NE += centers_LVE[level, codes_IL[is_known_I, level]]
    decoded_IE[is_known_I] = decoded_NE
    return decoded_IE


def node_centers(ids: SemanticIds, codebook: Mapping[str, np.ndarray], levels: int | None) -> np.ndarray | None:
    """The center of the deepest tree node above an item that the codebook has.

    Args:
        ids: codes of all items of the tree, and only of those in a separate branch, whose first code is the last.
        codebook: by :func:`centers_name`, arrays (nodes at depth d, E) in the order of their codes.
        levels: codes that are read; None reads all.

    Returns:
        float32 (I, E), NaN where an item has no codes or is in the separate branch; None where the codebook has no
        centers at that depth, or those of another tree.
    """
    depths = [int(name.removeprefix(_CENTERS_AT)) for name in codebook if name.startswith(_CENTERS_AT)]
    depth = max((depth for depth in depths if levels is None or depth <= levels), default=None)
    if depth is None:
        return None
    centers_ME = codebook[centers_name(depth)]
    paths, node_N = np.unique(ids.codes_IL[ids.present_I, :depth], axis=0, return_inverse=True)
    if len(paths) < len(centers_ME):
        return None
    rows_N, is_known_N = np.flatnonzero(ids.present_I), node_N < len(centers_ME)
    decoded_IE = np.full((len(ids.codes_IL), centers_ME.shape[1]), np.nan, dtype=np.float32)
    decoded_IE[rows_N[is_known_N]] = centers_ME[node_N[is_known_N]]
    return decoded_IE
