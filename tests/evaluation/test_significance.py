"""Intervals and tests against SciPy, and against what they promise: their error rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from genrec.evaluation.significance import (
    bootstrap_interval,
    bootstrap_means,
    holm,
    paired_difference,
    wilcoxon_p,
)


def ndcg_like(rng: np.random.Generator, size: int, hits: float = 0.3) -> np.ndarray:
    return np.where(rng.random(size) < hits, 1 / np.log2(rng.integers(0, 10, size) + 2), 0.0)


@pytest.mark.parametrize("is_discrete", [True, False])
def test_interval_agrees_with_scipy(is_discrete):
    rng = np.random.default_rng(0)
    values = ndcg_like(rng, 500) if is_discrete else rng.normal(size=500)
    low, high = bootstrap_interval(values, samples=9_000, confidence=0.9, seed=1)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9_000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = expected.high - expected.low
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_resampled_means_have_the_mean_and_the_error_of_the_sample():
    values = ndcg_like(np.random.default_rng(0), 400)
    means = bootstrap_means(values, 20_000, seed=5)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / 20 / np.sqrt(20_000))
    assert means.std() == pytest.approx(values.std() / 20, rel=0.03)


def test_memory_chunks_cover_all_samples(monkeypatch):
    monkeypatch.setattr("genrec.evaluation.significance._CELLS_AT_ONCE", 64)
    values = np.random.default_rng(0).normal(size=50)
    means = bootstrap_means(values, 7, seed=5)
    assert means.shape == (7,)
    assert len(np.unique(means)) == 7


def test_equal_seeds_give_equal_numbers():
    values = ndcg_like(np.random.default_rng(0), 100)
    arguments = {"samples": 100, "confidence": 0.95}
    assert bootstrap_interval(values, seed=1, **arguments) == bootstrap_interval(values, seed=1, **arguments)
    assert bootstrap_interval(values, seed=1, **arguments) != bootstrap_interval(values, seed=2, **arguments)


def test_one_null_test_in_twenty_rejects_and_one_interval_in_twenty_misses():
    rng = np.random.default_rng(7)
    num_worlds, mean = 600, 0.0
    rejected = wilcoxon_rejected = missed = 0
    for seed in range(num_worlds):
        found = paired_difference(ndcg_like(rng, 150), ndcg_like(rng, 150), confidence=0.95, seed=seed, samples=400)
        rejected += found.p < 0.05
        wilcoxon_rejected += found.wilcoxon_p < 0.05
        missed += not found.low <= mean <= found.high
    # 5 % of 600 is 30, four standard errors are 21.
    for count in (rejected, wilcoxon_rejected, missed):
        assert 9 <= count <= 51


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    worse = ndcg_like(rng, 800, hits=0.2)
    better = np.maximum(worse, ndcg_like(rng, 800, hits=0.05))
    found = paired_difference(better, worse, confidence=0.95, seed=0)
    assert found.mean == pytest.approx((better - worse).mean())
    assert found.low > 0
    assert found.p < 0.001
    assert found.wilcoxon_p < 0.001
    mirrored = paired_difference(worse, better, confidence=0.95, seed=0)
    assert mirrored.mean == -found.mean
    assert mirrored.high < 0


def test_p_agrees_with_the_t_test_where_that_holds():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.08, 1, 1_000), rng.normal(0, 1, 1_000)
    expected = stats.ttest_rel(first, second).pvalue
    assert paired_difference(first, second, confidence=0.95, seed=0).p == pytest.approx(expected, abs=0.02)


def test_methods_that_agree_everywhere_are_not_significantly_different():
    values = ndcg_like(np.random.default_rng(0), 50)
    found = paired_difference(values, values.copy(), confidence=0.95, seed=0, samples=200)
    assert (found.mean, found.low, found.high, found.p, found.wilcoxon_p) == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_wilcoxon_is_scipys():
    rng = np.random.default_rng(1)
    first, second = ndcg_like(rng, 300), ndcg_like(rng, 300)
    assert wilcoxon_p(first - second) == pytest.approx(stats.wilcoxon(first, second, zero_method="wilcox").pvalue)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    for p, better in zip(p_values, corrected, strict=True):
        assert p <= better <= min(1.0, p * len(p_values)) + 1e-12
    assert all(
        corrected[i] <= corrected[j]
        for i in range(len(p_values))
        for j in range(len(p_values))
        if p_values[i] < p_values[j]
    )


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="same users"):
        paired_difference(np.zeros(3), np.zeros(4), confidence=0.95, seed=0)
    with pytest.raises(ValueError, match="no user"):
        bootstrap_means(np.zeros(0), 10, seed=0)
