import re

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.families import merges
from genrec.merges.entropy_weighted import EntropyWeighted
from genrec.merges.log_prob_sum import LogProbSum
from genrec.testing import tiny_candidates
from genrec.types import Candidates

NINF = -np.inf
LOG_2, LOG_3 = np.log(2), np.log(3)


def one_user(log_probs_CS, ranks_CS, entropy_S, items=(10, 20, 30, 40)):
    return Candidates(
        ("behavior", "text"),
        np.array([items], dtype=np.int64),
        np.array([log_probs_CS], dtype=np.float32),
        np.array([ranks_CS], dtype=np.int32),
        np.array([entropy_S], dtype=np.float32),
        np.array([2, 3], dtype=np.int32),
    )


# Each stream proposes two items, so the largest entropy is log 2. Behavior is sure of its list, text is not at all.
LOG_PROBS = [[-1.0, -6.0], [-5.0, -4.0], [-7.0, -2.0], [-9.0, -2.5]]
RANKS = [[0, -1], [1, -1], [-1, 0], [-1, 1]]


def answer(ranking):
    return ranking.items_BN[0].tolist(), ranking.scores_BN[0].tolist()


def test_weights_are_the_exponential_of_the_relative_entropy():
    candidates = one_user(LOG_PROBS, RANKS, [0.25 * LOG_2, LOG_2])
    sure = 1 / (1 + np.exp(-0.75))  # of exp(-0.25) and exp(-1)
    items, scores = answer(EntropyWeighted(temperature=1).merge(candidates, top_n=5))
    expected = [sure * behavior + (1 - sure) * text for behavior, text in LOG_PROBS]
    assert items == [10, 20, 30, 40, -1]
    assert scores == pytest.approx([*expected, NINF], rel=1e-6)


def test_linear_pool_adds_probabilities():
    candidates = one_user(LOG_PROBS, RANKS, [LOG_2, 0.25 * LOG_2])
    sure = 1 / (1 + np.exp(-0.75 / 0.5))
    items, scores = answer(EntropyWeighted(pool="linear", temperature=0.5).merge(candidates, top_n=4))
    value = {
        item: np.log((1 - sure) * np.exp(b) + sure * np.exp(t))
        for item, (b, t) in zip((10, 20, 30, 40), LOG_PROBS, strict=True)
    }
    assert items == sorted(value, key=value.__getitem__, reverse=True)
    assert scores == pytest.approx([value[item] for item in items], rel=1e-5)


def test_the_surest_stream_decides_and_for_another_user_the_other():
    cold = EntropyWeighted(temperature=0.01)
    behavior_sure = one_user(LOG_PROBS, RANKS, [0.1, 0.6])
    text_sure = one_user(LOG_PROBS, RANKS, [0.6, 0.1])
    assert answer(cold.merge(behavior_sure, top_n=4))[0] == [10, 20, 30, 40]
    assert answer(cold.merge(text_sure, top_n=4))[0] == [30, 40, 20, 10]


def test_a_list_of_one_item_or_none_counts_as_unsure():
    """Such a list has entropy 0, which must not be taken for certainty."""
    for ranks in ([[-1, 0], [-1, 1], [-1, 2], [-1, 3]], [[0, 1], [-1, 0], [-1, 2], [-1, 3]]):
        candidates = one_user(LOG_PROBS, ranks, [0.0, 0.5 * np.log(4)])
        assert answer(EntropyWeighted(temperature=0.01).merge(candidates, top_n=4))[0] == [30, 40, 20, 10]


def test_lists_of_different_length_are_compared_by_their_share_of_the_largest_entropy():
    ranks = [[0, -1], [1, 2], [-1, 0], [-1, 1]]
    candidates = one_user(LOG_PROBS, ranks, [0.9 * LOG_2, 0.7 * LOG_3])  # text has more nats and is surer
    assert 0.7 * LOG_3 > 0.9 * LOG_2
    assert answer(EntropyWeighted(temperature=0.01).merge(candidates, top_n=1))[0] == [30]


@pytest.mark.parametrize("pool", ["log", "linear"])
@pytest.mark.parametrize("temperature", [1e-4, 0.25, 1e6])
def test_an_item_without_code_is_judged_by_the_other_stream_alone(pool, temperature):
    without = [[NINF, -3.0], *LOG_PROBS[1:]]
    ranks = [[-1, 2], [1, -1], [-1, 0], [0, 1]]
    candidates = one_user(without, ranks, [0.0, LOG_3])
    items, scores = answer(EntropyWeighted(pool=pool, temperature=temperature).merge(candidates, top_n=4))
    assert scores[items.index(10)] == pytest.approx(-3.0)


def test_equal_weights_rank_as_the_sum_of_log_probabilities():
    candidates = tiny_candidates(with_scores=True)
    hot = EntropyWeighted(temperature=1e9).merge(candidates, top_n=20)
    plain = LogProbSum().merge(candidates, top_n=20)
    np.testing.assert_array_equal(hot.items_BN, plain.items_BN)
    found = plain.items_BN >= 0
    np.testing.assert_allclose(hot.scores_BN[found] * 3, plain.scores_BN[found], rtol=1e-5)


def test_candidates_without_scores_are_refused():
    expected = (
        "merge entropy_weighted: some candidates lack the log-probability of a stream that did not propose them; "
        "expected every stream's score of every candidate: search again with a merge that needs scores"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        EntropyWeighted().merge(tiny_candidates(), top_n=3)


def test_block_and_limits():
    assert merges.get("entropy_weighted")().block() == {"type": "entropy_weighted", "pool": "log", "temperature": 0.25}
    with pytest.raises(ValueError, match="greater than 0"):
        EntropyWeighted(temperature=0)
