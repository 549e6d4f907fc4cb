"""Caser (Tang and Wang 2018): convolutions over the latest items as if they were an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genrec.baselines._sequence import SequenceBaseline, SequenceNetwork
from genrec.baselines._trained import Several
from genrec.baselines._windows import running_mean, windows
from genrec.families import baselines
from genrec.model.layers import Dropout, init_weights
from genrec.runtime.limits import Depth, Width


@baselines.register("caser")
class Caser(SequenceBaseline):
    """Horizontal and vertical convolutions over the vectors of the latest items, beside a vector of the user.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    **The vector of the user** is the mean of user-side vectors of the items of the history, not a vector of its own
    for each user of training: a ranking is of a history, whose user is not known.

    Differs from the paper: that vector; cross-entropy over the whole catalog in place of three sampled negatives (see
    ``loss``); one target, the next item, in place of the next three; no bias of an item; AdamW with dropout in place of
    an L2 penalty.
    """

    dim: Width | Several[Width] = 64
    """Width of item vectors and of both parts of the states; one or a list to choose from."""
    window: Depth = 5
    """Latest items that are convolved."""
    horizontal_filters: Width = 16
    """Filters over each number of consecutive items, from one to ``window``; the largest value of each is kept."""
    vertical_filters: Width = 4
    """Filters that mix the items of the window, each dimension apart."""

    def network(self, num_items: int, *, dim: int, dropout: float) -> CaserNetwork:
        return CaserNetwork(
            num_items,
            dim=dim,
            dropout=dropout,
            max_history=self.max_history,
            window=self.window,
            horizontal_filters=self.horizontal_filters,
            vertical_filters=self.vertical_filters,
        )


class CaserNetwork(SequenceNetwork):
    """What convolutions find in the latest items, and a vector of the user, side by side: states of width 2 D.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D.
        dropout: of what the convolutions find.
        max_history: T at most; longer histories have no older items in the vector of the user.
        window, horizontal_filters, vertical_filters: see :class:`Caser`.
    """

    def __init__(
        self,
        num_items: int,
        *,
        dim: int,
        dropout: float,
        max_history: int,
        window: int,
        horizontal_filters: int,
        vertical_filters: int,
    ) -> None:
        super().__init__(num_items, dim, max_history)
        self.window = window
        self.user_table = nn.Embedding(num_items + 1, dim, padding_idx=num_items)
        self.output_table = nn.Embedding(num_items, 2 * dim)
        self.horizontal = nn.ModuleList(nn.Conv1d(dim, horizontal_filters, size + 1) for size in range(window))
        self.vertical = nn.Linear(window, vertical_filters, bias=False)
        self.dropout = Dropout(dropout)
        self.mix = nn.Linear(window * horizontal_filters + dim * vertical_filters, dim)
        init_weights(self)
        # Filters, and vectors that they read, larger than a fresh table's: ReLUs of tiny sums would pass no gradient.
        for table in (self.item_table, self.user_table):
            nn.init.normal_(table.weight, std=dim**-0.5)
        for layer in (self.vertical, self.mix):
            nn.init.xavier_uniform_(layer.weight)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()
            self.user_table.weight[num_items].zero_()

    @property
    def item_vectors_ID(self) -> Tensor:
        """The output vectors, (I, 2 D): a separate table, as in the paper."""
        return self.output_table.weight

    def forward(self, history_BT: Tensor) -> Tensor:
        # Nothing at a position reads later ones, so the convolutions of all windows are one over the sequence.
        x_BTD = self.item_table(history_BT)
        padded_BDN = functional.pad(x_BTD, (0, 0, self.window - 1, 0)).transpose(1, 2)
        found = []
        for size, convolution in enumerate(self.horizontal, start=1):
            filtered_BFN = convolution(padded_BDN).relu()
            found.append(functional.max_pool1d(filtered_BFN, self.window - size + 1, stride=1).transpose(1, 2))
        found.append(self.vertical(windows(x_BTD, self.window).transpose(2, 3)).flatten(2))
        recent_BTD = self.mix(self.dropout(torch.cat(found, 2))).relu()
        return torch.cat([recent_BTD, running_mean(self.user_table(history_BT))], 2)
