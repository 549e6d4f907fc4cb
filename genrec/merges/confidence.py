"""Confidence merge: the log-probability that the proposing stream gives an item, compared across streams."""

import numpy as np

from genrec.families import Merge, merges
from genrec.merges._ranking import own_log_probs, rank
from genrec.types import Candidates, Ranking


@merges.register("confidence")
class Confidence(Merge):
    """Rank by the log-probability of the stream that proposed the item (EAGER, section 3.6).

    An item that several streams propose gets its best score (the paper leaves this open). Equal scores: lower item
    number first.
    """

    length_normalized: bool = False
    """Divide by the number of codes, so that streams with codes of different length can be compared."""

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        log_probs_BCS = own_log_probs(candidates)
        if self.length_normalized:
            log_probs_BCS = log_probs_BCS / candidates.code_lengths_S.astype(np.float32)
        return rank(candidates.items_BC, log_probs_BCS.max(axis=2), top_n)
