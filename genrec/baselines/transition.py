"""Training-free next-item heuristic: items that followed the user's latest items in training, then popular items.

Published generative models often fail to beat it, so every table shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.baselines._popularity_order import PopularityOrder, chunks, seen_cells
from genrec.families import Baseline, FittedBaseline, baselines
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Length
from genrec.types import ABSENT, Catalog, Histories, Ranking


@baselines.register("transition")
class Transition(Baseline):
    """Score an item by how often and how closely it followed the user's latest items in training."""

    next_items: Length = 3
    """Items after an item that count as its followers; one at distance ``gap`` weighs 1/gap."""
    recent_items: Length = 5
    """Latest items of a history that contribute; the last has weight 1, the one before 1/2, then 1/3."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedTransition:
        """Count the transitions of the training histories."""
        order = PopularityOrder.of(train, len(catalog))
        return FittedTransition(Followers.of(train, len(catalog), self.next_items), order, self.recent_items)


@dataclass(frozen=True)
class Followers:
    """The items that followed each item in training, in the order of their first occurrence."""

    items: np.ndarray
    """Item numbers, int64 (pairs,)."""
    weights: np.ndarray
    """Sum of 1/gap over all occurrences, float64 (pairs,)."""
    offsets: np.ndarray
    """Item i is followed by items[offsets[i]:offsets[i + 1]], int64 (I + 1,)."""

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


class FittedTransition(FittedBaseline):
    """Followers of the latest items first, then the most popular items.

    Args:
        followers: of every item in training.
        order: the catalog by popularity.
        recent_items: number of latest items that contribute.
    """

    def __init__(self, followers: Followers, order: PopularityOrder, recent_items: int) -> None:
        self.followers = followers
        self.order = order
        self.recent_items = recent_items

    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """Rank by summed weight; items that never followed score 0 and come by popularity.

        Equal scores: the follower of the more recent item first, then the one that followed it first in training.
        """
        items_UN = np.full((len(histories), top_n), ABSENT, dtype=np.int64)
        scores_UN = np.full((len(histories), top_n), -np.inf, dtype=np.float32)
        latest_UT, num_followers_UT = self._latest(histories)
        for rows in chunks(num_followers_UT.sum(axis=1) + top_n + histories.lengths):
            cells, scores = self._scored(latest_UT[rows], num_followers_UT[rows])
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
        """Each user's latest items, the last first, and how many followers each has (0 where there is no item)."""
        recency_T = np.arange(1, self.recent_items + 1)
        inside_UT = recency_T <= histories.lengths[:, None]
        latest_UT = np.zeros(inside_UT.shape, dtype=np.int64)
        latest_UT[inside_UT] = histories.items[(histories.offsets[1:, None] - recency_T)[inside_UT]]
        return latest_UT, np.where(inside_UT, np.diff(self.followers.offsets)[latest_UT], 0)

    def _scored(self, latest_BT: np.ndarray, num_followers_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The (user, item) pairs with a score, each once, in the order in which they turn up."""
        count = num_followers_BT.ravel()
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pair = np.repeat(self.followers.offsets[latest_BT.ravel()], count) + within
        user, recency = np.divmod(np.repeat(np.arange(len(count)), count), latest_BT.shape[1])
        cells, first, cell_of = np.unique(
            user * len(self.order) + self.followers.items[pair], return_index=True, return_inverse=True
        )
        scores = np.bincount(cell_of, weights=self.followers.weights[pair] / (recency + 1), minlength=len(cells))
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
