"""Scaling of vectors, and the matrix of all items from the vectors of some."""

from __future__ import annotations

import numpy as np

from genrec.types import ItemVectors


def place(vectors_NE: np.ndarray, present_I: np.ndarray, notes: tuple[str, ...] = ()) -> ItemVectors:
    """Item vectors from the vectors of the present items, in item order; absent items get zero rows.

    Notes say if all vectors are equal, or some are zero: nothing distinguishes such items.
    """
    count = len(vectors_NE)
    if count > 1 and (vectors_NE == vectors_NE[0]).all():
        notes = (*notes, f"all {count:,} vectors are equal: the stream cannot distinguish items")
    elif zeros := int((~vectors_NE.any(axis=1)).sum()):
        notes = (*notes, f"{zeros:,} of {count:,} vectors are zero: the stream cannot distinguish these items")
    vectors_IE = np.zeros((len(present_I), vectors_NE.shape[1]), dtype=np.float32)
    vectors_IE[present_I] = vectors_NE
    return ItemVectors(vectors_IE, present_I, notes)


def unit_rows(vectors_NE: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of length 0 stay as they are."""
    length_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    return vectors_NE / np.where(length_N1 > 0, length_N1, 1.0)


def fixed_signs(vectors_NE: np.ndarray) -> np.ndarray:
    """Flip signs of columns so that the entry of largest magnitude is positive: an SVD leaves them open."""
    return vectors_NE * column_signs(vectors_NE)


def column_signs(vectors_NE: np.ndarray) -> np.ndarray:
    """The sign of each column's entry of largest magnitude, 1 or -1, float64 (E,)."""
    largest_E = np.abs(vectors_NE).argmax(axis=0)
    signs_E = np.sign(vectors_NE[largest_E, np.arange(vectors_NE.shape[1])])
    return np.where(signs_E == 0, 1.0, signs_E)


def fill_unseen(vectors_IE: np.ndarray, seen_I: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Fill in the mean vector for items without training interactions, with a note on their number.

    Such an item is present, so that a behavior stream can propose it. The mean has the least expected squared error,
    and unlike a zero vector it has a direction.
    """
    unseen = int((~seen_I).sum())
    if unseen == 0:
        return vectors_IE, ()
    filled_IE = vectors_IE.copy()
    filled_IE[~seen_I] = vectors_IE[seen_I].mean(axis=0)
    return filled_IE, (f"{unseen} of {len(seen_I)} items have no training interactions and get the mean vector",)
