"""Statistics of a comparison: seeds averaged first, tests of all pairs, letters, slices."""

import string
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from genrec.comparison.results import ComparisonRow, Pair
from genrec.comparison.statistics import (
    cells,
    letters,
    main_cutoff,
    methods_of,
    pairs,
    pairs_with,
    slices,
    statistics_of,
)
from genrec.datasets.showroom import Showroom
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import bootstrap_interval, paired_difference
from genrec.types import ABSENT

SETTINGS = EvaluationSettings(cutoffs=(5, 10), bootstrap_samples=2_000)


def ranks(rng, seeds, users, shift=0.0):
    found = np.floor(np.exp(rng.normal(2.2 - shift, 1.3, (seeds, users))))
    return np.where(found < 10, found, ABSENT).astype(np.int32)


def row(name, ranks_SU, kind="variant", seeds=None):
    return ComparisonRow(name, kind, {}, tuple(range(1, len(ranks_SU) + 1)) if seeds is None else seeds, ranks_SU)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return [
        row("good", ranks(rng, 3, 400, shift=0.8)),
        row("same", ranks(rng, 3, 400)),
        row("failed", np.zeros((0, 0), np.int32)),
        row("also same", ranks(rng, 2, 400), seeds=(2, 3)),
        row("stream", ranks(rng, 3, 400), kind="stream"),
        row("oracle", ranks(rng, 3, 400, shift=1), kind="oracle"),
        row("baseline", ranks(rng, 1, 400, shift=-1), kind="baseline"),
    ]


def test_cells_of_all_rows_with_a_result(rows):
    found = cells(rows, SETTINGS)
    assert list(found) == ["good", "same", "also same", "stream", "oracle", "baseline"]
    for one in rows:
        for metric in SETTINGS.metrics if one.seeds else ():
            for cutoff in (5, 10):
                cell, values_SU = found[one.name][metric][cutoff], METRICS.get(metric)(one.ranks_SU, cutoff)
                assert cell.mean == pytest.approx(values_SU.mean())
                if len(one.seeds) == 1:
                    assert cell.std is None
                else:
                    assert cell.std == pytest.approx(np.std(values_SU.mean(axis=1), ddof=1))
                expected = bootstrap_interval(values_SU.mean(axis=0), samples=8_000, confidence=0.95, seed=0)
                assert (cell.low, cell.high) == pytest.approx(expected, abs=0.08 * (expected[1] - expected[0]))


def test_cells_of_nothing():
    assert cells([], SETTINGS) == {}
    assert cells([row("failed", np.zeros((0, 0), np.int32))], SETTINGS) == {}


def test_pairs_are_all_methods_in_all_metrics_corrected_together(rows):
    found = pairs(rows, 10, SETTINGS.metrics, confidence=0.95)
    names = ["good", "same", "also same", "baseline"]
    assert [one.name for one in methods_of(rows)] == names
    assert {(test.metric, test.first, test.second) for test in found} == {
        (metric, *pair) for metric in SETTINGS.metrics for pair in combinations(names, 2)
    }
    for given_p, corrected in (("p", "p_holm"), ("wilcoxon_p", "wilcoxon_p_holm")):
        expected = multipletests([getattr(test, given_p) for test in found], method="holm")[1]
        assert [getattr(test, corrected) for test in found] == pytest.approx(expected.tolist(), abs=1e-12)
    verdicts = {(test.first, test.second): test.verdict for test in found if test.metric == "ndcg"}
    assert verdicts["good", "same"] == verdicts["good", "baseline"] == verdicts["same", "baseline"] == "better"
    assert verdicts["same", "also same"] == "not significantly different"


def test_one_row_against_others_is_corrected_for_its_own_tests_alone(rows):
    by_name = {one.name: one for one in rows}
    whole = {
        (test.metric, test.first, test.second): test for test in pairs(rows, 10, SETTINGS.metrics, confidence=0.95)
    }
    found = pairs_with(by_name["good"], [by_name["same"], by_name["baseline"]], 10, SETTINGS.metrics, confidence=0.95)
    assert [(test.metric, test.second) for test in found] == [
        (m, name) for m in SETTINGS.metrics for name in ("same", "baseline")
    ]
    for test in found:
        same = whole[test.metric, "good", test.second]
        assert (test.difference, test.seeds_agree) == (pytest.approx(same.difference, abs=1e-12), same.seeds_agree)
    expected = multipletests([test.p for test in found], method="holm")[1]
    assert [test.p_holm for test in found] == pytest.approx(expected.tolist(), abs=1e-12)
    assert pairs_with(by_name["good"], [], 10, SETTINGS.metrics, confidence=0.95) == []


def test_pairs_average_seeds_first(rows):
    """The test is over users, not over users and seeds: else three seeds would count every user three times."""
    by_name = {one.name: one for one in rows}
    for test in pairs(rows, 10, SETTINGS.metrics, confidence=0.95):
        one, two = (by_name[name].values_SU(test.metric, 10).mean(axis=0) for name in (test.first, test.second))
        expected = paired_difference(one, two, confidence=0.95, seed=3)
        assert test.difference == pytest.approx(expected.mean, abs=1e-12)
        width = expected.high - expected.low
        assert (test.low, test.high) == pytest.approx((expected.low, expected.high), abs=0.05 * width)
        assert test.p == pytest.approx(expected.p, abs=0.02)


def test_more_seeds_of_the_same_ranks_tell_nothing_new():
    rng = np.random.default_rng(2)
    one, two = ranks(rng, 1, 300, shift=0.15), ranks(rng, 1, 300)
    [*_, once] = pairs([row("a", one), row("b", two)], 10, SETTINGS.metrics, confidence=0.95)
    [*_, often] = pairs(
        [row("a", np.repeat(one, 5, 0)), row("b", np.repeat(two, 5, 0))], 10, SETTINGS.metrics, confidence=0.95
    )
    assert 0 < once.p < 1
    assert (often.p, often.wilcoxon_p) == pytest.approx((once.p, once.wilcoxon_p))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_without_a_difference_seeds_averaged_first_reject_one_time_in_twenty():
    rng = np.random.default_rng(11)
    rejected = family = 0
    for _ in range(120):
        easy_U = rng.normal(0, 1, 200)
        methods = []
        for name in "abc":
            found = np.floor(np.exp(rng.normal(2.2, 0.8, (3, 200)) + easy_U))
            methods.append(row(name, np.where(found < 10, found, ABSENT).astype(np.int32)))
        tests = pairs(methods, 10, SETTINGS.metrics, confidence=0.95, samples=500)
        rejected += tests[-1].p < 0.05
        family += any(test.verdict != "not significantly different" for test in tests)
    low, high = stats.binom(120, 0.05).ppf([0.0005, 0.9995])
    assert low <= rejected <= high
    assert family <= high


def test_how_many_seeds_agree():
    hit, miss = np.zeros(40, np.int32), np.full(40, ABSENT, np.int32)
    half = np.where(np.arange(40) < 20, 0, ABSENT).astype(np.int32)

    def agreement(*methods):
        test = pairs(list(methods), 10, SETTINGS.metrics, confidence=0.95, samples=50)[-1]
        return test.seeds_agree, test.seeds_shared

    assert agreement(row("a", np.stack([hit, hit, miss])), row("b", np.stack([half, half, half]))) == (2, 3)
    assert agreement(row("a", np.stack([hit, hit]), seeds=(1, 2)), row("b", half[None], seeds=(2,))) == (1, 1)
    assert agreement(row("a", hit[None], seeds=(1,)), row("b", half[None], seeds=(2,))) == (None, 0)
    # What has no randomness is the same under every seed.
    baseline = row("b", half[None], kind="baseline", seeds=(1,))
    assert agreement(row("a", np.stack([hit, miss, hit])), baseline) == (2, 3)


def test_one_method_alone_is_not_tested(rows):
    assert pairs(rows[:1], 10, SETTINGS.metrics, confidence=0.95) == []
    assert letters({"good": 0.3}, []) == {"good": "a"}
    assert letters({}, []) == {}


def made_tests(names, alike):
    """One test for each pair; those in ``alike`` are not significantly different."""
    made = []
    for first, second in combinations(names, 2):
        p = 1.0 if frozenset((first, second)) in alike else 0.001
        made.append(Pair(first, second, "ndcg", 10, 0.1, 0.0, 0.2, p, p, p, p, None, 0))
    return made


def test_letters_by_hand():
    """Piepho's situation: neighbors overlap, the ends are different."""
    means = {"low": 0.1, "top": 0.4, "middle": 0.3, "next": 0.2, "other": 0.0}
    alike = {frozenset(pair) for pair in (("top", "middle"), ("middle", "next"), ("next", "low"))}
    assert letters(means, made_tests(means, alike)) == {
        "top": "a",
        "middle": "ab",
        "next": "bc",
        "low": "c",
        "other": "d",
    }
    every = {frozenset(pair) for pair in combinations(means, 2)}
    assert set(letters(means, made_tests(means, every)).values()) == {"a"}
    assert letters(means, made_tests(means, set())) == dict(zip(sorted(means, key=means.get), "edcba", strict=True))


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_rows_share_a_letter_if_and_only_if_they_are_not_different(size, random):
    means = {f"row {number}": random.random() for number in range(size)}
    alike = {frozenset(pair) for pair in combinations(means, 2) if random.random() < 0.5}
    found = letters(means, made_tests(means, alike))
    assert list(found) == list(means)
    for first, second in combinations(means, 2):
        assert bool(set(found[first]) & set(found[second])) == (frozenset((first, second)) in alike)
    assert all(found.values())
    assert all(len(set(own)) == len(own) for own in found.values())
    assert "a" in found[max(means, key=means.get)]


def test_more_groups_than_the_alphabet_has_letters():
    names = [f"row {number:03}" for number in range(90)]
    found = letters({name: -number for number, name in enumerate(names)}, made_tests(names, set()))
    assert len(set(found.values())) == 90
    assert all(len(letter) == 1 for letter in found.values())
    assert [found[name] for name in names[:26]] == list(string.ascii_lowercase)


def test_main_cutoff():
    assert main_cutoff((20, 5, 10)) == 10
    assert main_cutoff((50, 1, 5)) == 5
    assert main_cutoff((3,)) == 3


@pytest.fixture(scope="module")
def shop():
    return Showroom(items=80, users=200).load(None)


def test_slices_are_the_metrics_of_their_users(shop):
    rng = np.random.default_rng(0)
    users = len(shop.test)
    methods = [row("a", ranks(rng, 2, users)), row("b", ranks(rng, 1, users), kind="stream")]
    found = slices(methods, shop.test, shop, 5, SETTINGS)
    for axis in ("history length", "target popularity", "memorization"):
        parts = [part for part in found if part.axis == axis]
        assert sum(part.users for part in parts) == users
        assert len(parts) > 1
        for one in methods:
            for metric in SETTINGS.metrics:
                mean = sum(part.users * part.cells[one.name][metric].mean for part in parts) / users
                assert mean == pytest.approx(METRICS.get(metric)(one.ranks_SU, 5).mean())
                assert all((part.cells[one.name][metric].std is None) == (len(one.seeds) == 1) for part in parts)


def test_everything_together(shop):
    rng = np.random.default_rng(1)
    users = len(shop.valid)
    methods = [row("a", ranks(rng, 2, users, shift=1)), row("b", ranks(rng, 2, users)), row("s", ranks(rng, 2, users))]
    methods[2] = replace(methods[2], kind="stream")
    found = statistics_of(methods, shop.valid, shop, SETTINGS)
    assert found["cutoff"] == 10
    assert set(found["cells"]) == {"a", "b", "s"}
    assert found["metrics"] == SETTINGS.metrics
    assert found["letters"] == {metric: {"a": "a", "b": "b"} for metric in SETTINGS.metrics}
    popularity_U = np.array([np.count_nonzero(shop.train.items == target) for target in shop.valid.targets])
    assert np.array_equal(found["target_popularity_U"], popularity_U)
    again = statistics_of(methods, shop.valid, shop, SETTINGS)
    assert again["pairs"] == found["pairs"]
    assert again["cells"] == found["cells"]
