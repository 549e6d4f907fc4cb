"""HGN (Ma et al. 2019): gates that choose features of the latest items, and items, by what the user likes."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from genrec.baselines._losses import LossName
from genrec.baselines._sequence import Ratio, SequenceBaseline, SequenceNetwork
from genrec.baselines._trained import Several
from genrec.baselines._windows import running_mean, windows
from genrec.families import baselines
from genrec.model.layers import Dropout
from genrec.runtime.limits import Count, Depth, Width
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT


@baselines.register("hgn")
class Hgn(SequenceBaseline):
    """Hierarchical gates over the latest items, beside a vector of the user and item-item products.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    **The vector of the user** is the mean of user-side vectors of the items of the history, not a vector of its own
    for each user of training: a ranking is of a history, whose user is not known.

    Differs from the paper: that vector; one target, the next item, in place of the next three; no bias of an item;
    the L2 penalty is of the vectors alone; dropout of the vectors.
    """

    dim: Width | Several[Width] = 64
    """Width of item vectors and states; one or a list to choose from."""
    dropout: Ratio | Several[Ratio] = 0.2
    """Dropout of the vectors of users and items; one or a list to choose from."""
    loss: LossName = "bpr"
    """BPR, -log sigmoid of the difference of the scores of the target and of one item that is drawn uniformly, as in
    the paper; or cross-entropy over the whole catalog, or binary cross-entropy against one drawn item."""
    l2: NonNegativeFloat = 0.03
    """Weight of half the squared lengths of the vectors of the items that are read, of the target and of a drawn item,
    each on average."""
    window: Depth = 5
    """Latest items that the gates see."""
    max_epochs: Count = 60
    """Passes over the training histories at most."""

    def network(self, num_items: int, *, dim: int, dropout: float) -> HgnNetwork:
        return HgnNetwork(
            num_items, dim=dim, dropout=dropout, max_history=self.max_history, window=self.window, l2=self.l2
        )


class HgnNetwork(SequenceNetwork):
    """A vector of the user, plus the mean of the gated items, plus the sum of the items.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D.
        dropout: of the vectors of users and items.
        max_history: T at most; longer histories have no older items in the vector of the user.
        window: latest items that the gates see.
        l2: see :class:`Hgn`.
    """

    def __init__(
        self, num_items: int, *, dim: int, dropout: float, max_history: int, window: int, l2: float = 0.0
    ) -> None:
        super().__init__(num_items, dim, max_history)
        self.window, self.l2 = window, l2
        self.user_table = nn.Embedding(num_items + 1, dim, padding_idx=num_items)
        self.output_table = nn.Embedding(num_items, dim)
        self.feature_of_item, self.feature_of_user = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.instance_of_item, self.instance_of_user = nn.Linear(dim, 1, bias=False), nn.Linear(dim, window, bias=False)
        self.dropout = Dropout(dropout)
        for table in (self.item_table, self.user_table, self.output_table):
            nn.init.normal_(table.weight, std=dim**-0.5 / 2)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()
            self.user_table.weight[num_items].zero_()

    @property
    def item_vectors_ID(self) -> Tensor:
        """The output vectors: a separate table, as in the paper."""
        return self.output_table.weight

    def forward(self, history_BT: Tensor) -> Tensor:
        user_BTD = self.dropout(running_mean(self.user_table(history_BT)))
        items_BTD = self.dropout(self.item_table(history_BT))
        items_BTWD = windows(items_BTD, self.window)
        is_item_BTW = windows((history_BT != self.num_items).float()[:, :, None], self.window)[:, :, :, 0]
        feature_BTWD = (
            windows(self.feature_of_item(items_BTD), self.window) + self.feature_of_user(user_BTD)[:, :, None]
        )
        gated_BTWD = items_BTWD * feature_BTWD.sigmoid()
        instance_BTW = self.instance_of_item(gated_BTWD)[..., 0] + self.instance_of_user(user_BTD)
        instance_BTW = instance_BTW.sigmoid() * is_item_BTW
        total_BT1 = instance_BTW.sum(2, keepdim=True).clamp(min=1e-8)
        pooled_BTD = (gated_BTWD * (instance_BTW / total_BT1)[..., None]).sum(2)
        return user_BTD + pooled_BTD + items_BTWD.sum(2)

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The loss of the next item, and the regularization of the vectors that it needs."""
        parts = super().losses(batch)
        if self.l2:
            read_N = batch.history_BT[batch.history_BT != self.num_items]
            target_N = batch.target_BQ[batch.target_BQ != ABSENT]
            squares = (
                self.item_table(read_N).square().sum(1).mean()
                + self.user_table(read_N).square().sum(1).mean()
                + self.output_table(target_N).square().sum(1).mean()
                + self.output_table.weight.square().sum(1).mean()  # that of a drawn item
            )
            parts["l2"] = 0.5 * self.l2 * squares
        return parts
