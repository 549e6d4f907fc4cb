"""Codes and a codebook of plain tensors -> the vectors that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genrec.types import SemanticIds


def sum_of_centres(ids: SemanticIds, centres_LVE: np.ndarray, levels: int | None) -> np.ndarray:
    """The centres of an item's first codes added up.

    Args:
        ids: codes; levels beyond the codebook's only tell items apart.
        centres_LVE: one codebook a level.
        levels: codes that are read; None reads all.

    Returns:
        float32 (I, E), NaN where an item has no codes or codes that the codebook does not have.
    """
    num_levels, vocabulary_size, width = centres_LVE.shape
    codes_IL = ids.codes_IL[:, :num_levels]
    is_known_I = ((codes_IL >= 0) & (codes_IL < vocabulary_size)).all(axis=1)
    said_IE = np.full((len(codes_IL), width), np.nan, dtype=np.float32)
    said_NE = np.zeros((int(is_known_I.sum()), width), dtype=np.float32)
    for level in range(num_levels if levels is None else min(levels, num_levels)):
        said_NE += centres_LVE[level, codes_IL[is_known_I, level]]
    said_IE[is_known_I] = said_NE
    return said_IE


def node_centres(ids: SemanticIds, codebook: Mapping[str, np.ndarray], levels: int | None) -> np.ndarray | None:
    """The centre of the deepest tree node above an item that the codebook has.

    Args:
        ids: codes of all items of the tree, and of no others but those of an own branch, whose first code is the last.
        codebook: ``centres_<d>`` (nodes at depth d, E), in the order of their codes.
        levels: codes that are read; None reads all.

    Returns:
        float32 (I, E), NaN where an item has no codes or stands in the own branch; None where the codebook has no
        centres at that depth, or those of another tree.
    """
    depths = [int(name.rpartition("_")[2]) for name in codebook if name.startswith("centres_")]
    depth = max((depth for depth in depths if levels is None or depth <= levels), default=None)
    if depth is None:
        return None
    centres_ME = codebook[f"centres_{depth}"]
    paths, node_N = np.unique(ids.codes_IL[ids.present_I, :depth], axis=0, return_inverse=True)
    if len(paths) < len(centres_ME):
        return None
    rows_N, is_known_N = np.flatnonzero(ids.present_I), node_N < len(centres_ME)
    said_IE = np.full((len(ids.codes_IL), centres_ME.shape[1]), np.nan, dtype=np.float32)
    said_IE[rows_N[is_known_N]] = centres_ME[node_N[is_known_N]]
    return said_IE
