"""Borda merge: a stream gives an item ``depth - rank`` points; most points wins."""

import numpy as np
from pydantic import PositiveInt

from genrec.plugin import ABSENT, Candidates, Merge, Ranking, merges


@merges.register("borda")
class Borda(Merge):
    """Fuse the streams by rank alone, ignoring how sure each one is."""

    depth: PositiveInt = 20
    """Ranks below this earn nothing."""

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        ranks_BCS = candidates.ranks_BCS
        points_BCS = np.where(ranks_BCS == ABSENT, 0, np.maximum(self.depth - ranks_BCS, 0))
        order_BC = np.argsort(candidates.items_BC, axis=1)  # equal points: lower item number first
        items_BC = np.take_along_axis(candidates.items_BC, order_BC, axis=1)
        points_BC = np.take_along_axis(points_BCS.sum(axis=2), order_BC, axis=1)
        return Ranking.top(items_BC, points_BC.astype(np.float32), top_n)
