"""Judging a fitted merge on the very users that it is fitted on, without any of them ranked by his own label."""

import numpy as np

from genrec.families import Merge
from genrec.types import ABSENT, Candidates, Ranking


def cross_fitted(
    merge: Merge, candidates: Candidates, targets: np.ndarray, *, top_n: int, folds: int = 5, seed: int
) -> Ranking:
    """Rank each user by a merge that was fitted on others.

    Users are divided at random into folds; the users of a fold are ranked by the merge fitted on all other folds. A
    merge that has nothing to fit ranks all users as it is.

    Args:
        merge: to be judged.
        candidates: of B users.
        targets: the item to be found for each, (B,).
        top_n: length of the lists.
        folds: at least 2; no more are made than there are users.
        seed: of the division.
    """
    if folds < 2:
        raise ValueError(f"cross-fitting needs two folds or more, got {folds}")
    if targets.shape != (len(candidates),):
        raise ValueError(f"{len(candidates)} users for targets of shape {targets.shape}")
    if type(merge).fit is Merge.fit:
        return merge.merge(candidates, top_n=top_n)
    items_BN = np.full((len(candidates), top_n), ABSENT, dtype=np.int64)
    scores_BN = np.full((len(candidates), top_n), -np.inf, dtype=np.float32)
    users = np.random.default_rng(seed).permutation(len(candidates))
    for fold in np.array_split(users, min(folds, max(len(users), 1))):
        others = np.setdiff1d(users, fold)
        fitted = merge.fit(candidates.take(others), targets[others])
        ranking = fitted.merge(candidates.take(fold), top_n=top_n)
        items_BN[fold], scores_BN[fold] = ranking.items_BN, ranking.scores_BN
    return Ranking(items_BN, scores_BN)
