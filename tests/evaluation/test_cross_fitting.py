import numpy as np
import pytest

from genrec.evaluation.cross_fitting import cross_fitted
from genrec.families import Merge
from genrec.merges.confidence import Confidence
from genrec.merges.learned import Learned
from genrec.testing import tiny_candidates
from genrec.types import Candidates, Ranking


class Oracle(Merge):
    """Puts every item first that was a target in fitting: it shows which targets reached a list."""

    known: tuple[int, ...] = ()

    def fit(self, candidates, targets):
        assert len(candidates) == len(targets)
        return Oracle(known=tuple(targets.tolist()))

    def merge(self, candidates, *, top_n):
        scores_BC = np.where(np.isin(candidates.items_BC, self.known), 1.0, 0.0)
        return Ranking.top(candidates.items_BC, scores_BC, top_n)


def private_items(num_users, width=4):
    """Nobody shares an item: user u has ``width`` of his own, and his target is the last of them."""
    items_BC = np.arange(num_users * width, dtype=np.int64).reshape(num_users, width)
    shape = (num_users, width, 1)
    log_probs_BCS = np.broadcast_to(-np.arange(width, dtype=np.float32)[:, None], shape).copy()
    ranks_BCS = np.broadcast_to(np.arange(width, dtype=np.int32)[:, None], shape).copy()
    entropy_BS = np.ones((num_users, 1), dtype=np.float32)
    candidates = Candidates(("s",), items_BC, log_probs_BCS, ranks_BCS, entropy_BS, np.ones(1, dtype=np.int32))
    return candidates, items_BC[:, -1]


@pytest.mark.parametrize(("num_users", "folds"), [(23, 5), (3, 5), (2, 2), (1, 5), (0, 5)])
def test_no_label_reaches_its_own_users_list(num_users, folds):
    candidates, targets = private_items(num_users)
    found = Oracle().fit(candidates, targets).merge(candidates, top_n=4)
    assert (found.items_BN[:, 0] == targets).all()
    ranking = cross_fitted(Oracle(), candidates, targets, top_n=4, folds=folds, seed=0)
    np.testing.assert_array_equal(ranking.items_BN, candidates.items_BC)
    assert (ranking.scores_BN == 0).all()


def test_all_users_outside_the_fold_are_used_for_fitting():
    """All users share their items, and each wants another: a user's list shows whose labels were known."""
    candidates, _ = private_items(20, width=20)
    shared = Candidates(
        candidates.streams,
        np.broadcast_to(np.arange(20), (20, 20)).copy(),
        candidates.log_probs_BCS,
        candidates.ranks_BCS,
        candidates.entropy_BS,
        candidates.code_lengths_S,
    )
    ranking = cross_fitted(Oracle(), shared, np.arange(20), top_n=20, folds=4, seed=0)
    unknown = [set(row[score == 0].tolist()) for row, score in zip(ranking.items_BN, ranking.scores_BN, strict=True)]
    assert all(len(items) == 5 and user in items for user, items in enumerate(unknown))
    assert len({tuple(sorted(items)) for items in unknown}) == 4


def test_another_label_leaves_the_list_of_its_user_as_it_was():
    candidates = tiny_candidates(with_scores=True)
    targets = np.maximum(candidates.items_BC[:, 0], 0)
    before = cross_fitted(Learned(), candidates, targets, top_n=8, folds=3, seed=1)
    changed = 0
    for user in range(len(candidates)):
        other = targets.copy()
        other[user] = max(candidates.items_BC[user, 1], 0)
        after = cross_fitted(Learned(), candidates, other, top_n=8, folds=3, seed=1)
        np.testing.assert_array_equal(after.scores_BN[user], before.scores_BN[user])
        changed += (after.scores_BN != before.scores_BN).any()
    assert changed


def test_a_merge_without_anything_to_fit_ranks_as_it_is():
    candidates = tiny_candidates()
    targets = np.zeros(len(candidates), dtype=np.int64)
    plain = Confidence().merge(candidates, top_n=5)
    crossed = cross_fitted(Confidence(), candidates, targets, top_n=5, seed=0)
    np.testing.assert_array_equal(crossed.items_BN, plain.items_BN)
    np.testing.assert_array_equal(crossed.scores_BN, plain.scores_BN)


def test_the_seed_decides_the_folds():
    candidates, targets = private_items(30, width=6)
    targets = targets - np.arange(30) % 6
    lists = [cross_fitted(Learned(), candidates, targets, top_n=6, seed=seed).scores_BN for seed in (1, 1, 2)]
    np.testing.assert_array_equal(lists[0], lists[1])
    assert (lists[0] != lists[2]).any()


def test_mistakes_of_the_caller():
    candidates, targets = private_items(4)
    with pytest.raises(ValueError, match="two folds or more, got 1"):
        cross_fitted(Oracle(), candidates, targets, top_n=4, folds=1, seed=0)
    with pytest.raises(ValueError, match="4 users for targets of shape"):
        cross_fitted(Oracle(), candidates, targets[:3], top_n=4, seed=0)
