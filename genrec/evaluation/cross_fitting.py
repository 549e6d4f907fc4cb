"""Cross-fitting: evaluate a fitted merge on the users it is fitted on, without using a user's own target."""

import numpy as np

from genrec.contracts.results import checked_fit, checked_merge
from genrec.families import Merge
from genrec.types import ABSENT, Candidates, Ranking


def cross_fitted(
    merge: Merge, candidates: Candidates, targets: np.ndarray, *, top_n: int, folds: int = 5, seed: int
) -> Ranking:
    """Rank each user by a merge that was fitted on others.

    Users are split at random into folds; the users of a fold are ranked by the merge fitted on all other folds. A merge
    without parameters ranks all users directly.

    Args:
        merge: to be evaluated.
        candidates: of B users.
        targets: the target item of each user, (B,).
        top_n: length of the lists.
        folds: at least 2, and at most the number of users.
        seed: of the split.
    """
    if folds < 2:
        raise ValueError(f"cross-fitting needs two folds or more, got {folds}")
    if targets.shape != (len(candidates),):
        raise ValueError(f"{len(candidates)} users for targets of shape {targets.shape}")
    if type(merge).fit is Merge.fit:
        return checked_merge(merge, candidates, top_n=top_n)
    items_BN = np.full((len(candidates), top_n), ABSENT, dtype=np.int64)
    scores_BN = np.full((len(candidates), top_n), -np.inf, dtype=np.float32)
    users = np.random.default_rng(seed).permutation(len(candidates))
    for fold in np.array_split(users, min(folds, max(len(users), 1))):
        others = np.setdiff1d(users, fold)
        fitted = checked_fit(merge, candidates.take(others), targets[others])
        ranking = checked_merge(fitted, candidates.take(fold), top_n=top_n)
        items_BN[fold], scores_BN[fold] = ranking.items_BN, ranking.scores_BN
    return Ranking(items_BN, scores_BN)
