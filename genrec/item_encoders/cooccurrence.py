"""Positive pointwise mutual information of items that are close in training histories, factorized by SVD.

Levy and Goldberg 2014 ("Neural word embedding as implicit matrix factorization") with items for words: a cheap,
deterministic behavior encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveFloat

from genrec.errors import DataError
from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import fill_unseen, fixed_signs, unit_rows
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Length, Width
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_DENSE_BELOW = 400
"""Matrices of fewer items are factorized densely, which is exact for every rank."""


@item_encoders.register("cooccurrence")
class Cooccurrence(ItemEncoder):
    """PPMI of items close to each other in training histories, reduced by SVD; items never seen get the mean."""

    dim: Width = 128
    """Width of the vectors; at most the number of items."""
    window: Length = 5
    """Items up to this many steps apart co-occur, with weight 1 / steps."""
    symmetric: bool = True
    """Whether order is ignored; otherwise only the items that follow an item count."""
    shift: PositiveFloat = 1.0
    """PPMI is max(0, PMI - log(shift)), as if drawn against that many negative samples."""
    normalize: bool = True
    """Scale vectors to length 1, so that rare items do not gather around the origin."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        counts = cooccurrence_counts(train, len(catalog), self.window)
        if counts.nnz == 0:
            raise DataError(
                f"cooccurrence: no two items are within {self.window} steps in the training histories; "
                "choose an item encoder that does not need them"
            )
        if self.symmetric:
            counts = (counts + counts.T).tocsr()
        ppmi = positive_pmi(counts, self.shift)
        if ppmi.nnz == 0:
            raise DataError(f"cooccurrence: no pair of items has PMI above log({self.shift:g}); lower shift")
        vectors_IE = _factorized(ppmi, self.dim)
        seen_I = np.diff(ppmi.indptr) > 0
        if self.normalize:
            vectors_IE = unit_rows(vectors_IE)
        vectors_IE, notes = fill_unseen(vectors_IE, seen_I)
        return ItemVectors(vectors_IE.astype(np.float32), np.ones(len(catalog), dtype=bool), notes)


def cooccurrence_counts(histories: Histories, num_items: int, window: int) -> csr_array:
    """How often item j follows item i within ``window`` steps, weighted by 1 / steps; float64 (I, I), diagonal 0."""
    from scipy.sparse import coo_array

    items = histories.items.astype(np.int64)
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    rows, columns, weights = [], [], []
    for steps in range(1, window + 1):
        pair = (user[:-steps] == user[steps:]) & (items[:-steps] != items[steps:])
        rows.append(items[:-steps][pair])
        columns.append(items[steps:][pair])
        weights.append(np.full(int(pair.sum()), 1.0 / steps))
    pairs = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(pairs, shape=(num_items, num_items)).tocsr()


def positive_pmi(counts: csr_array, shift: float = 1.0) -> csr_array:
    """max(0, log(p(i, j) / (p(i) p(j))) - log(shift)) of every pair with a count, sparse (I, I)."""
    pairs = counts.tocoo()
    row_I, column_I = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel()
    expected = row_I[pairs.row] * column_I[pairs.col] / pairs.data.sum()
    pairs.data = np.maximum(np.log(pairs.data / expected) - np.log(shift), 0.0)
    ppmi = pairs.tocsr()
    ppmi.eliminate_zeros()
    return ppmi


def _factorized(matrix: csr_array, dim: int) -> np.ndarray:
    """U sqrt(S) of the ``dim`` largest singular values, largest first, (I, at most dim)."""
    from scipy.sparse.linalg import svds

    num_items = len(matrix.indptr) - 1
    if num_items < _DENSE_BELOW or dim >= num_items:
        left, values, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        start_I = np.random.default_rng(0).uniform(-1, 1, num_items)
        left, values, _ = svds(matrix, k=dim, v0=start_I)
        assert left is not None
    largest = np.argsort(-values, kind="stable")[:dim]
    return fixed_signs(left[:, largest] * np.sqrt(np.maximum(values[largest], 0.0)))
