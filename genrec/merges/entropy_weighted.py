"""Entropy-weighted merge: each stream counts for a user by how sure it is of its list for him."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genrec.families import Merge, merges
from genrec.merges._entropy import relative_entropy
from genrec.merges._exact_scores import exact_log_probs
from genrec.merges._ranking import rank
from genrec.types import Candidates, Ranking


@merges.register("entropy_weighted")
class EntropyWeighted(Merge):
    """Pool the streams' probabilities, each stream weighted by the entropy of its list for this user.

    With H_s the entropy of the list of N_s items that stream s gave, renormalized, the weight is w_s proportional to
    exp(-H_s / (temperature * log N_s)), and the weights of a user's streams add up to 1.

    Completes the paper: EAGER's introduction names "the prediction entropy of each stream as a confidence measure" and
    gives no equation; section 3.6 ranks by log-probabilities (``confidence``). An item that has no code in some stream
    is judged by the others, whose weights then add up to 1. A list of less than two items counts as wholly unsure.
    Equal scores: lower item number first.
    """

    needs_scores: ClassVar[bool] = True

    pool: Literal["log", "linear"] = "log"
    """``log``: the weighted sum of log-probabilities, so that a stream can veto; ``linear``: the logarithm of the
    weighted sum of probabilities, so that one stream is enough to bring an item up."""
    temperature: PositiveFloat = 0.25
    """Small: the stream with the lowest entropy decides; large: equal weights (``log_prob_sum``). With lists of 50
    items the default's weights are nearly the inverse of the lists' perplexities."""

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``.

        Raises:
            DataError: the candidates were searched without every stream's scores.
        """
        log_probs_BCS = exact_log_probs(candidates, self.type_name)
        has_code_BCS = np.isfinite(log_probs_BCS)
        log_weights_BCS = np.where(has_code_BCS, -relative_entropy(candidates)[:, None, :] / self.temperature, -np.inf)
        # Weights are normalized over the streams that have the item, as logarithms: none of those can become 0 / 0.
        log_weights_BCS = log_weights_BCS - _log_sum_exp(log_weights_BCS)[:, :, None]
        if self.pool == "linear":
            scores_BC = _log_sum_exp(log_weights_BCS + log_probs_BCS)
        else:
            scores_BC = (np.exp(log_weights_BCS) * np.where(has_code_BCS, log_probs_BCS, 0.0)).sum(axis=2)
        return rank(candidates.items_BC, np.where(has_code_BCS.any(axis=2), scores_BC, -np.inf), top_n)


def _log_sum_exp(values_BCS: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of exponentials over the streams, (B, C); 0 where there is nothing to add."""
    top_BC = values_BCS.max(axis=2)
    top_BC = np.where(np.isfinite(top_BC), top_BC, 0.0)
    total_BC = np.exp(values_BCS - top_BC[:, :, None]).sum(axis=2)
    return top_BC + np.log(np.where(total_BC > 0, total_BC, 1.0))
