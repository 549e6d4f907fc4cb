"""The known items that are most similar to new ones."""

from __future__ import annotations

import numpy as np

from genrec.types import ABSENT

_CELLS = 2**24
"""Maximum number of similarities in memory."""


def most_similar(new_JE: np.ndarray, known_IE: np.ndarray, usable_I: np.ndarray, *, count: int) -> np.ndarray:
    """The known items nearest to new ones by cosine.

    Args:
        new_JE: vectors of new items.
        known_IE: vectors of known items.
        usable_I: the known items to choose from, bool.
        count: N.

    Returns:
        Item numbers, most similar first, equal ones by number, int64 (J, N), the first ones repeated where fewer are
        usable; ABSENT if none is.
    """
    usable_K = np.flatnonzero(usable_I)
    nearest_JN = np.full((len(new_JE), count), ABSENT, dtype=np.int64)
    if not len(usable_K):
        return nearest_JN
    known_KE, new_JE = _unit_rows(known_IE[usable_K]), _unit_rows(new_JE)
    size = max(1, _CELLS // len(usable_K))
    for start in range(0, len(new_JE), size):
        similarity_jK = new_JE[start : start + size] @ known_KE.T
        order_jN = np.argsort(-similarity_jK, axis=1, kind="stable")[:, :count]
        nearest_JN[start : start + size] = usable_K[np.resize(order_jN.T, (count, len(order_jN))).T]
    return nearest_JN


def _unit_rows(vectors_NE: np.ndarray) -> np.ndarray:
    return vectors_NE / np.maximum(np.linalg.norm(vectors_NE, axis=1, keepdims=True), 1e-12)
