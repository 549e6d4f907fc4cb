"""SASRec (Kang and McAuley 2018) with the loss that makes it strong: softmax cross-entropy over the whole catalog."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from genrec.baselines._sequence import SequenceBaseline, SequenceNetwork, listed
from genrec.families import baselines
from genrec.model.layers import Dropout, EncoderLayer, init_weights
from genrec.runtime.limits import Width


@baselines.register("sasrec")
class Sasrec(SequenceBaseline):
    """A causal Transformer over item IDs, trained at all positions by cross-entropy over the whole catalog.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Differs from the paper: the loss (the paper's samples one negative, which costs a third of Recall@10), layer norms
    before instead of after each branch, feed-forward branches wider than the states.
    """

    num_layers: Annotated[int, Field(ge=0, le=256)] = 2
    """Transformer layers."""
    num_heads: Width = 2
    """Attention heads; every ``dim`` must be a multiple."""
    feedforward_ratio: PositiveFloat = 4
    """Width of the feed-forward branches as a multiple of ``dim``."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Sasrec:
        for dim in listed(self.dim):
            if dim % self.num_heads:
                raise ValueError(f"dim {dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def network(self, num_items: int, *, dim: int, dropout: float) -> SasrecNetwork:
        return SasrecNetwork(
            num_items,
            dim=dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            feedforward_dim=max(1, round(self.feedforward_ratio * dim)),
            dropout=dropout,
            max_history=self.max_history,
        )


class SasrecNetwork(SequenceNetwork):
    """A causal Transformer whose item vectors are its input and its output.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D.
        num_layers: of the Transformer.
        num_heads: of its attention; they divide ``dim``.
        feedforward_dim: width inside its feed-forward branches.
        dropout: of the embeddings and of each layer's branches.
        max_history: T at most.
    """

    def __init__(
        self,
        num_items: int,
        *,
        dim: int,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        max_history: int,
    ) -> None:
        super().__init__(num_items, dim, max_history)
        self.positions = nn.Embedding(max_history, dim)
        self.layers = nn.ModuleList(EncoderLayer(dim, num_heads, feedforward_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        init_weights(self)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()

    def forward(self, history_BT: Tensor) -> Tensor:
        positions_TD = self.positions.weight[: history_BT.shape[1]]
        # Scaled as in the paper's code: the layers' outputs would drown vectors as small as those of a fresh table.
        x_BTD = self.dropout(self.item_table(history_BT) * math.sqrt(positions_TD.shape[1]) + positions_TD)
        for layer in self.layers:
            x_BTD = layer(x_BTD, is_causal=True)
        return self.norm(x_BTD)
