"""Conditional logit: which one of a user's candidates, explained by a weighted sum of their features."""

import numpy as np


def fit_conditional_logit(
    features_UCF: np.ndarray, is_item_UC: np.ndarray, chosen_U: np.ndarray, prior_F: np.ndarray, l2: float
) -> np.ndarray:
    """Weights b that maximize sum_u log softmax_c(b . x_uc)[chosen_u] - l2 / 2 * |(b - prior) * scale|^2.

    What is the same for all candidates of a user cancels, so there is no intercept, and nothing is sampled: every
    candidate that was not chosen counts (McFadden 1974; as a loss for ranking, ListNet's with one relevant item).

    Args:
        features_UCF: float64; any finite number where there is no item.
        is_item_UC: which of the C places hold a candidate.
        chosen_U: the place of the one that was chosen.
        prior_F: the weights that the penalty shrinks to; too few users leave them there.
        l2: strength of the penalty, in users' log-likelihood for a deviation of 1 / scale, where scale is the feature's
            standard deviation within a user.

    Returns:
        weights_F float64.
    """
    users = np.arange(len(chosen_U))
    counts_U1 = np.maximum(is_item_UC.sum(axis=1, keepdims=True), 1)
    x_UCF = np.where(is_item_UC[:, :, None], features_UCF, 0.0)
    x_UCF -= x_UCF.sum(axis=1, keepdims=True) / counts_U1[:, :, None]
    x_UCF[~is_item_UC] = 0.0
    scale_F = np.sqrt((x_UCF**2).sum(axis=(0, 1)) / max(int(is_item_UC.sum()), 1))
    scale_F[scale_F < 1e-9] = 1.0
    x_UCF /= scale_F
    start_F = prior_F * scale_F
    observed_F = x_UCF[users, chosen_U].sum(axis=0)

    def loss(weights_F: np.ndarray) -> tuple[float, np.ndarray]:
        scores_UC = np.where(is_item_UC, x_UCF @ weights_F, -np.inf)
        scores_UC -= scores_UC.max(axis=1, keepdims=True)
        shares_UC = np.exp(scores_UC)
        total_U = shares_UC.sum(axis=1)
        shares_UC /= total_U[:, None]
        likelihood = (scores_UC[users, chosen_U] - np.log(total_U)).sum()
        slope_F = observed_F - shares_UC.reshape(-1) @ x_UCF.reshape(-1, x_UCF.shape[2])
        away_F = weights_F - start_F
        return float(l2 / 2 * away_F @ away_F - likelihood), l2 * away_F - slope_F

    if not len(users):
        return prior_F
    from scipy.optimize import minimize

    return minimize(loss, start_F, jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-6}).x / scale_F
