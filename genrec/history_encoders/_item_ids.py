"""The module behind ``item_ids``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genrec.model.contracts import BuildContext, Encoded, HistoryEncoderModule
from genrec.model.layers import Dropout, EncoderLayer, init_weights
from genrec.model.starting_vectors import joined_vectors, starting_vectors

if TYPE_CHECKING:
    from genrec.history_encoders.item_ids import ItemIds


class ItemIdEncoder(HistoryEncoderModule):
    """Item ids (B, T), padded at the end -> states (B, T, D)."""

    vectors_IE: Tensor

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
        self.vector_map: nn.Linear | None = None
        if settings.add_vectors:
            vectors_IE = torch.from_numpy(
                joined_vectors([context.streams[name].vectors for name in settings.add_vectors])
            )
            self.register_buffer(
                "vectors_IE", torch.cat([vectors_IE, vectors_IE.new_zeros(1, vectors_IE.shape[1])]), persistent=False
            )
            self.vector_map = nn.Linear(vectors_IE.shape[1], dim, bias=False)
            nn.init.normal_(self.vector_map.weight, std=0.02 / math.sqrt(vectors_IE.shape[1]))
        if context.item_table is not None:
            self.item_table = context.item_table
            return
        self.item_table = nn.Embedding(context.num_items + 1, dim, padding_idx=context.num_items)
        init_weights(self.item_table)
        if settings.start_from:
            sources = [context.streams[name].vectors for name in settings.start_from]
            start_ID = torch.from_numpy(starting_vectors(sources, dim))
            with torch.no_grad():
                known = start_ID.abs().sum(1) > 0
                self.item_table.weight[:-1][known] = start_ID[known]
        with torch.no_grad():
            self.item_table.weight[-1].zero_()

    def forward(self, history_BT: Tensor) -> Encoded:
        """Causal: positions count from the oldest item; bidirectional: from the most recent one."""
        assert self.item_table is not None
        T = history_BT.shape[1]
        mask_BT = history_BT != self.item_table.num_embeddings - 1
        place = torch.arange(T, device=history_BT.device)
        if self.is_causal:
            position_BT = place.expand_as(history_BT)
        else:
            position_BT = (mask_BT.sum(1, keepdim=True) - 1 - place).clamp_min(0)
        items_BTD = self.item_table(history_BT)
        if self.vector_map is not None:
            items_BTD = items_BTD + self.vector_map(self.vectors_IE[history_BT])
        x_BTD = self.dropout(items_BTD + self.positions(position_BT))
        # Padding stands at the end, so a causal mask already hides it from every item.
        mask = None if self.is_causal else mask_BT[:, None, None, :]
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask, self.is_causal)
        return Encoded(self.norm(x_BTD), mask_BT, self.is_causal)
