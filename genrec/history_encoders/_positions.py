"""Where an item stands in a history, as learned positions count it."""

from __future__ import annotations

import torch
from torch import Tensor


def positions(mask_BT: Tensor, *, from_end: bool) -> Tensor:
    """Positions (B, T) of the items of histories.

    From the end, the position of the most recent item does not depend on the history's length; a causal encoder must
    not know how many items follow, and counts from the oldest item.

    Args:
        mask_BT: True at items, which come first.
        from_end: count from the most recent item instead of the oldest one.
    """
    place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    if not from_end:
        return place_T.expand_as(mask_BT)
    return (mask_BT.sum(1, keepdim=True) - 1 - place_T).clamp_min(0)
