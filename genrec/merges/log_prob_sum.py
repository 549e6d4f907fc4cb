"""Log-probability sum: every stream's exact log-probability of every candidate, added up."""

from typing import ClassVar

import numpy as np

from genrec.families import Merge, merges
from genrec.merges._exact_scores import exact_log_probs
from genrec.merges._ranking import rank
from genrec.types import Candidates, Ranking


@merges.register("log_prob_sum")
class LogProbSum(Merge):
    """Rescore each candidate by all streams and rank by the sum of their log-probabilities (EAGER's released code).

    Differs from the paper: there an item counts with the stream that proposed it (``confidence``). An item that has no
    code in some stream gets there the mean of the streams that have one, so it is neither punished nor favored for
    it. Equal scores: lower item number first.
    """

    needs_scores: ClassVar[bool] = True

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``.

        Raises:
            DataError: the candidates were searched without every stream's scores.
        """
        log_probs_BCS = exact_log_probs(candidates, self.type_name)
        has_code_BCS = np.isfinite(log_probs_BCS)
        sums_BC = np.where(has_code_BCS, log_probs_BCS, 0.0).sum(axis=2)
        counts_BC = has_code_BCS.sum(axis=2)
        scores_BC = sums_BC / np.maximum(counts_BC, 1) * len(candidates.streams)
        return rank(candidates.items_BC, np.where(counts_BC > 0, scores_BC, -np.inf), top_n)
