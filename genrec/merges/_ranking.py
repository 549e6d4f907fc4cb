"""What the merges of the core share: which scores are a stream's own, and how equal scores are ordered."""

import numpy as np

from genrec.types import ABSENT, Candidates, Ranking


def own_log_probs(candidates: Candidates) -> np.ndarray:
    """log_probs_BCS where the stream proposed the item, -inf elsewhere (also where it scored another's item)."""
    return np.where(candidates.ranks_BCS != ABSENT, candidates.log_probs_BCS, np.float32(-np.inf))


def rank(items_BC: np.ndarray, scores_BC: np.ndarray, top_n: int) -> Ranking:
    """The best ``top_n``; equal scores by item number, lowest first, whatever order the candidates have."""
    order_BC = np.argsort(items_BC, axis=1, kind="stable")
    items_BC = np.take_along_axis(items_BC, order_BC, axis=1)
    return Ranking.top(items_BC, np.take_along_axis(scores_BC, order_BC, axis=1), top_n)
