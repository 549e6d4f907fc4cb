"""Residual quantization by given codebooks: codes of points, resolving collisions, codes of new items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from genrec.semantic_ids.new_items import Prefix, check_same_width, with_new_items
from genrec.tokenizers._collisions import add_suffix, count_collisions, move_to_nearest_free
from genrec.tokenizers._present import unit_rows
from genrec.types import ItemVectors, SemanticIds


def quantize(
    points_NE: np.ndarray, centers_LVE: np.ndarray, is_used_LV: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Assign each level the nearest center to the residual of the levels before it.

    Args:
        points_NE: what is quantized.
        centers_LVE: one codebook per level.
        is_used_LV: centers that may be taken; all by default.

    Returns:
        codes int64 (N, L), and what the levels before the last leave over, (N, E).
    """
    codes_NL = np.zeros((len(points_NE), len(centers_LVE)), dtype=np.int64)
    residual_NE = before_last_NE = points_NE
    for level, centers_VE in enumerate(centers_LVE):
        before_last_NE = residual_NE
        cost_NV = _costs(residual_NE, centers_VE)
        if is_used_LV is not None:
            cost_NV[:, ~is_used_LV[level]] = np.inf
        codes_NL[:, level] = cost_NV.argmin(axis=1)
        residual_NE = residual_NE - centers_VE[codes_NL[:, level]]
    return codes_NL, before_last_NE


def resolve_collisions(
    codes_NL: np.ndarray,
    num_codes: int,
    before_last_NE: np.ndarray,
    last_centers_VE: np.ndarray,
    *,
    collisions: Literal["suffix", "nearest_free"],
    tokenizer: str,
) -> tuple[np.ndarray, tuple[int, ...], int]:
    """Repair items of one code.

    Args:
        codes_NL: codes of N items.
        num_codes: codes of each level.
        before_last_NE: what the levels before the last leave over.
        last_centers_VE: centers of the last level.
        collisions: a further level that numbers them, or the nearest free last code.
        tokenizer: its name, for the message.

    Returns:
        distinct codes, the sizes of their levels, and the number of items that collided before.

    Raises:
        DataError: ``nearest_free`` finds no free code.
    """
    found, sizes = count_collisions(codes_NL), (num_codes,) * codes_NL.shape[1]
    if collisions == "suffix":
        return *add_suffix(codes_NL, sizes), found
    if found:
        codes_NL = move_to_nearest_free(codes_NL, _costs(before_last_NE, last_centers_VE), tokenizer)
    return codes_NL, sizes, found


def assign(
    ids: SemanticIds,
    vectors: ItemVectors,
    new: ItemVectors,
    *,
    centers_LVE: np.ndarray,
    normalize: bool,
    tokenizer: str,
    encode: Callable[[np.ndarray], np.ndarray] = lambda points_NE: points_NE,
) -> SemanticIds:
    """Codes of new items: quantized, then the lowest free suffix or the nearest free last code.

    Codes that no known item has are passed over as long as there are others: no model has learned what they mean.

    Args:
        ids: of the known items.
        vectors: of the known items.
        new: vectors of J new items.
        centers_LVE: one codebook per level.
        normalize: whether vectors are scaled to length 1 first.
        tokenizer: its name, for messages.
        encode: vectors -> points in the space of the centers.

    Raises:
        DataError: the widths differ, or no code is free.
    """
    check_same_width(vectors, new, tokenizer)
    if normalize:
        vectors, new = (replace(part, vectors_IE=unit_rows(part.vectors_IE)) for part in (vectors, new))
    num_levels, num_codes, _ = centers_LVE.shape
    # Items in a separate branch have a first code beyond the codebook's; their other codes have no meaning.
    known_NL = ids.codes_IL[ids.present_I & (ids.codes_IL[:, 0] < num_codes), :num_levels]
    is_used_LV = np.zeros((num_levels, num_codes), dtype=bool)
    for level in range(num_levels):
        is_used_LV[level, known_NL[:, level]] = True
    codes_JL, before_last_JE = quantize(encode(new.vectors_IE), centers_LVE, is_used_LV)
    has_suffix = ids.num_levels > num_levels

    def last_cost(item: int, prefix: Prefix) -> np.ndarray:
        cost_V = _costs(before_last_JE[item : item + 1], centers_LVE[-1])[0]
        return np.where(is_used_LV[-1], cost_V, np.inf)

    return with_new_items(
        ids,
        vectors,
        new,
        tokenizer=tokenizer,
        prefix_JP=codes_JL if has_suffix else codes_JL[:, :-1],
        last_cost=None if has_suffix else last_cost,
    )


def _costs(points_NE: np.ndarray, centers_VE: np.ndarray) -> np.ndarray:
    """Squared distances up to a constant per point, (N, V)."""
    # From the middle of the centers: far from zero, float32 would lose the small differences between large squares.
    middle_E = centers_VE.mean(axis=0)
    centers_VE = centers_VE - middle_E
    return np.einsum("ve,ve->v", centers_VE, centers_VE) - 2 * ((points_NE - middle_E) @ centers_VE.T)
