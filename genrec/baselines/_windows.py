"""What Caser and HGN share: the latest items at each position, and a vector of the user from all items so far."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def windows(x_BTD: Tensor, size: int) -> Tensor:
    """The last ``size`` vectors up to each position, oldest first, zeros before the first one: (B, T, size, D)."""
    return functional.pad(x_BTD, (0, 0, size - 1, 0)).unfold(1, size, 1).transpose(2, 3)


def running_mean(x_BTD: Tensor) -> Tensor:
    """The mean of the vectors up to each position, (B, T, D)."""
    count_T1 = torch.arange(1, x_BTD.shape[1] + 1, device=x_BTD.device)[:, None]
    return x_BTD.cumsum(1) / count_T1
