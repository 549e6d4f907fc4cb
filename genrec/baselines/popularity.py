"""Rank the catalog by how often an item occurs in training, the same for every user."""

from __future__ import annotations

import numpy as np

from genrec.baselines._popularity_order import PopularityOrder, chunks, seen_cells
from genrec.families import Baseline, FittedBaseline, baselines
from genrec.runtime.environment import WorkContext
from genrec.types import Catalog, Histories, Ranking


@baselines.register("popularity")
class Popularity(Baseline):
    """Most popular items in training first, the same for every user."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedPopularity:
        """Count interactions; equal counts are ordered by item number."""
        return FittedPopularity(PopularityOrder.of(train, len(catalog)))


class FittedPopularity(FittedBaseline):
    """Items by training count.

    Args:
        order: the catalog, most frequent item first.
    """

    def __init__(self, order: PopularityOrder) -> None:
        self.order = order

    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """The most popular items; scores are training counts."""
        items_UN = np.empty((len(histories), top_n), dtype=np.int64)
        scores_UN = np.empty((len(histories), top_n), dtype=np.float32)
        for rows in chunks(top_n + histories.lengths):
            ranking = self._rank_chunk(histories.take(rows), top_n, exclude_seen)
            items_UN[rows], scores_UN[rows] = ranking.items_BN, ranking.scores_BN
        return Ranking(items_UN, scores_UN)

    def _rank_chunk(self, histories: Histories, top_n: int, exclude_seen: bool) -> Ranking:
        items_C = self.order.head(histories, top_n, exclude_seen)
        items_BC = np.broadcast_to(items_C, (len(histories), len(items_C)))
        scores_BC = np.broadcast_to(self.order.counts_I[items_C].astype(np.float32), items_BC.shape)
        if exclude_seen:
            cells_BC = np.arange(len(histories))[:, None] * len(self.order) + items_BC
            is_seen_BC = np.isin(cells_BC, seen_cells(histories, len(self.order)), assume_unique=True)
            scores_BC = np.where(is_seen_BC, -np.inf, scores_BC)
        return Ranking.top(items_BC, scores_BC, top_n)
