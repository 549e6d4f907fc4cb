"""How good semantic IDs are: use of the codes, collisions, reconstruction, and whether neighbours share codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from genrec.tokenizers._present import unit_rows
from genrec.types import ABSENT, ItemVectors, SemanticIds

_BLOCK = 512


def measure_quality(
    ids: SemanticIds, vectors: ItemVectors, *, neighbours: int = 10, sample: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Measures for a report, plain numbers.

    Args:
        ids: the codes.
        vectors: the vectors that the codes were made of.
        neighbours: items in a neighbourhood.
        sample: items whose neighbourhoods are looked at.
        seed: of that sample.

    Returns:
        ``items`` and ``absent``: how many have codes, how many have none.
        ``collisions``, ``collision_ratio``: items whose codes were not their own before repair.
        ``levels``: for each level its ``vocabulary``, the codes ``used``, the ``entropy`` of their use in bits and its
        ratio to the most there could be (``balance``, 1 where all codes are used alike).
        ``reconstruction_error``: mean squared distance of a vector to what its codes say, as a share of the vectors'
        variance; None where the codebook has no centres for these vectors.
        ``neighbours_sharing_first_code``: share of the cosine neighbours that have the item's first code;
        ``expected_sharing_first_code``: of any two items; ``first_code_lift``: their ratio.
    """
    rows_N = np.flatnonzero(ids.present_I & vectors.present_I)
    codes_NL = ids.codes_IL[rows_N]
    points_NE = vectors.vectors_IE[rows_N]
    num_items = int(ids.present_I.sum())
    shared, expected = _neighbourhoods(codes_NL[:, 0], points_NE, neighbours, sample, seed)
    return {
        "items": num_items,
        "absent": len(ids.codes_IL) - num_items,
        "collisions": ids.collisions,
        "collision_ratio": ids.collisions / num_items,
        "levels": [_level(ids.codes_IL[ids.present_I, level], size) for level, size in enumerate(ids.vocabulary_sizes)],
        "reconstruction_error": _reconstruction_error(ids, rows_N, points_NE),
        "neighbours_sharing_first_code": shared,
        "expected_sharing_first_code": expected,
        "first_code_lift": shared / expected if shared is not None and expected else None,
    }


def _level(code_N: np.ndarray, vocabulary_size: int) -> dict[str, Any]:
    counts = np.bincount(code_N, minlength=vocabulary_size)
    shares = counts[counts > 0] / len(code_N)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    most = np.log2(min(vocabulary_size, len(code_N)))
    return {
        "vocabulary": vocabulary_size,
        "used": len(shares),
        "entropy": entropy,
        "balance": entropy / float(most) if most > 0 else 1.0,
    }


def _reconstruction_error(ids: SemanticIds, rows_N: np.ndarray, points_NE: np.ndarray) -> float | None:
    """Of additive codebooks (``centres``) or of the last inner nodes of a tree (``centres_<d>``)."""
    if ids.codebook.get("normalized", np.array([False])):
        points_NE = unit_rows(points_NE)
    if "centres" in ids.codebook:
        centres_LVE = ids.codebook["centres"]
        said_NE = centres_LVE[np.arange(len(centres_LVE)), ids.codes_IL[rows_N, : len(centres_LVE)]].sum(axis=1)
    elif names := [name for name in ids.codebook if name.startswith("centres_")]:
        depth = max(int(name.rpartition("_")[2]) for name in names)
        centres_ME = ids.codebook[f"centres_{depth}"]
        paths_ML, node_N = np.unique(ids.codes_IL[ids.present_I, :depth], axis=0, return_inverse=True)
        if len(paths_ML) != len(centres_ME):
            return None
        node_I = np.full(len(ids.codes_IL), ABSENT)
        node_I[ids.present_I] = node_N
        said_NE = centres_ME[node_I[rows_N]]
    else:
        return None
    if np.shape(said_NE) != points_NE.shape:
        return None
    variance = float(((points_NE - points_NE.mean(axis=0)) ** 2).sum(dtype=np.float64))
    return float(((points_NE - said_NE) ** 2).sum(dtype=np.float64)) / variance if variance > 0 else 0.0


def _neighbourhoods(
    code_N: np.ndarray, points_NE: np.ndarray, neighbours: int, sample: int, seed: int
) -> tuple[float | None, float | None]:
    """Shares of nearest and of all other items that have an item's first code; None where an item has no other."""
    num_items = len(code_N)
    neighbours = min(neighbours, num_items - 1)
    if neighbours < 1:
        return None, None
    units_NE = unit_rows(points_NE)
    asked = np.sort(np.random.default_rng(seed).permutation(num_items)[:sample])
    hits = 0
    for start in range(0, len(asked), _BLOCK):
        rows = asked[start : start + _BLOCK]
        similarity = units_NE[rows] @ units_NE.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
        hits += int((code_N[nearest] == code_N[rows, None]).sum())
    size = np.bincount(code_N).astype(np.float64)
    expected = float((size * (size - 1)).sum() / (num_items * (num_items - 1)))
    return hits / (len(asked) * neighbours), expected
