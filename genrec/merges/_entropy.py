"""How unsure each stream is of its list for a user, comparable between lists of different length."""

import numpy as np

from genrec.types import ABSENT, Candidates


def relative_entropy(candidates: Candidates) -> np.ndarray:
    """Entropy of each stream's list over the largest that a list of its length can have, float64 (B, S) in [0, 1].

    A list of less than two items counts as 1: its entropy is 0 because it is short, not because the stream is sure.
    """
    length_BS = (candidates.ranks_BCS != ABSENT).sum(axis=1)
    largest_BS = np.log(np.maximum(length_BS, 2))
    return np.where(length_BS < 2, 1.0, np.clip(candidates.entropy_BS / largest_BS, 0.0, 1.0))
