"""Recall, NDCG and MRR against other libraries."""

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from genrec.evaluation.metrics import mean_ndcg, mrr, ndcg, recall, target_ranks
from genrec.types import ABSENT, Ranking

NUM_USERS, NUM_ITEMS, LENGTH = 120, 40, 12


@pytest.fixture
def example():
    """Random full score tables, the lists they give, and targets."""
    rng = np.random.default_rng(3)
    scores_UI = rng.permuted(np.tile(np.arange(NUM_ITEMS), (NUM_USERS, 1)), axis=1).astype(np.float32)
    items_UI = np.tile(np.arange(NUM_ITEMS), (NUM_USERS, 1))
    return scores_UI, Ranking.top(items_UI, scores_UI, LENGTH), rng.integers(0, NUM_ITEMS, NUM_USERS)


@pytest.mark.parametrize("cutoff", [1, 5, 10, 12])
def test_they_agree_with_torchmetrics(example, cutoff):
    scores_UI, ranking, targets = example
    ranks = target_ranks(ranking, targets)
    for user in range(NUM_USERS):
        relevant = torch.arange(NUM_ITEMS) == targets[user]
        scores = torch.from_numpy(scores_UI[user])
        assert recall(ranks, cutoff)[user] == pytest.approx(float(retrieval_recall(scores, relevant, top_k=cutoff)))
        assert recall(ranks, cutoff)[user] == pytest.approx(float(retrieval_hit_rate(scores, relevant, top_k=cutoff)))
        expected = float(retrieval_normalized_dcg(scores, relevant, top_k=cutoff))
        assert ndcg(ranks, cutoff)[user] == pytest.approx(expected, abs=1e-6)
        expected = float(retrieval_reciprocal_rank(scores, relevant, top_k=cutoff))
        assert mrr(ranks, cutoff)[user] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("cutoff", [1, 5, 12])
def test_ndcg_agrees_with_sklearn(example, cutoff):
    scores_UI, ranking, targets = example
    relevant_UI = np.arange(NUM_ITEMS)[None, :] == targets[:, None]
    assert mean_ndcg(ranking, targets, cutoff) == pytest.approx(ndcg_score(relevant_UI, scores_UI, k=cutoff))


def test_ranks_start_at_zero_and_padding_is_never_a_hit():
    ranking = Ranking(np.array([[7, 3, ABSENT], [7, 3, 5], [3, ABSENT, ABSENT]]), np.zeros((3, 3), np.float32))
    ranks = target_ranks(ranking, np.array([3, 7, 9]))
    assert ranks.tolist() == [1, 0, ABSENT]
    assert ranks.dtype == np.int32
    assert recall(ranks, 1).tolist() == [0, 1, 0]
    assert ndcg(ranks, 2).tolist() == pytest.approx([1 / np.log2(3), 1, 0])
    assert mrr(ranks, 1).tolist() == [0, 1, 0]
    assert mrr(ranks, 2).tolist() == [0.5, 1, 0]


def test_wrong_targets_are_refused():
    ranking = Ranking(np.array([[1, 2]]), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="not an item number"):
        target_ranks(ranking, np.array([ABSENT]))
    with pytest.raises(ValueError, match="1 lists for targets"):
        target_ranks(ranking, np.array([1, 2]))
