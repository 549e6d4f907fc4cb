"""Rankings by what the items of a history add to others: followers in ``transition``, neighbors in ``item_knn``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.baselines._popularity_order import PopularityOrder, chunks, seen_cells
from genrec.families import FittedBaseline
from genrec.types import ABSENT, Histories, Ranking


@dataclass(frozen=True)
class ItemWeights:
    """What each item adds to the scores of others."""

    items: np.ndarray
    """Item numbers, int64 (pairs,)."""
    weights: np.ndarray
    """What is added, float64 (pairs,)."""
    offsets: np.ndarray
    """Item i adds to items[offsets[i]:offsets[i + 1]], int64 (I + 1,)."""


class FittedItemWeights(FittedBaseline):
    """Items with the largest sums of weights first, then the most popular items.

    Args:
        weights: what each item adds.
        order: the catalog by popularity.
        divisors_T: T latest items of a history contribute; what the last adds is divided by the first number, and so
            on.
    """

    def __init__(self, weights: ItemWeights, order: PopularityOrder, divisors_T: np.ndarray) -> None:
        self.weights = weights
        self.order = order
        self.divisors_T = divisors_T

    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """Rank by summed weight; items to which nothing is added score 0 and come by popularity.

        Equal scores: what the more recent item adds to first, then in the order of its weights.
        """
        items_UN = np.full((len(histories), top_n), ABSENT, dtype=np.int64)
        scores_UN = np.full((len(histories), top_n), -np.inf, dtype=np.float32)
        latest_UT, num_weights_UT = self._latest(histories)
        for rows in chunks(num_weights_UT.sum(axis=1) + top_n + histories.lengths):
            cells, scores = self._scored(latest_UT[rows], num_weights_UT[rows])
            cells, scores = self._filled(cells, scores, histories.take(rows), top_n, exclude_seen)
            user, item = np.divmod(cells, len(self.order))
            best = np.lexsort((-scores, user))  # stable: what came first stays first among equals
            user, item, scores = user[best], item[best], scores[best]
            place = np.arange(len(user)) - np.searchsorted(user, user)
            listed = place < top_n
            items_UN[rows[user[listed]], place[listed]] = item[listed]
            scores_UN[rows[user[listed]], place[listed]] = scores[listed]
        return Ranking(items_UN, scores_UN)

    def _latest(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Each user's latest items, the last first, and how many weights each has (0 where there is no item)."""
        recency_T = np.arange(1, len(self.divisors_T) + 1)
        inside_UT = recency_T <= histories.lengths[:, None]
        latest_UT = np.zeros(inside_UT.shape, dtype=np.int64)
        latest_UT[inside_UT] = histories.items[(histories.offsets[1:, None] - recency_T)[inside_UT]]
        return latest_UT, np.where(inside_UT, np.diff(self.weights.offsets)[latest_UT], 0)

    def _scored(self, latest_BT: np.ndarray, num_weights_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The (user, item) pairs with a score, each once, in the order in which they turn up."""
        count = num_weights_BT.ravel()
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pair = np.repeat(self.weights.offsets[latest_BT.ravel()], count) + within
        user, recency = np.divmod(np.repeat(np.arange(len(count)), count), latest_BT.shape[1])
        cells, first, cell_of = np.unique(
            user * len(self.order) + self.weights.items[pair], return_index=True, return_inverse=True
        )
        scores = np.bincount(
            cell_of, weights=self.weights.weights[pair] / self.divisors_T[recency], minlength=len(cells)
        )
        order = np.argsort(first)
        return cells[order], scores[order]

    def _filled(
        self, cells: np.ndarray, scores: np.ndarray, histories: Histories, top_n: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Remove seen items with ``exclude_seen``; append popular ones with score 0 where a list is short."""
        num_users, num_items = len(histories), len(self.order)
        seen = seen_cells(histories, num_items) if exclude_seen else cells[:0]
        kept = ~np.isin(cells, seen, assume_unique=True)
        cells, scores = cells[kept], scores[kept]
        short = np.flatnonzero(np.bincount(cells // num_items, minlength=num_users) < top_n)
        popular_BC = short[:, None] * num_items + self.order.head(histories.take(short), top_n, exclude_seen)
        fill = popular_BC[~np.isin(popular_BC, np.concatenate([cells, seen]), assume_unique=True)]
        return np.concatenate([cells, fill]), np.concatenate([scores, np.zeros(len(fill))])
