"""SASRec (Kang and McAuley 2018) with the loss that makes it strong: softmax cross-entropy over the whole catalog."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from genrec.baselines._sequence import SequenceBaseline, SequenceNetwork
from genrec.baselines._trained import Several, listed
from genrec.families import baselines
from genrec.model.layers import Dropout, EncoderLayer, PostNormLayer, init_weights
from genrec.runtime.limits import Count, Width


@baselines.register("sasrec")
class Sasrec(SequenceBaseline):
    """A causal Transformer over item IDs, trained by cross-entropy over the whole catalog.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Differs from the paper: the loss (the paper's is ``loss: binary_cross_entropy``), every prefix as a sample, a layer
    norm of the embeddings, feed-forward branches wider than the states. The defaults are those of later work on these
    datasets (BSARec, TV-Rec).
    """

    dim: Width | Several[Width] = 64
    """Width of item vectors and states; one or a list to choose from."""
    samples: Literal["all_positions", "prefixes"] = "prefixes"
    """Train all positions of a sequence at once, or every prefix as a sample whose loss is at its last position."""
    max_epochs: Count = 24
    """Passes over the training histories at most."""
    num_layers: Annotated[int, Field(ge=0, le=256)] = 2
    """Transformer layers."""
    num_heads: Width = 2
    """Attention heads; every ``dim`` must be a multiple."""
    feedforward_ratio: PositiveFloat = 4
    """Width of the feed-forward branches as a multiple of ``dim``."""
    embeddings: Literal["normalized", "scaled"] = "normalized"
    """What enters the layers: the layer norm of item plus position embeddings, or item embeddings times the square root
    of ``dim``, as in the paper's code, plus position embeddings."""
    positions: Literal["end", "start"] = "end"
    """Count positions from the most recent item of a sample, or from the oldest one that is read."""
    norm: Literal["post", "pre"] = "post"
    """Layer norms after each branch was added to its input, or before each branch and after the last layer."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Sasrec:
        for dim in listed(self.dim):
            if dim % self.num_heads:
                raise ValueError(f"dim {dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def network(self, num_items: int, *, dim: int, dropout: float) -> SasrecNetwork:
        return SasrecNetwork(num_items, **self.network_settings(dim, dropout))

    def network_settings(self, dim: int, dropout: float) -> dict[str, Any]:
        """The arguments of a network of such layers; the layers draw their weights when the network takes them."""
        return {
            "layers": (self.layer(dim, dropout) for _ in range(self.num_layers)),
            "dim": dim,
            "dropout": dropout,
            "max_history": self.max_history,
            "embeddings": self.embeddings,
            "positions": self.positions,
            "norm": self.norm,
        }

    def layer(self, dim: int, dropout: float) -> nn.Module:
        """One layer with fresh weights."""
        kind = EncoderLayer if self.norm == "pre" else PostNormLayer
        return kind(dim, self.num_heads, max(1, round(self.feedforward_ratio * dim)), dropout)


class SasrecNetwork(SequenceNetwork):
    """A causal Transformer whose item vectors are its input and its output.

    Args:
        num_items: size of the catalog; stands for padding.
        layers: of the Transformer; each is called with states (B, T, D), zero at padding, and ``is_causal``.
        dim: D.
        dropout: of the embeddings.
        max_history: T at most.
        embeddings, positions, norm: see :class:`Sasrec`.
    """

    def __init__(
        self,
        num_items: int,
        layers: Iterable[nn.Module],
        *,
        dim: int,
        dropout: float,
        max_history: int,
        embeddings: Literal["normalized", "scaled"],
        positions: Literal["end", "start"],
        norm: Literal["post", "pre"],
    ) -> None:
        super().__init__(num_items, dim, max_history)
        # Scaled as in the paper's code: the layers' outputs would drown vectors as small as those of a fresh table.
        self.scale, self.from_end = math.sqrt(dim) if embeddings == "scaled" else 1.0, positions == "end"
        self.positions = nn.Embedding(max_history, dim)
        self.input_norm = nn.LayerNorm(dim) if embeddings == "normalized" else nn.Identity()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.dropout = Dropout(dropout)
        init_weights(self)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()

    def forward(self, history_BT: Tensor) -> Tensor:
        return self.read(self.item_table(history_BT), history_BT == self.num_items, is_causal=True)

    def read(
        self, vectors_BTD: Tensor, is_padding_BT: Tensor, *, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """States (B, T, D) of items with some vectors.

        Args:
            vectors_BTD: of the items.
            is_padding_BT: where there is none; padding is at the end.
            mask: True where an item may look, broadcast over (B, heads, T, T).
            is_causal: whether an item sees only those before it.
        """
        number_BT = torch.arange(is_padding_BT.shape[1], device=is_padding_BT.device).expand_as(is_padding_BT)
        if self.from_end:
            number_BT = ((~is_padding_BT).sum(1, keepdim=True) - 1 - number_BT).clamp(min=0)
        x_BTD = vectors_BTD * self.scale + self.positions(number_BT)
        x_BTD = self.dropout(self.input_norm(x_BTD))
        for layer in self.layers:
            x_BTD = layer(x_BTD.masked_fill(is_padding_BT[:, :, None], 0), mask, is_causal)
        return self.norm(x_BTD)
