"""Item-based nearest neighbors (Sarwar et al. 2001; Deshpande and Karypis 2004): items bought by the same users."""

from __future__ import annotations

import numpy as np
from pydantic import NonNegativeFloat

from genrec.baselines._item_weights import FittedItemWeights, ItemWeights
from genrec.baselines._popularity_order import PopularityOrder
from genrec.families import Baseline, baselines
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Length
from genrec.types import Catalog, Histories


@baselines.register("item_knn")
class ItemKnn(Baseline):
    """Score an item by the sum of its similarities to the items of the history; no order, no training.

    The similarity of two items is c / (sqrt(a b) + shrinkage), where a and b users have each of them and c users have
    both: the cosine of their columns, shrunk where it rests on few users. An item is no neighbor of itself. An item
    that a history has twice counts twice.

    Differs from the papers: similarities are not normalized to sum to 1 for an item, and shrinkage is that of later
    work (Bell and Koren 2007). Items without a similarity follow by popularity.
    """

    num_neighbors: Length = 20
    """Most similar items of each item that are kept."""
    shrinkage: NonNegativeFloat = 50.0
    """Added to the denominator of the cosine."""
    recent_items: Length = 50
    """Latest items of a history that contribute."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedItemWeights:
        """Count the users that pairs of items share in training."""
        neighbors = neighbors_of(train, len(catalog), self.num_neighbors, self.shrinkage)
        return FittedItemWeights(neighbors, PopularityOrder.of(train, len(catalog)), np.ones(self.recent_items))


def neighbors_of(train: Histories, num_items: int, num_neighbors: int, shrinkage: float) -> ItemWeights:
    """The most similar items of each item, the most similar first, equal ones by item number."""
    from scipy.sparse import csr_array

    user = np.repeat(np.arange(len(train)), train.lengths)
    cells = np.unique(user * num_items + train.items)  # a user who has an item twice counts once
    user, item = np.divmod(cells, num_items)
    has_UI = csr_array((np.ones(len(cells)), (user, item)), shape=(len(train), num_items))
    shared = (has_UI.T @ has_UI).tocoo()
    one, other = shared.coords
    count_I = np.bincount(item, minlength=num_items)
    similarity = shared.data / (np.sqrt(count_I[one] * count_I[other]) + shrinkage)
    is_pair = one != other
    one, other, similarity = one[is_pair], other[is_pair], similarity[is_pair]
    order = np.lexsort((other, -similarity, one))
    one, other, similarity = one[order], other[order], similarity[order]
    is_near = np.arange(len(one)) - np.searchsorted(one, one) < num_neighbors
    offsets = np.searchsorted(one[is_near], np.arange(num_items + 1))
    return ItemWeights(other[is_near].astype(np.int64), similarity[is_near], offsets.astype(np.int64))
