"""Metrics of several targets per user against their definitions, written out for one user at a time."""

from math import log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from genrec.errors import PluginError
from genrec.evaluation.metrics import METRICS, Metric
from genrec.types import ABSENT

NUM_ITEMS = 30
ACCURACY = ("recall", "ndcg", "mrr", "hit_rate", "map", "precision")


def by_definition(metric, listed, targets, cutoff):
    """A metric of one user, as RecBole, ranx and trec_eval define it; MAP is divided as in RecBole."""
    top = listed[:cutoff]
    hits = [item in targets for item in top]
    best = min(len(targets), cutoff)
    match metric:
        case "recall":
            return sum(hits) / len(targets)
        case "precision":
            return sum(hits) / cutoff
        case "hit_rate":
            return float(any(hits))
        case "mrr":
            return next((1 / place for place, hit in enumerate(hits, 1) if hit), 0.0)
        case "ndcg":
            gain = sum(1 / log2(place + 1) for place, hit in enumerate(hits, 1) if hit)
            return gain / sum(1 / log2(place + 1) for place in range(1, best + 1))
        case "map":
            return sum(sum(hits[:place]) / place for place, hit in enumerate(hits, 1) if hit) / best
    raise AssertionError(metric)


def ranks_of(lists, targets):
    """The flat ranks of all targets, and the offsets."""
    flat = [
        listed.index(target) if target in listed else ABSENT
        for listed, of_user in zip(lists, targets, strict=True)
        for target in of_user
    ]
    return np.array(flat, dtype=np.int32), np.concatenate([[0], np.cumsum([len(part) for part in targets])])


def random_users(seed, count, length, most):
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(NUM_ITEMS)[:length].tolist() for _ in range(count)]
    return lists, [rng.permutation(NUM_ITEMS)[: rng.integers(1, most + 1)].tolist() for _ in range(count)]


@pytest.mark.parametrize("metric", ACCURACY)
@pytest.mark.parametrize("cutoff", [1, 3, 10, 12])
def test_they_equal_their_definition(metric, cutoff):
    lists, targets = random_users(cutoff, 200, 12, 15)
    found_U = METRICS.get(metric)(*ranks_and_cutoff(lists, targets, cutoff))
    expected = [by_definition(metric, *of_user, cutoff) for of_user in zip(lists, targets, strict=True)]
    assert found_U.tolist() == pytest.approx(expected, abs=1e-12)
    assert 0.02 < found_U.mean() < 0.98


def ranks_and_cutoff(lists, targets, cutoff):
    ranks_T, offsets = ranks_of(lists, targets)
    return ranks_T, cutoff, offsets


@pytest.mark.parametrize("cutoff", [1, 5, 30])
def test_they_agree_with_torchmetrics(cutoff):
    lists, targets = random_users(7, 60, NUM_ITEMS, 8)
    oracles = {
        "recall": retrieval_recall,
        "ndcg": retrieval_normalized_dcg,
        "mrr": retrieval_reciprocal_rank,
        "hit_rate": retrieval_hit_rate,
        "precision": retrieval_precision,
    }
    for metric, oracle in oracles.items():
        found_U = METRICS.get(metric)(*ranks_and_cutoff(lists, targets, cutoff))
        for user, (listed, of_user) in enumerate(zip(lists, targets, strict=True)):
            scores, relevant = torch.zeros(NUM_ITEMS), torch.zeros(NUM_ITEMS, dtype=torch.bool)
            scores[listed] = torch.arange(NUM_ITEMS, 0, -1, dtype=torch.float32)
            relevant[of_user] = True
            assert found_U[user] == pytest.approx(float(oracle(scores, relevant, top_k=cutoff)), abs=1e-6)


def test_map_of_whole_lists_is_the_average_precision_of_sklearn():
    lists, targets = random_users(3, 60, NUM_ITEMS, 8)
    found_U = METRICS.get("map")(*ranks_and_cutoff(lists, targets, NUM_ITEMS))
    for user, (listed, of_user) in enumerate(zip(lists, targets, strict=True)):
        relevant = [item in of_user for item in listed]
        assert found_U[user] == pytest.approx(average_precision_score(relevant, np.arange(NUM_ITEMS, 0, -1)))


@pytest.mark.parametrize("metric", ACCURACY)
def test_one_target_each_is_a_special_case(metric):
    ranks_SU = np.random.default_rng(0).integers(-1, 12, (3, 40)).astype(np.int32)
    measure = METRICS.get(metric)
    assert measure(ranks_SU, 10, np.arange(41)).tolist() == measure(ranks_SU, 10).tolist()


def test_axes_before_the_targets_are_kept():
    lists, targets = random_users(1, 20, 12, 5)
    ranks_T, offsets = ranks_of(lists, targets)
    both_ST = np.stack([ranks_T, np.full_like(ranks_T, ABSENT)])
    values_SU = METRICS.get("ndcg")(both_ST, 10, offsets)
    assert values_SU.shape == (2, 20)
    assert values_SU[0].tolist() == METRICS.get("ndcg")(ranks_T, 10, offsets).tolist()
    assert not values_SU[1].any()


def test_a_metric_of_one_rank_is_refused():
    first = Metric("first", "First", lambda ranks_U, cutoff: ranks_U == 0)
    with pytest.raises(PluginError, match=r"metric 'first' is one of one target .* expected kind='hits'"):
        first(np.array([0, 1, 2], dtype=np.int32), 5, np.array([0, 1, 3]))


@st.composite
def users(draw):
    """The list of a user and the targets."""
    listed = draw(st.permutations(range(NUM_ITEMS)))[: draw(st.integers(1, 15))]
    return list(listed), sorted(draw(st.sets(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=12)))


@given(users(), st.integers(1, 14), st.randoms(use_true_random=False))
def test_properties(user, cutoff, random):
    """Bounds; the order of targets is irrelevant; a target that moves up by one place is never worse."""
    listed, targets = user
    other = random.sample(targets, len(targets))
    for name in ACCURACY:
        metric = METRICS.get(name)

        def value(listed, targets, metric=metric):
            return metric(*ranks_and_cutoff([listed], [targets], cutoff)).item()

        assert 0.0 <= value(listed, targets) <= 1.0
        assert value(listed, other) == value(listed, targets)
        for place in range(1, len(listed)):
            if listed[place] in targets and listed[place - 1] not in targets:
                swapped = [*listed[: place - 1], listed[place], listed[place - 1], *listed[place + 1 :]]
                assert value(swapped, targets) >= value(listed, targets) - 1e-12
    ideal = [*targets, *(item for item in range(NUM_ITEMS) if item not in targets)]
    for name in ("ndcg", "mrr", "hit_rate", "map"):
        assert METRICS.get(name)(*ranks_and_cutoff([ideal], [targets], cutoff)).item() == pytest.approx(1.0)


@given(users())
def test_recall_and_hit_rate_rise_with_the_cutoff(user):
    for name in ("recall", "hit_rate", "mrr"):
        values = [METRICS.get(name)(*ranks_and_cutoff([user[0]], [user[1]], k)).item() for k in range(1, 16)]
        assert values == sorted(values)
