"""Confidence intervals of means over users and tests of differences: bootstrap over users, Student, Wilcoxon, Holm.

Only users are resampled: neither intervals nor p-values cover the variance between training seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "worse", "higher", "lower", "not significantly different"]
NOT_SIGNIFICANT: Literal["not significantly different"] = "not significantly different"
LEVEL = 0.05
"""A difference is significant if its Holm-corrected p-value is below this level."""

SAMPLES = 10_000
"""Resamples of a test: p-values are multiples of 1/10,001."""
MAX_SAMPLES = 1_000_000
"""Maximum for any number of tests: minutes of work."""
_SAMPLES_PER_TEST = 100
_CELLS_AT_ONCE = 4_000_000
"""Weights in memory at a time: 32 MB."""
_ROUNDING = 1e-12
"""Margin for sums of the same values in another order, which differ in their last bits."""


def bootstrap_means(values_U: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of resamples of the users with replacement, float64 (samples,).

    Users with the same value are drawn together: the counts of distinct values in a resample are multinomial. The
    distribution is the same and, as ranks take few values, the work is hundreds of times less.
    """
    if len(values_U) == 0:
        raise ValueError("no users to resample")
    values_V, counts_V = np.unique(values_U, return_counts=True)
    rng = np.random.default_rng(seed)
    means = [
        rng.multinomial(len(values_U), counts_V / len(values_U), size=size) @ values_V / len(values_U)
        for size in _sizes(samples, max(1, _CELLS_AT_ONCE // len(values_V)))
    ]
    return np.concatenate(means)


def bootstrap_means_together(values_UV: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of several methods over the same resamples of the users, float64 (samples, V).

    Args:
        values_UV: a metric of each user under each method.
        samples: resamples of the users with replacement.
        seed: of the resamples.
    """
    return np.concatenate(list(_resampled_means(values_UV, samples, seed, _CELLS_AT_ONCE)))


def _resampled_means(values_UV: np.ndarray, samples: int, seed: int, largest: int) -> Iterator[np.ndarray]:
    """Parts (N, V) of the means, N at most ``largest``.

    Users for whom every method has 0 (most users if targets are rarely found) add nothing to any sum: only the number
    drawn matters, which is binomial.
    """
    num_users = len(values_UV)
    if num_users == 0:
        raise ValueError("no users to resample")
    nonzero_DV = values_UV[np.any(values_UV != 0, axis=1)]
    num_nonzero = len(nonzero_DV)
    rng = np.random.default_rng(seed)
    drawn_N = rng.binomial(num_users, num_nonzero / num_users, size=samples)
    start = 0
    for size in _sizes(samples, max(1, min(largest, _CELLS_AT_ONCE // max(1, num_nonzero)))):
        counts_ND = np.zeros((size, num_nonzero))
        for counts_D, drawn in zip(counts_ND, drawn_N[start : start + size], strict=True):
            if drawn:
                counts_D[:] = np.bincount(rng.integers(num_nonzero, size=drawn), minlength=num_nonzero)
        yield counts_ND @ nonzero_DV / num_users
        start += size


def _sizes(total: int, largest: int) -> Iterator[int]:
    for start in range(0, total, largest):
        yield min(largest, total - start)


def bootstrap_interval(values_U: np.ndarray, *, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over users (Efron and Tibshirani 1993, ch. 13).

    Args:
        values_U: a metric of each user.
        samples: resamples of the users.
        confidence: coverage, between 0 and 1.
        seed: of the resamples.
    """
    return percentile_interval(bootstrap_means(values_U, samples, seed), confidence)


def percentile_interval(means: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central interval of resampled means."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """The mean of one method minus that of another over the same users."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided p-value of the hypothesis that both means are equal; paired bootstrap."""
    wilcoxon_p: float
    """Two-sided p-value of Wilcoxon's signed-rank test over users, which uses ranks of differences, not sizes."""


def paired_difference(
    first_U: np.ndarray, second_U: np.ndarray, *, confidence: float, seed: int, samples: int = SAMPLES
) -> Difference:
    """Compare two methods user by user.

    The p-value is the share of resamples whose difference deviates from the observed one by at least as much as the
    observed one deviates from 0 (shift method; Noreen 1989). The observed one counts as a resample, so p is never 0.

    Args:
        first_U: a metric of each user under the first method.
        second_U: the same metric of the same users, in the same order, under the second.
        confidence: coverage of the interval.
        seed: of the resamples.
        samples: resamples of the users.
    """
    if first_U.shape != second_U.shape:
        raise ValueError(f"paired values must be of the same users: {first_U.shape} and {second_U.shape}")
    difference_U = first_U - second_U
    observed = float(difference_U.mean())
    means = bootstrap_means(difference_U, samples, seed)
    low, high = percentile_interval(means, confidence)
    p = (1 + np.count_nonzero(_departs(means, observed))) / (samples + 1)
    return Difference(observed, low, high, float(p), wilcoxon_p(difference_U))


def paired_differences(
    values_UV: np.ndarray, pairs: Sequence[tuple[int, int]], *, confidence: float, seed: int, samples: int = SAMPLES
) -> list[Difference]:
    """:func:`paired_difference` of many pairs of methods, all over the same resamples of the users.

    Args:
        values_UV: a metric of each user under each method.
        pairs: columns of it; the first minus the second.
        confidence: coverage of the intervals, which are those of the first ``SAMPLES`` resamples.
        seed: of the resamples.
        samples: resamples of the users; see :func:`samples_for`.
    """
    first_P, second_P = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    mean_V = values_UV.mean(axis=0)
    observed_P = mean_V[first_P] - mean_V[second_P]
    departing_P = np.zeros(len(pairs), dtype=np.int64)
    stored, num_stored = [], 0
    for means_NV in _resampled_means(values_UV, samples, seed, max(1, _CELLS_AT_ONCE // max(1, len(pairs)))):
        departing_P += np.count_nonzero(_departs(means_NV[:, first_P] - means_NV[:, second_P], observed_P), axis=0)
        if num_stored < SAMPLES:
            stored.append(means_NV[: SAMPLES - num_stored])
            num_stored += len(stored[-1])
    means_NV = np.concatenate(stored)
    found = []
    for place, (first, second) in enumerate(pairs):
        low, high = percentile_interval(means_NV[:, first] - means_NV[:, second], confidence)
        p = float(1 + departing_P[place]) / (samples + 1)
        # Equal means over seeds can differ in their last bits; Wilcoxon needs exact zeros and ties.
        difference_U = np.round(values_UV[:, first] - values_UV[:, second], 12)
        found.append(Difference(float(observed_P[place]), low, high, p, wilcoxon_p(difference_U)))
    return found


def samples_for(num_tests: int) -> int:
    """Number of resamples with which Holm's correction for this many tests can still reject.

    No p-value is below 1 / (resamples + 1), and Holm multiplies the smallest by the number of tests: with 100 resamples
    a test the product can fall to 0.01.
    """
    return min(max(SAMPLES, _SAMPLES_PER_TEST * num_tests), MAX_SAMPLES)


def _departs(means: np.ndarray, observed: float | np.ndarray) -> np.ndarray:
    """Whether a resampled mean is at least as far from the observed one as that is from 0."""
    return np.abs(means - observed) >= np.abs(observed) - _ROUNDING


def wilcoxon_p(difference_U: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test without users of difference 0; 1 if all are 0."""
    from scipy import stats

    nonzero = difference_U[difference_U != 0]
    if len(nonzero) == 0:
        return 1.0
    return float(np.asarray(stats.wilcoxon(nonzero))[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-corrected p-values, which control the family-wise error rate (Holm 1979)."""
    p_N = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_N, kind="stable")
    stepped = np.maximum.accumulate(p_N[order] * np.arange(len(p_N), 0, -1))
    corrected = np.empty_like(p_N)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def verdict(p_holm: float, merit: float, *, has_direction: bool = True) -> Verdict:
    """The verdict on the first method of a pair.

    Args:
        p_holm: corrected p-value of the difference.
        merit: the difference, positive if the first method is better.
        has_direction: whether a higher or a lower value is better; otherwise the first is higher or lower.
    """
    if p_holm >= LEVEL:
        return NOT_SIGNIFICANT
    if not has_direction:
        return "higher" if merit > 0 else "lower"
    return "better" if merit > 0 else "worse"


def t_interval(values_U: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's interval of the mean over users, for values that differ from user to user.

    Such values (novelty, distances) would make each resample of a bootstrap as expensive as the users are many, and
    their mean over many users is as good as normal. With one user: its value twice.
    """
    mean, half = float(values_U.mean()), 0.0
    if len(values_U) > 1:
        half = _t_quantile(confidence, len(values_U) - 1) * float(values_U.std(ddof=1)) / len(values_U) ** 0.5
    return mean - half, mean + half


def paired_t(first_U: np.ndarray, second_U: np.ndarray, confidence: float) -> Difference:
    """:func:`paired_difference` by Student's t-test, for values that differ from user to user.

    Args:
        first_U: a metric of each user under the first method.
        second_U: the same metric of the same users, in the same order, under the second.
        confidence: coverage of the interval.
    """
    from scipy import stats

    if first_U.shape != second_U.shape:
        raise ValueError(f"paired values must be of the same users: {first_U.shape} and {second_U.shape}")
    difference_U = np.round(first_U.astype(np.float64) - second_U, 12)  # as for Wilcoxon, which needs exact zeros
    mean, low, high = float(difference_U.mean()), *t_interval(difference_U, confidence)
    error = float(difference_U.std(ddof=1)) / len(difference_U) ** 0.5 if len(difference_U) > 1 else 0.0
    if error > 0:
        p = float(2 * stats.t.sf(abs(mean) / error, len(difference_U) - 1))
    else:
        p = 0.0 if mean and len(difference_U) > 1 else 1.0
    return Difference(mean, low, high, p, wilcoxon_p(difference_U))


def jackknife_interval(value: float, without_G: np.ndarray, confidence: float) -> tuple[float, float]:
    """Interval of a number that belongs to all users together: jackknife over groups of users (Shao and Tu 1995).

    A resample with replacement has about 63 % of the users: it covers fewer items, and its values lie beside the value
    of all users. A group of users that is left out changes little, and the variance over groups is not too small on
    average (Efron and Stein 1981).

    Args:
        value: of all users.
        without_G: the values without each of G groups of equal size.
        confidence: coverage of the interval.
    """
    count = len(without_G)
    if count < 2:
        return value, value
    error = float(np.sqrt((count - 1) / count * np.square(without_G - without_G.mean()).sum()))
    half = _t_quantile(confidence, count - 1) * error
    return value - half, value + half


def _t_quantile(confidence: float, freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf((1.0 + confidence) / 2.0, freedom))
