"""Many methods over the same resamples: against SciPy and statsmodels, and against what the tests promise."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from genrec.evaluation.significance import (
    MAX_SAMPLES,
    SAMPLES,
    bootstrap_means,
    bootstrap_means_together,
    holm,
    paired_difference,
    paired_differences,
    percentile_interval,
    samples_for,
)


def ndcg_like(rng, users, methods, hits=0.3, common=0.7):
    """NDCG@10 of methods of equal quality that find much the same targets, (users, methods)."""
    is_easy = rng.random(users) < hits
    own = rng.random((users, methods)) < hits
    found = np.where(rng.random((users, methods)) < common, is_easy[:, None], own)
    return np.where(found, 1 / np.log2(rng.integers(0, 10, (users, methods)) + 2), 0.0)


def all_pairs(methods):
    return [(first, second) for first in range(methods) for second in range(first + 1, methods)]


def test_each_method_is_resampled_as_if_it_were_alone():
    values_UV = ndcg_like(np.random.default_rng(0), 400, 3)
    together = bootstrap_means_together(values_UV, 20_000, seed=5)
    assert together.shape == (20_000, 3)
    for column, value_U in enumerate(values_UV.T):
        alone = bootstrap_means(value_U, 20_000, seed=6)
        error = value_U.std() / np.sqrt(400)
        assert together[:, column].mean() == pytest.approx(value_U.mean(), abs=4 * error / np.sqrt(20_000))
        assert together[:, column].std() == pytest.approx(error, rel=0.03)
        shares = [0.025, 0.5, 0.975]
        assert np.quantile(together[:, column], shares) == pytest.approx(np.quantile(alone, shares), abs=0.1 * error)


def test_methods_share_their_resamples():
    values_UV = ndcg_like(np.random.default_rng(1), 300, 2)
    means_NV = bootstrap_means_together(values_UV, 4_000, seed=0)
    expected = np.corrcoef(values_UV.T)[0, 1]
    assert expected > 0.2
    assert np.corrcoef(means_NV.T)[0, 1] == pytest.approx(expected, abs=0.05)


def test_users_for_whom_no_method_finds_the_target_count():
    """The shortcut that leaves them out has the same distribution as drawing them."""
    values_UV = np.concatenate([np.ones((30, 1)), np.zeros((170, 1))])
    means = bootstrap_means_together(values_UV, 20_000, seed=0)[:, 0]
    exact = stats.binom(200, 0.15)
    counts = np.bincount(np.round(means * 200).astype(int), minlength=201)
    assert counts[20:41] / 20_000 == pytest.approx(exact.pmf(np.arange(20, 41)), abs=0.01)


@pytest.mark.parametrize("values", [np.zeros((20, 2)), np.ones((20, 2))])
def test_values_that_are_all_alike_have_no_spread(values):
    assert np.array_equal(bootstrap_means_together(values, 50, seed=0), np.tile(values[0], (50, 1)))


def test_interval_agrees_with_scipy():
    value_U = ndcg_like(np.random.default_rng(0), 500, 1)
    found = percentile_interval(bootstrap_means_together(value_U, 9_000, seed=1)[:, 0], 0.9)
    expected = stats.bootstrap(
        (value_U[:, 0],), np.mean, n_resamples=9_000, confidence_level=0.9, method="percentile", rng=2
    ).confidence_interval
    width = expected.high - expected.low
    assert found == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_p_values_and_intervals_are_those_of_the_single_test():
    values_UV = ndcg_like(np.random.default_rng(3), 400, 3)
    values_UV[:, 2] *= 0.9
    for (first, second), found in zip(
        all_pairs(3), paired_differences(values_UV, all_pairs(3), confidence=0.95, seed=1), strict=True
    ):
        expected = paired_difference(values_UV[:, first], values_UV[:, second], confidence=0.95, seed=2)
        width = expected.high - expected.low
        assert found.mean == pytest.approx(expected.mean, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.04 * width)
        assert found.p == pytest.approx(expected.p, abs=0.02)
        assert found.wilcoxon_p == pytest.approx(expected.wilcoxon_p, rel=1e-6)


@pytest.mark.parametrize("gain", [0.0, 0.012, 0.03])
def test_p_agrees_with_scipys_paired_permutation_test(gain):
    rng = np.random.default_rng(8)
    values_UV = ndcg_like(rng, 600, 2)
    values_UV[:, 0] += gain * (rng.random(600) < 0.5)
    [found] = paired_differences(values_UV, [(0, 1)], confidence=0.95, seed=1)
    difference_U = values_UV[:, 0] - values_UV[:, 1]
    expected = stats.permutation_test(
        (difference_U,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        batch=500,
        rng=3,
    )
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)


def test_wilcoxon_is_scipys_also_of_means_over_seeds():
    rng = np.random.default_rng(1)
    seeds_SUV = np.stack([ndcg_like(rng, 300, 2) for _ in range(3)])
    equal_U = rng.random(300) < 0.3  # the same three values in another order: equal but for the last bits
    seeds_SUV[:, equal_U, 1] = np.roll(seeds_SUV[:, equal_U, 0], 1, axis=0)
    values_UV = seeds_SUV.mean(axis=0)
    [found] = paired_differences(values_UV, [(0, 1)], confidence=0.95, seed=0, samples=10)
    exact = np.where(equal_U, 0.0, np.round(values_UV[:, 0] - values_UV[:, 1], 12))
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(exact, zero_method="wilcox").pvalue)


def test_methods_that_agree_everywhere_are_not_significantly_different():
    value_U = ndcg_like(np.random.default_rng(0), 50, 1)
    [found] = paired_differences(np.hstack([value_U, value_U]), [(0, 1)], confidence=0.95, seed=0, samples=200)
    assert (found.mean, found.p, found.wilcoxon_p) == (0.0, 1.0, 1.0)
    assert (found.low, found.high) == pytest.approx((0.0, 0.0), abs=1e-15)


def test_more_resamples_than_the_intervals_use_refine_p_alone():
    values_UV = ndcg_like(np.random.default_rng(0), 100, 2)
    [few] = paired_differences(values_UV, [(0, 1)], confidence=0.95, seed=0, samples=SAMPLES)
    [many] = paired_differences(values_UV, [(0, 1)], confidence=0.95, seed=0, samples=SAMPLES + 3_000)
    assert many.p == pytest.approx(few.p, abs=0.02)
    assert many.p * (SAMPLES + 3_001) == pytest.approx(round(many.p * (SAMPLES + 3_001)))
    assert (many.low, many.high) == pytest.approx((few.low, few.high), abs=0.002)


def test_equal_seeds_give_equal_numbers_and_parts_cover_all_samples(monkeypatch):
    values_UV = ndcg_like(np.random.default_rng(0), 60, 3)
    whole = bootstrap_means_together(values_UV, 37, seed=1)
    assert np.array_equal(whole, bootstrap_means_together(values_UV, 37, seed=1))
    assert not np.array_equal(whole, bootstrap_means_together(values_UV, 37, seed=2))
    monkeypatch.setattr("genrec.evaluation.significance._CELLS_AT_ONCE", 100)
    assert bootstrap_means_together(values_UV, 37, seed=1) == pytest.approx(whole, abs=1e-12)


def test_no_users_cannot_be_resampled():
    with pytest.raises(ValueError, match="no user"):
        bootstrap_means_together(np.zeros((0, 2)), 10, seed=0)


def test_enough_resamples_for_holm_to_reject():
    for tests in (1, 90, 600, 5_000):
        assert tests / (samples_for(tests) + 1) <= 0.011
    assert samples_for(1) == SAMPLES
    assert samples_for(10**9) == MAX_SAMPLES


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p_values = np.round(rng.random(40) ** 3, 2 + seed)
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-15)


class Rates:
    """What 400 comparisons of three equally good methods over 500 users find; every null hypothesis is true."""

    worlds, methods, users = 400, 3, 500

    def __init__(self):
        rng = np.random.default_rng(2024)
        pairs = all_pairs(self.methods)
        self.p_WP = np.zeros((self.worlds, len(pairs)))
        self.wilcoxon_WP, self.is_missed_WP = np.zeros_like(self.p_WP), np.zeros(self.p_WP.shape, dtype=bool)
        for world in range(self.worlds):
            values_UV = ndcg_like(rng, self.users, self.methods)
            found = paired_differences(values_UV, pairs, confidence=0.95, seed=world, samples=500)
            self.p_WP[world] = [difference.p for difference in found]
            self.wilcoxon_WP[world] = [difference.wilcoxon_p for difference in found]
            self.is_missed_WP[world] = [not difference.low <= 0 <= difference.high for difference in found]


@pytest.fixture(scope="module")
def rates():
    return Rates()


@pytest.mark.slow
def test_without_a_difference_one_test_in_twenty_rejects(rates):
    # One pair of each world: 400 independent tests, 99.9 % of whose counts lie between 8 and 36.
    low, high = stats.binom(rates.worlds, 0.05).ppf([0.0005, 0.9995])
    for rejected_W in (rates.p_WP[:, 0] < 0.05, rates.wilcoxon_WP[:, 0] < 0.05, rates.is_missed_WP[:, 0]):
        assert low <= np.count_nonzero(rejected_W) <= high
    # All pairs: three times as many tests, dependent inside a world.
    for rejected_WP in (rates.p_WP < 0.05, rates.wilcoxon_WP < 0.05, rates.is_missed_WP):
        assert rejected_WP.mean() == pytest.approx(0.05, abs=0.02)


@pytest.mark.slow
def test_p_values_without_a_difference_are_uniform(rates):
    assert stats.kstest(rates.p_WP[:, 0], "uniform").pvalue > 0.001
    assert stats.kstest(rates.wilcoxon_WP[:, 1], "uniform").pvalue > 0.001


@pytest.mark.slow
def test_holm_keeps_the_chance_of_any_false_alarm_below_one_in_twenty(rates):
    most = stats.binom(rates.worlds, 0.05).ppf(0.9995)
    for p_WP in (rates.p_WP, rates.wilcoxon_WP):
        uncorrected = np.count_nonzero((p_WP < 0.05).any(axis=1))
        corrected = sum(min(holm(p_P.tolist())) < 0.05 for p_P in p_WP)
        assert corrected <= most < uncorrected


def test_a_difference_is_found_among_many_tests():
    """2,000 users, four equal methods, one more that finds 6 % of what it missed: the tests nearly always find it."""
    rng = np.random.default_rng(5)
    found = false_alarms = 0
    for world in range(20):
        values_UV = ndcg_like(rng, 2_000, 5)
        values_UV[:, 0] = np.where((values_UV[:, 0] == 0) & (rng.random(2_000) < 0.06), 1.0, values_UV[:, 0])
        differences = paired_differences(values_UV, all_pairs(5), confidence=0.95, seed=world, samples=2_000)
        corrected = np.array(holm([difference.p for difference in differences]))
        found += np.all(corrected[:4] < 0.05)
        false_alarms += np.any(corrected[4:] < 0.05)
    assert found >= 18
    assert false_alarms <= stats.binom(20, 0.05).ppf(0.9995)
