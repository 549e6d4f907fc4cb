import json
import re

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.merges import learned
from genrec.merges._conditional_logit import fit_conditional_logit
from genrec.merges.learned import Learned
from genrec.merges.log_prob_sum import LogProbSum
from genrec.search.candidates import unite
from genrec.testing import tiny_candidates
from genrec.types import StreamCandidates


def world(num_users, weights=(1.0, 0.0), *, seed=0, width=12):
    """All streams rank the same items; the target is drawn from the softmax of the weighted log-probabilities."""
    rng = np.random.default_rng(seed)
    log_probs_SBI = rng.normal(size=(len(weights), num_users, width)) * 2
    log_probs_SBI -= np.log(np.exp(log_probs_SBI).sum(axis=2, keepdims=True))
    lists = {}
    for number, log_probs_BI in enumerate(log_probs_SBI):
        order_BI = np.argsort(-log_probs_BI, axis=1)
        ordered_BI = np.take_along_axis(log_probs_BI, order_BI, axis=1)
        lists[f"s{number}"] = StreamCandidates(order_BI.astype(np.int64), ordered_BI.astype(np.float32))
    utility_BI = np.tensordot(weights, log_probs_SBI, axes=1) + rng.gumbel(size=(num_users, width))
    return unite(lists, dict.fromkeys(lists, 2)), utility_BI.argmax(axis=1)


def test_the_weights_behind_the_choices_are_found_again():
    candidates, targets = world(4000, (0.9, 0.3))
    fitted = Learned(features=("log_prob",), l2=1e-3).fit(candidates, targets)
    assert fitted.streams == ("s0", "s1")
    assert fitted.weights["log_prob"] == pytest.approx((0.9, 0.3), abs=0.05)


def test_a_stream_that_says_nothing_is_not_listened_to():
    candidates, targets = world(1500, (1.5, 0.0))
    fresh, answers = world(800, (1.5, 0.0), seed=1)
    hits = [
        (merge.merge(fresh, top_n=1).items_BN[:, 0] == answers).mean()
        for merge in (Learned().fit(candidates, targets), LogProbSum())
    ]
    assert hits[0] > hits[1] + 0.05


@pytest.mark.filterwarnings("ignore")
def test_as_statsmodels_conditional_logit():
    discrete = pytest.importorskip("statsmodels.discrete.conditional_models")
    rng = np.random.default_rng(3)
    features_UCF = rng.normal(size=(300, 7, 3)) * [1.0, 5.0, 0.2] + rng.normal(size=(300, 1, 3)) * 9
    sizes = rng.integers(2, 8, size=300)
    is_item_UC = np.arange(7) < sizes[:, None]
    utility_UC = features_UCF @ [0.8, -0.1, 2.0] + rng.gumbel(size=(300, 7))
    chosen_U = np.where(is_item_UC, utility_UC, -np.inf).argmax(axis=1)
    ours_F = fit_conditional_logit(features_UCF, is_item_UC, chosen_U, np.zeros(3), l2=1e-9)
    is_chosen_UC = np.arange(7) == chosen_U[:, None]
    groups_UC = np.broadcast_to(np.arange(300)[:, None], (300, 7))
    theirs = discrete.ConditionalLogit(
        is_chosen_UC[is_item_UC].astype(int), features_UCF[is_item_UC], groups=groups_UC[is_item_UC]
    ).fit(disp=0)
    np.testing.assert_allclose(ours_F, theirs.params, rtol=1e-3)


def test_few_users_leave_the_weights_near_those_of_log_prob_sum():
    candidates, targets = world(2000, (2.0, 0.0))
    away = []
    for size in (0, 3, 2000):
        fitted = Learned().fit(candidates.take(np.arange(size)), targets[:size])
        away.append(abs(fitted.weights["log_prob"][0] - 0.5))
    assert away[0] == 0
    assert 0 < away[1] < 0.5 * away[2]


def test_without_anybody_to_learn_from_the_ranking_is_that_of_log_prob_sum():
    candidates = tiny_candidates(with_scores=True)
    nobodys = np.full(len(candidates), 10**6)
    fitted = Learned().fit(candidates, nobodys)
    assert {name: set(values) for name, values in fitted.weights.items()} == {
        "log_prob": {1 / 3},
        "found": {0.0},
        "log_place": {0.0},
        "no_code": {0.0},
    }
    ours, plain = fitted.merge(candidates, top_n=20), LogProbSum().merge(candidates, top_n=20)
    np.testing.assert_array_equal(ours.items_BN, plain.items_BN)


def test_users_whose_target_no_stream_found_teach_nothing():
    candidates, targets = world(400, (1.0, 0.5))
    lost = np.arange(400) % 2 == 1
    all_users = Learned().fit(candidates, np.where(lost, 10**6, targets))
    assert all_users == Learned().fit(candidates.take(np.flatnonzero(~lost)), targets[~lost])


def test_every_feature_has_its_weight_and_a_lack_of_code_is_learned():
    """The target is item 0, which has no code in the second stream, wherever the first places it."""
    candidates, _ = world(60)
    without_BC = candidates.items_BC == 0
    candidates.log_probs_BCS[without_BC, 1] = -np.inf
    candidates.ranks_BCS[without_BC, 1] = -1
    everything = Learned(features=("log_prob", "found", "log_place", "no_code", "certainty"))
    fitted = everything.fit(candidates, np.zeros(60, dtype=np.int64))
    assert fitted.weights["no_code"][1] > 1
    assert fitted.weights["no_code"][0] == 0.0
    assert all(any(values) for values in fitted.weights.values())
    assert (fitted.merge(candidates, top_n=1).items_BN == 0).all()


def test_what_is_learned_is_plain_and_comes_back_from_json():
    candidates, targets = world(200)
    fitted = Learned().fit(candidates, targets)
    block = json.loads(json.dumps(fitted.block()))
    assert block.pop("type") == "learned"
    again = Learned(**block)
    assert again == fitted
    first, second = fitted.merge(candidates, top_n=5), again.merge(candidates, top_n=5)
    np.testing.assert_array_equal(first.scores_BN, second.scores_BN)
    assert Learned().fit(candidates, targets) == fitted
    assert fitted.streams_used() == ("s0", "s1")
    assert Learned().streams_used() == ()


def test_more_users_than_fit_into_memory_are_thinned(monkeypatch):
    candidates, targets = world(500, (0.9, 0.3))
    taken = []
    monkeypatch.setattr(learned, "_MOST_CELLS", 12 * 2 * 4 * 100)
    monkeypatch.setattr(
        "genrec.merges._conditional_logit.fit_conditional_logit",
        lambda features, is_item, chosen, prior, l2: taken.append(chosen) or prior,
    )
    Learned().fit(candidates, targets)
    assert len(taken[0]) == 100


def test_blocks_of_users_make_no_difference(monkeypatch):
    candidates, targets = world(50)
    fitted = Learned().fit(candidates, targets)
    whole = fitted.merge(candidates, top_n=6)
    monkeypatch.setattr(learned, "_USERS_AT_ONCE", 7)
    parts = fitted.merge(candidates, top_n=6)
    np.testing.assert_array_equal(whole.items_BN, parts.items_BN)


def refusal(text):
    return pytest.raises(DataError, match=f"^{re.escape(text)}$")


def test_a_merge_that_was_not_fitted_says_so():
    expected = (
        "merge learned: it has no weights; expected a merge that was fitted on validation candidates: "
        "genrec run and genrec compare do so, in Python call fit(candidates, targets) and use what it returns"
    )
    with refusal(expected):
        Learned().merge(tiny_candidates(with_scores=True), top_n=3)


def test_a_merge_that_was_fitted_to_other_streams_says_so():
    candidates, targets = world(20)
    fitted = Learned().fit(candidates, targets)
    expected = (
        "merge learned: found candidates of the streams s0, expected s0, s1, to which it was fitted: fit it to these"
    )
    with refusal(expected):
        fitted.merge(candidates.of_streams(["s0"]), top_n=3)


def test_candidates_without_scores_cannot_be_learned_from():
    with pytest.raises(DataError, match=r"^merge learned: some candidates lack the log-probability"):
        Learned().fit(tiny_candidates(), np.maximum(tiny_candidates().items_BC[:, 0], 0))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"features": ()}, "at least 1 item"),
        ({"features": ("found", "found")}, "a feature is named twice"),
        ({"features": ("found",), "streams": ("a",)}, "weights of nothing, expected found"),
        ({"features": ("found",), "streams": ("a",), "weights": {"log_prob": (1,)}}, "weights of log_prob, expected"),
        ({"features": ("found",), "streams": ("a", "b"), "weights": {"found": (1,)}}, "1 weights of found for 2"),
        ({"l2": 0}, "greater than 0"),
    ],
)
def test_fields_that_do_not_fit_together(fields, text):
    with pytest.raises(ValueError, match=text):
        Learned(**fields)
