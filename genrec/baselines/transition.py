"""Training-free next-item heuristic: items that followed the user's latest items in training, then popular items.

Published generative models often fail to beat it, so every table shows it.
"""

from __future__ import annotations

import numpy as np

from genrec.baselines._item_weights import FittedItemWeights, ItemWeights
from genrec.baselines._popularity_order import PopularityOrder
from genrec.families import Baseline, baselines
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Length
from genrec.types import Catalog, Histories


@baselines.register("transition")
class Transition(Baseline):
    """Score an item by how often and how closely it followed the user's latest items in training."""

    next_items: Length = 3
    """Items after an item that count as its followers; one at distance ``gap`` weighs 1/gap."""
    recent_items: Length = 5
    """Latest items of a history that contribute; the last has weight 1, the one before 1/2, then 1/3."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedItemWeights:
        """Count the transitions of the training histories."""
        order = PopularityOrder.of(train, len(catalog))
        followers = Followers.of(train, len(catalog), self.next_items)
        return FittedItemWeights(followers, order, np.arange(1, self.recent_items + 1))


class Followers(ItemWeights):
    """The items that followed each item in training, in the order of their first occurrence; weights sum 1/gap."""

    @classmethod
    def of(cls, train: Histories, num_items: int, next_items: int) -> Followers:
        """Collect the pairs of items at most ``next_items`` apart in a history."""
        gap = np.arange(1, next_items + 1)
        user = np.repeat(np.arange(len(train)), train.lengths)
        after_NG = np.minimum(np.arange(len(user))[:, None] + gap, max(len(user) - 1, 0))
        is_pair_NG = (after_NG - np.arange(len(user))[:, None] == gap) & (user[after_NG] == user[:, None])
        position, column = np.nonzero(is_pair_NG)
        cells = train.items[position].astype(np.int64) * num_items + train.items[after_NG[is_pair_NG]]
        pairs, first, pair_of = np.unique(cells, return_index=True, return_inverse=True)
        weights = np.bincount(pair_of, weights=1.0 / gap[column], minlength=len(pairs))
        before, after = np.divmod(pairs, num_items)
        order = np.lexsort((first, before))
        offsets = np.searchsorted(before[order], np.arange(num_items + 1))
        return cls(after[order], weights[order], offsets.astype(np.int64))
