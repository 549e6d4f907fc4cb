"""Codes of absent items, which a stream's encoder could not read (no image, no text)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from genrec.semantic_ids.new_items import fitted_items
from genrec.types import ABSENT, ItemVectors, SemanticIds

AbsentItems = Literal["own_branch", "nearest", "leave_out"]
"""Under ``leave_out`` fewer items share a stream's probabilities than in the other streams, so merges that compare
probabilities or ranks favor its items; docs/log.md has figures."""

_BLOCK = 1024
"""Absent items that are compared in one block."""


def like_nearest(vectors: ItemVectors, guide: ItemVectors) -> ItemVectors:
    """Give each absent item the vector of the present item that is nearest to it (cosine) in another stream.

    Args:
        vectors: with absent items.
        guide: vectors of the same items from another stream; items without those either stay absent.
    """
    known_P = np.flatnonzero(fitted_items(vectors) & guide.present_I)
    absent_A = np.flatnonzero(~vectors.present_I & guide.present_I)
    if not len(known_P) or not len(absent_A):
        return vectors
    direction_IE = guide.vectors_IE / np.maximum(np.linalg.norm(guide.vectors_IE, axis=1, keepdims=True), 1e-12)
    filled_IE, present_I = vectors.vectors_IE.copy(), vectors.present_I.copy()
    for start in range(0, len(absent_A), _BLOCK):
        rows = absent_A[start : start + _BLOCK]
        nearest = (direction_IE[rows] @ direction_IE[known_P].T).argmax(axis=1)
        filled_IE[rows] = vectors.vectors_IE[known_P[nearest]]
    present_I[absent_A] = True
    return replace(vectors, vectors_IE=filled_IE, present_I=present_I)


def with_own_branch(ids: SemanticIds) -> SemanticIds:
    """Give all absent items codes below one new code of the first level, divided evenly, in the order of the catalog.

    Codes below the branch carry no information about the item; the stream can only learn who interacts with it. A
    level gets more codes where its present ones are too few.
    """
    absent_A = np.flatnonzero(~ids.present_I)
    if not len(absent_A):
        return ids
    branch, num_levels = ids.vocabulary_sizes[0], ids.num_levels
    codes_IL = ids.codes_IL.copy()
    if num_levels == 1:
        codes_IL[absent_A, 0] = branch + np.arange(len(absent_A))
        return replace(ids, codes_IL=codes_IL, vocabulary_sizes=(branch + len(absent_A),))
    width = 1
    while width ** (num_levels - 1) < len(absent_A):
        width += 1
    place_A = np.arange(len(absent_A))
    codes_IL[absent_A, 0] = branch
    for level in range(1, num_levels):
        # Child c of a node holds the places that are c modulo the width, so that siblings differ by one item at most.
        place_A, codes_IL[absent_A, level] = np.divmod(place_A, width)
    sizes = (branch + 1, *(max(size, width) for size in ids.vocabulary_sizes[1:]))
    assert (codes_IL != ABSENT).all()
    return replace(ids, codes_IL=codes_IL, vocabulary_sizes=sizes)
