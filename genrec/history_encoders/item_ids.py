"""A Transformer over the ids of the user's items (EAGER's shared encoder, section 3.3)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.families import EmbeddingHistoryEncoder, history_encoders
from genrec.model.contracts import BuildContext, Encoded
from genrec.model.item_embeddings import EmbeddingHistoryEncoderModule
from genrec.model.layers import Dropout, EncoderLayer, Packing, init_weights
from genrec.runtime.limits import Width


@history_encoders.register("item_ids")
class ItemIds(EmbeddingHistoryEncoder):
    """Learned item embeddings and positions, then a pre-norm Transformer; padding is never looked at."""

    num_layers: Annotated[int, Field(ge=0, le=256)] = 1
    """Transformer layers; the paper has 1."""
    num_heads: Width = 4
    """Attention heads; ``dim`` must be a multiple."""
    feedforward_dim: Width = 512
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and of each layer's two branches."""
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """``bidirectional``: every prefix of a history is a separate training sample (the paper). ``causal``: an item
    sees those before it, and all positions of a sequence are trained at once, which costs less."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> ItemIds:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def build(self, context: BuildContext) -> ItemIdEncoder:
        """The module; ``context.item_table`` is used where given."""
        return ItemIdEncoder(self, context)


class ItemIdEncoder(EmbeddingHistoryEncoderModule):
    """Item ids (B, T), padded at the end -> states (B, T, D)."""

    def __init__(self, settings: ItemIds, context: BuildContext) -> None:
        super().__init__()
        dim = settings.dim
        self.is_causal = settings.attention == "causal"
        self.positions = nn.Embedding(settings.max_history, dim)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, settings.num_heads, settings.feedforward_dim, settings.dropout)
            for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(settings.dropout)
        init_weights(self)
        self.add_item_embeddings(settings, context)

    def forward(self, history_BT: Tensor) -> Encoded:
        mask_BT = self.is_item(history_BT)
        items_BTD = self.embed(history_BT)
        x_BTD = self.dropout(items_BTD + self.positions(self._positions(mask_BT)))
        # Padding stands at the end, so a causal mask already hides it from every item.
        mask = None if self.is_causal else mask_BT[:, None, None, :]
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask, self.is_causal)
        return Encoded(self.norm(x_BTD), mask_BT, self.is_causal)

    def last(self, history_BT: Tensor) -> Tensor:
        """Without padding, and in the last layer with the queries of the last items alone."""
        if not len(self.layers):
            return super().last(history_BT)
        mask_BT = self.is_item(history_BT)
        packing = Packing.of(mask_BT)
        x_ND = self.embed(packing.pack(history_BT)) + self.positions(packing.pack(self._positions(mask_BT)))
        *layers, last_layer = self.layers
        for layer in layers:
            x_ND = layer.read_packed(x_ND, packing, is_causal=self.is_causal)  # type: ignore[operator]
        last_BD = last_layer.read_packed(x_ND, packing, is_causal=self.is_causal, last_only=True)  # type: ignore[operator]
        return self.norm(last_BD)

    def _positions(self, mask_BT: Tensor) -> Tensor:
        """Causal: positions count from the oldest item; bidirectional: from the most recent one."""
        place = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        if self.is_causal:
            return place.expand_as(mask_BT)
        return (mask_BT.sum(1, keepdim=True) - 1 - place).clamp_min(0)
