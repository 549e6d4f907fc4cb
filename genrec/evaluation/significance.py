"""How sure a mean over users is, and whether two methods differ: bootstrap over users, Wilcoxon, Holm.

Users are resampled, nothing else: neither intervals nor p-values speak of the noise between training seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SAMPLES = 10_000
"""Resamples of a test: p-values are steps of 1/10,001."""
_CELLS_AT_ONCE = 4_000_000
"""Weights in memory together: 32 MB."""


def bootstrap_means(values_U: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of resamples of the users with replacement, float64 (samples,).

    Users with the same value are drawn together: how often each distinct value occurs in a resample is multinomial,
    which is the same distribution and, as ranks take few values, hundreds of times less work.
    """
    if len(values_U) == 0:
        raise ValueError("there is no user to resample")
    values_V, counts_V = np.unique(values_U, return_counts=True)
    rng = np.random.default_rng(seed)
    means = [
        rng.multinomial(len(values_U), counts_V / len(values_U), size=size) @ values_V / len(values_U)
        for size in _sizes(samples, max(1, _CELLS_AT_ONCE // len(values_V)))
    ]
    return np.concatenate(means)


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
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(bootstrap_means(values_U, samples, seed), [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """The mean of one method less that of another over the same users."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided, of the hypothesis that both means are equal; paired bootstrap."""
    wilcoxon_p: float
    """Two-sided, Wilcoxon signed-rank over users: a second opinion that looks at order and not at size."""


def paired_difference(
    first_U: np.ndarray, second_U: np.ndarray, *, confidence: float, seed: int, samples: int = SAMPLES
) -> Difference:
    """Compare two methods user by user.

    The p-value is the share of resamples in which the difference departs from the observed one by at least as much as
    the observed one departs from 0 (shift method; Noreen 1989), the observed one counted in, so it is never 0.

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
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    # Sums of the same values in another order differ in their last bits; without the margin equal would be "less".
    as_far = np.abs(means - observed) >= abs(observed) - 1e-12
    p = (1 + np.count_nonzero(as_far)) / (samples + 1)
    return Difference(observed, float(low), float(high), float(p), wilcoxon_p(difference_U))


def wilcoxon_p(difference_U: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; users without a difference are left out, 1 if none has one."""
    nonzero = difference_U[difference_U != 0]
    if len(nonzero) == 0:
        return 1.0
    return float(np.asarray(stats.wilcoxon(nonzero))[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, so that the chance of any false alarm stays below the level (Holm 1979)."""
    p_N = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_N, kind="stable")
    stepped = np.maximum.accumulate(p_N[order] * np.arange(len(p_N), 0, -1))
    corrected = np.empty_like(p_N)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()
