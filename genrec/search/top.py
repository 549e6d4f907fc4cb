"""The largest log-probabilities or scores of each row, ties broken by number, lowest first."""

from __future__ import annotations

from math import isqrt

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
    best_BN = _largest(log_probs_BM, min(size + 1, log_probs_BM.shape[1]))
    if best_BN.shape[1] > size:
        border_B2 = log_probs_BM.gather(1, best_BN[:, -2:])
        contested = ((border_B2[:, 0] == border_B2[:, 1]) & (border_B2[:, 0] != _DEAD)).nonzero()[:, 0]
        best_BN = best_BN[:, :size]
        if len(contested):
            best_BN[contested] = _keys(log_probs_BM[contested], numbers_BM[contested]).topk(size, dim=1).indices
    order_BN = _keys(log_probs_BM.gather(1, best_BN), numbers_BM.gather(1, best_BN)).argsort(dim=1, descending=True)
    return best_BN.gather(1, order_BN)


def _largest(values_BM: Tensor, size: int) -> Tensor:
    """As ``topk(size).indices``, in a third of the time where few of many are wanted.

    The largest values are in the groups with the largest maxima.
    """
    B, M = values_BM.shape
    width = isqrt(M // max(1, size))  # of a group: then there are as many groups as numbers in the chosen ones
    num_groups = M // max(1, width)
    if width < 4 or values_BM.device.type != "cpu":
        return values_BM.topk(size, dim=1).indices
    whole_BwG = values_BM[:, : width * num_groups].reshape(B, width, num_groups)
    group_BN = whole_BwG.amax(1).topk(size, dim=1).indices
    place_w = torch.arange(width)[:, None] * num_groups
    place_BP = (group_BN[:, None, :] + place_w).flatten(1)
    rest = torch.arange(width * num_groups, M).expand(B, -1)
    place_BP = torch.cat([place_BP, rest], 1)
    best_BN = values_BM.gather(1, place_BP).topk(size, dim=1).indices
    return place_BP.gather(1, best_BN)


def _keys(log_probs_BM: Tensor, numbers_BM: Tensor) -> Tensor:
    """int64 that order by log-probability and then by number: the float32 in the upper half, the number below."""
    bits_BM = (log_probs_BM + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered_BM = torch.where(bits_BM < 0, bits_BM ^ _LARGEST_NUMBER, bits_BM)
    return (ordered_BM.long() << 32) + (_LARGEST_NUMBER - numbers_BM)
