"""Item embeddings for any history encoder: the table, the vectors it starts from, vectors that are added to it.

The settings are those of :class:`~genrec.families.EmbeddingHistoryEncoder`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genrec.model.contracts import BuildContext, HistoryEncoderModule
from genrec.model.initial_vectors import joined_vectors, starting_vectors
from genrec.model.layers import init_weights

if TYPE_CHECKING:
    from genrec.families import EmbeddingHistoryEncoder


class EmbeddingHistoryEncoderModule(HistoryEncoderModule):
    """A history encoder that reads item embeddings.

    A subclass calls :meth:`add_item_embeddings` in its ``__init__`` and :meth:`embed` in its ``forward``. The
    embeddings are attributes of the encoder itself, so that its weights have the names ``item_table.weight`` and
    ``vector_map.weight``.
    """

    vector_map: nn.Linear | None
    """Linear map from the added vectors to the width D; None where none are added."""
    vectors_IE: Tensor
    """The added vectors, a row of zeros for padding at the end."""

    def add_item_embeddings(self, settings: EmbeddingHistoryEncoder, context: BuildContext) -> None:
        """Make the item table, or take that of ``context``, and what is added to it.

        Weights are drawn from torch's global generator: those of the map first, then those of the table.

        Args:
            settings: width, ``start_from`` and ``add_vectors``.
            context: the streams' item vectors; its ``item_table``, if any, is used as it is.
        """
        self.vector_map = None
        if settings.add_vectors:
            sources = [context.streams[name].vectors for name in settings.add_vectors]
            vectors_IE = torch.from_numpy(joined_vectors(sources))
            padding_1E = vectors_IE.new_zeros(1, vectors_IE.shape[1])
            self.register_buffer("vectors_IE", torch.cat([vectors_IE, padding_1E]), persistent=False)
            self.vector_map = nn.Linear(vectors_IE.shape[1], settings.dim, bias=False)
            nn.init.normal_(self.vector_map.weight, std=0.02 / math.sqrt(vectors_IE.shape[1]))
        self.item_table = _item_table(settings, context) if context.item_table is None else context.item_table

    def is_item(self, history_BT: Tensor) -> Tensor:
        """Where a history holds an item and not padding, bool (B, T)."""
        assert self.item_table is not None
        return history_BT != self.item_table.num_embeddings - 1

    def embed(self, history_BT: Tensor) -> Tensor:
        """Item numbers (B, T) -> embeddings (B, T, D); those of padding are zero."""
        assert self.item_table is not None
        items_BTD = self.item_table(history_BT)
        if self.vector_map is not None:
            items_BTD = items_BTD + self.vector_map(self.vectors_IE[history_BT])
        return items_BTD


def _item_table(settings: EmbeddingHistoryEncoder, context: BuildContext) -> nn.Embedding:
    """A new table (I + 1, D): random, or the streams' item vectors where an item has one; zero for padding."""
    table = nn.Embedding(context.num_items + 1, settings.dim, padding_idx=context.num_items)
    init_weights(table)
    with torch.no_grad():
        if settings.start_from:
            sources = [context.streams[name].vectors for name in settings.start_from]
            start_ID = torch.from_numpy(starting_vectors(sources, settings.dim))
            known_I = start_ID.abs().sum(1) > 0
            table.weight[:-1][known_I] = start_ID[known_I]
        table.weight[-1].zero_()
    return table
