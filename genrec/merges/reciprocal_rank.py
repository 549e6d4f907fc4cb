"""Reciprocal rank fusion: places in the streams' lists count, their probabilities do not."""

import numpy as np
from pydantic import NonNegativeFloat

from genrec.families import Merge, merges
from genrec.merges._ranking import rank
from genrec.types import ABSENT, Candidates, Ranking


@merges.register("reciprocal_rank")
class ReciprocalRank(Merge):
    """Rank by the sum of 1 / (k + place) over the streams that propose the item (Cormack et al., SIGIR 2009).

    The best place is 1. Equal scores: lower item number first.
    """

    k: NonNegativeFloat = 60.0
    """The larger, the less the first places stand out."""

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        is_own_BCS = candidates.ranks_BCS != ABSENT
        shares_BCS = np.where(is_own_BCS, 1.0 / (self.k + 1.0 + np.maximum(candidates.ranks_BCS, 0)), 0.0)
        scores_BC = np.where(is_own_BCS.any(axis=2), shares_BCS.sum(axis=2), -np.inf)
        return rank(candidates.items_BC, scores_BC, top_n)
