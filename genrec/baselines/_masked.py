"""A Transformer that reads in both directions and fills in masked items, for ``bert4rec`` and ``s3rec``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from genrec.baselines.sasrec import SasrecNetwork
from genrec.types import ABSENT


class MaskedNetwork(SasrecNetwork):
    """SASRec's Transformer with a vector for masked items.

    Args:
        num_items: size of the catalog; stands for padding. ``num_items + 1`` stands for a masked item.
        layers: as in :class:`SasrecNetwork`.
        dim: D.
        max_history: T at most; with a mask, T + 1 items are read.
        settings: the others of :class:`SasrecNetwork`.
    """

    def __init__(
        self, num_items: int, layers: Iterable[nn.Module], *, dim: int, max_history: int, **settings: Any
    ) -> None:
        super().__init__(num_items, layers, dim=dim, max_history=max_history + 1, **settings)
        self.max_history = max_history
        self.mask_D = nn.Parameter(0.02 * torch.randn(dim))

    @property
    def mask(self) -> int:
        """What stands for a masked item."""
        return self.num_items + 1

    def read_both_ways(self, items_BT: Tensor) -> Tensor:
        """States (B, T, D) of items of which some are masked, each of which has seen all others of its row."""
        is_mask_BT1 = (items_BT == self.mask)[:, :, None]
        known_BT = items_BT.masked_fill(items_BT == self.mask, self.num_items)
        vectors_BTD = torch.where(is_mask_BT1, self.mask_D, self.item_table(known_BT))
        is_padding_BT = items_BT == self.num_items
        return self.read(vectors_BTD, is_padding_BT, mask=~is_padding_BT[:, None, None, :])


def whole_sequences(history_BT: Tensor, target_BT: Tensor, padding: int) -> Tensor:
    """Histories with the last target at their end, (B, T + 1): from samples that train all positions at once."""
    following_BT = torch.where(target_BT == ABSENT, padding, target_BT)
    return torch.cat([history_BT[:, :1], following_BT], 1)


def draw_masks(is_item_BT: Tensor, ratio: float) -> Tensor:
    """Which items are masked: each with a probability of ``ratio``, and at least one of a row, bool (B, T)."""
    draw_BT = torch.rand(is_item_BT.shape, device=is_item_BT.device).masked_fill(~is_item_BT, torch.inf)
    is_least_BT = draw_BT == draw_BT.amin(1, keepdim=True)
    return ((draw_BT < ratio) | is_least_BT) & is_item_BT
