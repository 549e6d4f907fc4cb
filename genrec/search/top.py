"""The largest log-probabilities or scores of each row, ties broken by number, lowest first."""

from __future__ import annotations

import torch
from torch import Tensor

_DEAD = float("-inf")
_LARGEST_NUMBER = 2**31 - 1


def top(log_probs_BM: Tensor, numbers_BM: Tensor, size: int) -> Tensor:
    """Places of the ``size`` largest log-probabilities (fewer where M is smaller), best first, int64 (B, size).

    Equal ones are ordered by their number, lowest first (those of -inf in any order). ``torch.topk`` alone leaves to
    chance which of several equal values it takes, so rows where the last place is contested are chosen again by keys
    that are all different.

    Args:
        log_probs_BM: float32, no NaN.
        numbers_BM: int64, 0 <= number < 2^31, different along a row where log-probabilities are finite.
        size: how many.
    """
    size = min(size, log_probs_BM.shape[1])
    best_BN = log_probs_BM.topk(min(size + 1, log_probs_BM.shape[1]), dim=1).indices
    if best_BN.shape[1] > size:
        border_B2 = log_probs_BM.gather(1, best_BN[:, -2:])
        contested = ((border_B2[:, 0] == border_B2[:, 1]) & (border_B2[:, 0] != _DEAD)).nonzero()[:, 0]
        best_BN = best_BN[:, :size]
        if len(contested):
            best_BN[contested] = _keys(log_probs_BM[contested], numbers_BM[contested]).topk(size, dim=1).indices
    order_BN = _keys(log_probs_BM.gather(1, best_BN), numbers_BM.gather(1, best_BN)).argsort(dim=1, descending=True)
    return best_BN.gather(1, order_BN)


def _keys(log_probs_BM: Tensor, numbers_BM: Tensor) -> Tensor:
    """int64 that order by log-probability and then by number: the float32 in the upper half, the number below."""
    bits_BM = (log_probs_BM + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered_BM = torch.where(bits_BM < 0, bits_BM ^ _LARGEST_NUMBER, bits_BM)
    return (ordered_BM.long() << 32) + (_LARGEST_NUMBER - numbers_BM)
