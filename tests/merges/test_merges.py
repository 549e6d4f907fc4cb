import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError, RecipeError
from genrec.families import merges
from genrec.merges.confidence import Confidence
from genrec.merges.log_prob_sum import LogProbSum
from genrec.merges.reciprocal_rank import ReciprocalRank
from genrec.merges.single import Single
from genrec.types import Candidates

NAN, NINF = np.nan, -np.inf


def by_hand(log_probs_CS, ranks_CS, items=(10, 20, 30, 40), lengths=(2, 3)):
    return Candidates(
        ("behavior", "text"),
        np.array([items], dtype=np.int64),
        np.array([log_probs_CS], dtype=np.float32),
        np.array([ranks_CS], dtype=np.int32),
        np.zeros((1, 2), dtype=np.float32),
        np.array(lengths, dtype=np.int32),
    )


# Item 10: both streams. 20: behavior alone. 30: text alone. 40: text alone, and it has no code in the other stream.
RANKS = [[0, 2], [1, -1], [-1, 0], [-1, 1]]
OWN = [[-1.0, -2.8], [-1.9, NAN], [NAN, -1.8], [NAN, -2.1]]
SCORED = [[-1.0, -2.8], [-1.9, -9.0], [-0.1, -1.8], [NINF, -2.1]]


def answer(ranking):
    return ranking.items_BN[0].tolist(), ranking.scores_BN[0].tolist()


def test_confidence_keeps_the_best_own_log_probability():
    items, scores = answer(Confidence().merge(by_hand(OWN, RANKS), top_n=5))
    assert items == [10, 30, 20, 40, -1]
    assert scores == pytest.approx([-1.0, -1.8, -1.9, -2.1, NINF])


def test_confidence_does_not_read_scores_of_other_streams():
    """Item 30 has -0.1 in the stream that did not propose it; candidates stored for another merge hold such scores."""
    assert answer(Confidence().merge(by_hand(SCORED, RANKS), top_n=5)) == answer(
        Confidence().merge(by_hand(OWN, RANKS), top_n=5)
    )


def test_confidence_a_code():
    items, scores = answer(Confidence(length_normalized=True).merge(by_hand(OWN, RANKS), top_n=4))
    assert items == [10, 30, 40, 20]
    assert scores == pytest.approx([-0.5, -0.6, -0.7, -0.95])


def test_log_prob_sum_adds_all_streams():
    """The released code: the sum over streams of log p; -2.1 stands for the stream in which item 40 has no code."""
    items, scores = answer(LogProbSum().merge(by_hand(SCORED, RANKS), top_n=4))
    assert items == [30, 10, 40, 20]
    assert scores == pytest.approx([-1.9, -3.8, -4.2, -10.9])


def test_log_prob_sum_three_streams_with_a_missing_code():
    candidates = Candidates(
        ("a", "b", "c"),
        np.array([[1, 2]]),
        np.array([[[-1, NINF, -3], [-2, -2, -2.1]]], dtype=np.float32),
        np.array([[[0, -1, 1], [1, 0, 0]]], dtype=np.int32),
        np.zeros((1, 3), dtype=np.float32),
        np.array([2, 2, 2], dtype=np.int32),
    )
    items, scores = answer(LogProbSum().merge(candidates, top_n=2))
    assert items == [1, 2]
    assert scores == pytest.approx([-6.0, -6.1])


def test_log_prob_sum_refuses_candidates_without_scores():
    expected = (
        "merge log_prob_sum: some candidates lack the log-probability of a stream that did not propose them; "
        "expected every stream's score of every candidate: search again with a merge that needs scores"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        LogProbSum().merge(by_hand(OWN, RANKS), top_n=3)


def test_reciprocal_rank_by_hand():
    items, scores = answer(ReciprocalRank().merge(by_hand(OWN, RANKS), top_n=4))
    assert items == [10, 30, 20, 40]
    assert scores == pytest.approx([1 / 61 + 1 / 63, 1 / 61, 1 / 62, 1 / 62])
    items, _ = answer(ReciprocalRank(k=0).merge(by_hand(OWN, [[3, 3], [1, -1], [-1, 0], [-1, 2]]), top_n=4))
    assert items == [30, 10, 20, 40]


def test_single_takes_one_stream():
    assert answer(Single(stream="text").merge(by_hand(SCORED, RANKS), top_n=4)) == (
        [30, 40, 10, -1],
        pytest.approx([-1.8, -2.1, -2.8, NINF]),
    )
    assert Single(stream="behavior").merge(by_hand(SCORED, RANKS), top_n=1).items_BN.tolist() == [[10]]


@pytest.mark.parametrize(("name", "hint"), [("txt", "; did you mean 'text'?"), ("visual", ""), ("", "")])
def test_single_with_a_stream_that_is_not_there(name, hint):
    expected = f"merge.stream: there is no stream {name!r}; expected one of behavior, text{hint}"
    with pytest.raises(RecipeError, match=f"^{re.escape(expected)}$"):
        Single(stream=name).merge(by_hand(OWN, RANKS), top_n=3)


def test_equal_scores_go_to_the_lower_item_number():
    candidates = by_hand([[-1, -1]] * 4, [[0, 0]] * 4, items=(9, 2, 7, 4))
    for merge in (Confidence(), LogProbSum(), ReciprocalRank(), Single(stream="text")):
        assert merge.merge(candidates, top_n=3).items_BN.tolist() == [[2, 4, 7]]


MERGES = [Confidence(), Confidence(length_normalized=True), LogProbSum(), ReciprocalRank(), Single(stream="s0")]


def random_candidates(seed, *, scored):
    """Candidates as a search gives them: proposed by at least one stream, lists sorted, ties included."""
    rng = np.random.default_rng(seed)
    num_users, num_streams, width = int(rng.integers(0, 5)), int(rng.integers(1, 4)), int(rng.integers(0, 9))
    items_BC = np.full((num_users, width), -1, dtype=np.int64)
    log_probs_BCS = np.full((num_users, width, num_streams), np.nan, dtype=np.float32)
    ranks_BCS = np.full((num_users, width, num_streams), -1, dtype=np.int32)
    for user in range(num_users):
        size = int(rng.integers(0, width + 1))
        items_BC[user, :size] = rng.choice(30, size=size, replace=False)
        proposed_CS = rng.random((size, num_streams)) < 0.5
        proposed_CS[np.arange(size), rng.integers(0, num_streams, size=size)] = True
        log_probs_CS = -rng.integers(0, 6, size=(size, num_streams)).astype(np.float32)
        for s in range(num_streams):
            own = np.flatnonzero(proposed_CS[:, s])
            ranks_BCS[user, own[np.argsort(-log_probs_CS[own, s])], s] = np.arange(len(own))
        others_CS = np.where(rng.random((size, num_streams)) < 0.3, NINF, log_probs_CS) if scored else NAN
        log_probs_BCS[user, :size] = np.where(proposed_CS, log_probs_CS, others_CS)
    streams = tuple(f"s{s}" for s in range(num_streams))
    entropy_BS = rng.random((num_users, num_streams)).astype(np.float32)
    return Candidates(
        streams, items_BC, log_probs_BCS, ranks_BCS, entropy_BS, np.arange(1, num_streams + 1, dtype=np.int32)
    )


@given(st.integers(0, 10**6), st.sampled_from(MERGES), st.booleans(), st.integers(1, 12))
def test_rankings_are_sorted_subsets_without_repeats_in_any_order(seed, merge, scored, top_n):
    candidates = random_candidates(seed, scored=scored or merge.needs_scores)
    ranking = merge.merge(candidates, top_n=top_n)
    assert ranking.items_BN.shape == ranking.scores_BN.shape == (len(candidates), top_n)
    assert (ranking.items_BN.dtype, ranking.scores_BN.dtype) == (np.int64, np.float32)
    assert not np.isnan(ranking.scores_BN).any()
    for user in range(len(candidates)):
        found = ranking.items_BN[user]
        items = found[found >= 0].tolist()
        there = set(candidates.items_BC[user].tolist()) - {-1}
        assert len(items) == len(set(items))
        assert set(items) <= there
        if not isinstance(merge, Single):
            assert len(items) == min(top_n, len(there))
        assert (found[len(items) :] == -1).all()
        scores = ranking.scores_BN[user].tolist()
        assert all(left >= right for left, right in pairwise(scores))
        assert np.isneginf(scores[len(items) :]).all()
    order = np.random.default_rng(seed).permutation(candidates.items_BC.shape[1])
    shuffled = Candidates(
        candidates.streams,
        candidates.items_BC[:, order],
        candidates.log_probs_BCS[:, order],
        candidates.ranks_BCS[:, order],
        candidates.entropy_BS,
        candidates.code_lengths_S,
    )
    again = merge.merge(shuffled, top_n=top_n)
    np.testing.assert_array_equal(again.items_BN, ranking.items_BN)
    np.testing.assert_array_equal(again.scores_BN, ranking.scores_BN)


@given(st.integers(0, 10**6))
def test_one_stream_is_ranked_alike_by_all(seed):
    candidates = random_candidates(seed, scored=True)
    if len(candidates.streams) == 1:
        alone = Single(stream="s0").merge(candidates, top_n=5).items_BN
        for merge in (Confidence(), LogProbSum()):
            np.testing.assert_array_equal(merge.merge(candidates, top_n=5).items_BN, alone)


@pytest.mark.parametrize("name", ["confidence", "log_prob_sum", "reciprocal_rank", "single"])
def test_registered_under_the_name_of_its_file(name):
    found = merges.get(name)
    assert found.__module__ == f"genrec.merges.{name}"
    assert found.needs_scores == (name == "log_prob_sum")


def test_defaults_and_strictness():
    assert Confidence().block() == {"type": "confidence", "length_normalized": False}
    assert ReciprocalRank().block() == {"type": "reciprocal_rank", "k": 60.0}
    with pytest.raises(ValueError, match="stream"):
        Single()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ReciprocalRank(k=-1)
