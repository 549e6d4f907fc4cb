"""Selects the item vectors of present items, and maps their codes back to all items."""

from __future__ import annotations

import numpy as np

from genrec.errors import DataError
from genrec.types import ABSENT, ItemVectors


def present_rows(vectors: ItemVectors, tokenizer: str) -> np.ndarray:
    """Numbers of the items that have a vector, int64.

    Raises:
        DataError: there is none.
    """
    rows_N = np.flatnonzero(vectors.present_I)
    if len(rows_N) == 0:
        raise DataError(
            f"{tokenizer}: none of the {len(vectors.present_I)} items has a vector, so no item can get a code; "
            "choose an item encoder that the data set can feed (texts, images), or leave this stream out"
        )
    return rows_N


def for_all_items(codes_NL: np.ndarray, rows_N: np.ndarray, num_items: int) -> np.ndarray:
    """Codes of the given items as int32 (num_items, L), ABSENT for the others."""
    codes_IL = np.full((num_items, codes_NL.shape[1]), ABSENT, dtype=np.int32)
    codes_IL[rows_N] = codes_NL
    return codes_IL


def unit_rows(points_NE: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(points_NE, axis=1, keepdims=True)
    return np.divide(points_NE, norms, out=np.zeros_like(points_NE), where=norms > 0)
