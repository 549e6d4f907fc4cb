"""Metrics of lists and of systems against their definitions, one user at a time, and their intervals."""

from collections import Counter
from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.evaluation.beyond_accuracy import GROUPS, measurable, measure_lists
from genrec.evaluation.metrics import DEFAULT_BEYOND_ACCURACY, METRICS
from genrec.evaluation.significance import (
    bootstrap_interval,
    jackknife_interval,
    paired_difference,
    paired_t,
    t_interval,
)
from genrec.evaluation.top_lists import ItemFacts, TopLists, seen_items
from genrec.types import ABSENT, Histories, ItemVectors, Ranking

NUM_ITEMS, LENGTH = 40, 10


def example(seed=0, num_users=80, width=6):
    """Random lists, some of which end early, histories, counts and vectors; items 0 to 2 lack one or the other."""
    rng = np.random.default_rng(seed)
    items_UN = np.stack([rng.permutation(NUM_ITEMS)[:LENGTH] for _ in range(num_users)]).astype(np.int64)
    for user in range(0, num_users, 7):
        items_UN[user, rng.integers(0, LENGTH) :] = ABSENT
    histories = [rng.choice(NUM_ITEMS, rng.integers(1, 15)) for _ in range(num_users)]
    vectors_IE = rng.normal(size=(NUM_ITEMS, width)).astype(np.float32)
    present_I = np.arange(NUM_ITEMS) != 1
    vectors_IE[[1, 2]] = 0
    counts_I = np.where(np.arange(NUM_ITEMS) == 0, 0, rng.integers(1, 50, NUM_ITEMS))
    facts = ItemFacts(counts_I, ItemVectors(vectors_IE, present_I), "text")
    ranking = Ranking(items_UN, np.zeros(items_UN.shape, np.float32))
    return TopLists.of(ranking, Histories.of(histories), facts), histories


def by_definition(metric, lists, histories):
    """Each metric from its formula; coverage, Gini index and long-tail share as in RecBole."""
    facts = lists.facts
    rows = [[item for item in row if item != ABSENT] for row in lists.items_UK.tolist()]
    counts = facts.counts_I.tolist()
    match metric:
        case "coverage":
            return len({item for row in rows for item in row}) / NUM_ITEMS
        case "gini":
            times = sorted(Counter(item for row in rows for item in row).values())
            first = NUM_ITEMS - len(times) + 1
            shares = [(2 * place - NUM_ITEMS - 1) * count for place, count in enumerate(times, first)]
            return sum(shares) / sum(times) / NUM_ITEMS
        case "novelty":
            return [_mean(-log2(max(counts[item], 1) / sum(counts)) for item in row) for row in rows]
        case "tail_share":
            by_count = sorted(range(NUM_ITEMS), key=lambda item: (counts[item], item))
            return [_mean(item in by_count[: int(0.8 * NUM_ITEMS)] for item in row) for row in rows]
        case "repeat_share":
            return [_mean(item in seen for item in row) for row, seen in zip(rows, histories, strict=True)]
        case "intra_list_distance":
            return [_mean(_distances(row, facts.vectors)) for row in rows]
    raise AssertionError(metric)


def _mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def _distances(row, vectors):
    for one, other in combinations([item for item in row if vectors.present_I[item]], 2):
        first, second = vectors.vectors_IE[one], vectors.vectors_IE[other]
        lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
        yield 1.0 - (float(first @ second) / lengths if lengths else 0.0)


@pytest.mark.parametrize("metric", DEFAULT_BEYOND_ACCURACY)
@pytest.mark.parametrize("cutoff", [1, 4, 10])
def test_they_equal_their_definition(metric, cutoff):
    lists, histories = example()
    top = lists.first(cutoff)
    found = METRICS.get(metric).of_lists(top)
    assert found.tolist() == pytest.approx(by_definition(metric, top, histories), abs=1e-6)
    assert np.ptp(found) > 0 or metric in ("coverage", "gini") or (metric == "intra_list_distance" and cutoff == 1)


def test_distances_do_not_depend_on_the_blocks(monkeypatch):
    lists, _ = example()
    expected = METRICS.get("intra_list_distance").of_lists(lists)
    monkeypatch.setattr("genrec.evaluation.top_lists._FLOATS_AT_ONCE", 3 * LENGTH * 6)
    assert METRICS.get("intra_list_distance").of_lists(lists).tolist() == expected.tolist()


def test_extremes():
    one = np.tile(np.arange(LENGTH), (NUM_ITEMS, 1))
    all_items = (one + np.arange(NUM_ITEMS)[:, None]) % NUM_ITEMS
    facts = ItemFacts(
        np.ones(NUM_ITEMS, dtype=np.int64), ItemVectors(np.ones((NUM_ITEMS, 3), np.float32), np.ones(NUM_ITEMS, bool))
    )
    same, equal = (TopLists(items, np.zeros(items.shape, bool), facts) for items in (one, all_items))
    empty = TopLists(np.full((3, 4), ABSENT), np.zeros((3, 4), bool), facts)

    def value(name, lists):
        return METRICS.get(name).of_lists(lists).mean()

    assert (value("coverage", same), value("coverage", equal), value("coverage", empty)) == (
        LENGTH / NUM_ITEMS,
        1.0,
        0.0,
    )
    assert value("gini", same) == pytest.approx(1 - LENGTH / NUM_ITEMS)
    assert (value("gini", equal), value("gini", empty)) == (0.0, 0.0)
    assert value("novelty", same) == pytest.approx(log2(NUM_ITEMS))
    assert value("intra_list_distance", same) == pytest.approx(0.0, abs=1e-6)
    assert [METRICS.get(name).of_lists(empty).tolist() for name in ("novelty", "tail_share", "repeat_share")] == [
        [0.0] * 3
    ] * 3


def test_seen_items_are_those_of_the_own_history():
    items_UN = np.array([[0, 2, ABSENT], [0, 2, 1], [ABSENT, ABSENT, ABSENT]])
    histories = Histories.of([[2, 2], [5], [0]])
    assert seen_items(items_UN, histories).tolist() == [[False, True, False], [False] * 3, [False] * 3]
    with pytest.raises(ValueError, match="3 lists for 2 histories"):
        seen_items(items_UN, histories.take(np.array([0, 1])))


@given(st.lists(st.permutations(range(12)).map(lambda items: list(items)[:5]), min_size=2, max_size=6), st.data())
def test_properties(rows, data):
    """Bounds; order of users and of items within lists is irrelevant; one more user never covers fewer items."""
    rng = np.random.default_rng(len(rows))
    facts = ItemFacts(
        rng.integers(0, 9, 12), ItemVectors(rng.normal(size=(12, 3)).astype(np.float32), np.ones(12, bool))
    )

    def lists(rows):
        items_UK = np.array(rows)
        return TopLists(items_UK, items_UK % 3 == 0, facts)

    users = data.draw(st.permutations(range(len(rows))))
    shuffled = [data.draw(st.permutations(rows[user])) for user in users]
    for name in DEFAULT_BEYOND_ACCURACY:
        metric = METRICS.get(name)
        found, other = metric.of_lists(lists(rows)), metric.of_lists(lists(shuffled))
        assert np.atleast_1d(found[list(users)] if found.ndim else found) == pytest.approx(
            np.atleast_1d(other), abs=1e-6
        )
        top = {"novelty": np.log2(max(facts.counts_I.sum(), 1)), "intra_list_distance": 2.0}.get(name, 1.0)
        assert -1e-6 <= found.min() <= found.max() <= top + 1e-6
    coverage = METRICS.get("coverage").of_lists
    assert coverage(lists(rows[:-1])) <= coverage(lists(rows))


def test_values_of_users_and_of_groups():
    lists, _ = example()
    names = ["coverage", "gini", "novelty", "repeat_share"]
    values = measure_lists(lists, names, 5)
    assert list(values.of_users) == ["novelty", "repeat_share"]
    assert (
        values.of_users["novelty"].tolist()
        == METRICS.get("novelty").of_lists(lists.first(5)).astype(np.float32).tolist()
    )
    without_G = values.of_system["coverage"][1:]
    assert len(without_G) == GROUPS
    left_out = np.arange(len(lists)) % GROUPS == 3
    assert without_G[3] == METRICS.get("coverage").of_lists(lists.first(5).take(np.flatnonzero(~left_out)))
    assert len(measure_lists(lists.take(np.arange(1)), names, 5).of_system["gini"]) == 1


def test_distances_need_vectors():
    facts = ItemFacts(np.ones(3, dtype=np.int64))
    assert measurable(DEFAULT_BEYOND_ACCURACY, facts) == [
        name for name in DEFAULT_BEYOND_ACCURACY if name != "intra_list_distance"
    ]
    with pytest.raises(ValueError, match="2 item vectors for 3 items"):
        ItemFacts(np.ones(3, dtype=np.int64), ItemVectors(np.ones((2, 2), np.float32), np.ones(2, bool)))


def test_student_and_bootstrap_agree():
    rng = np.random.default_rng(0)
    first_U = rng.binomial(10, 0.1, 3000) / 10
    second_U = np.clip(first_U + rng.choice([0, 0, 0, 0.1, -0.1, 0.1], 3000), 0, 1)
    bounds = t_interval(first_U, 0.95)
    assert bounds == pytest.approx(bootstrap_interval(first_U, samples=4000, confidence=0.95, seed=1), abs=3e-4)
    by_t, by_bootstrap = (
        paired_t(second_U, first_U, 0.95),
        paired_difference(second_U, first_U, confidence=0.95, seed=1),
    )
    assert (by_t.low, by_t.high) == pytest.approx((by_bootstrap.low, by_bootstrap.high), abs=3e-4)
    assert by_t.mean == pytest.approx(by_bootstrap.mean)
    assert by_t.wilcoxon_p == pytest.approx(by_bootstrap.wilcoxon_p)
    assert by_t.p < 0.001


def test_student_of_equal_values():
    equal_U = np.full(5, 0.25)
    assert paired_t(equal_U, equal_U, 0.95).p == 1.0
    assert paired_t(equal_U + 1, equal_U, 0.95).p == 0.0
    assert t_interval(equal_U[:1], 0.95) == (0.25, 0.25)
    assert paired_t(equal_U[:1] + 1, equal_U[:1], 0.95).p == 1.0
    with pytest.raises(ValueError, match="of the same users"):
        paired_t(equal_U, equal_U[:2], 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coverage", "gini"])
def test_the_interval_of_a_system_covers_what_other_users_give(name):
    """At least 90 % of the 95 % intervals; those of a bootstrap with replacement cover almost nothing."""
    rng = np.random.default_rng(5)
    num_items, num_users, num_samples = 200, 200, 60
    chance_I = 1 / np.arange(1, num_items + 1)
    keys = np.log(chance_I)
    metric, facts = METRICS.get(name), ItemFacts(np.ones(num_items, dtype=np.int64))

    def draw():
        items_UK = np.argsort(-(keys + rng.gumbel(size=(num_users, num_items))), axis=1)[:, :5]
        return TopLists(items_UK, np.zeros(items_UK.shape, bool), facts)

    expected = np.mean([metric.of_lists(draw()) for _ in range(num_samples)])
    covered = resampled = 0
    for _ in range(num_samples):
        lists = draw()
        values = measure_lists(lists, [name], 5).of_system[name]
        low, high = jackknife_interval(float(values[0]), values[1:], 0.95)
        covered += low <= expected <= high
        means = [metric.of_lists(lists.take(rng.integers(num_users, size=num_users))) for _ in range(20)]
        resampled += min(means) <= expected <= max(means)
    assert covered >= 0.9 * num_samples
    assert resampled <= 0.1 * num_samples
