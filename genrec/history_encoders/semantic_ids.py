"""A Transformer over the codes of the user's items (TIGER, Rajput et al. 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.families import HistoryEncoder, history_encoders
from genrec.history_encoders._positions import positions
from genrec.model.contracts import BuildContext, Encoded, HistoryEncoderModule
from genrec.model.layers import Dropout, EncoderLayer, init_weights
from genrec.runtime.limits import Depth, Width


@history_encoders.register("semantic_ids")
class SemanticIdHistory(HistoryEncoder):
    """Reads an item as its semantic ID: L codes, so that the history of T items is a sequence of T * L codes.

    The input of a code is the sum of three learned embeddings: of the code (a table for each level), of its level and
    of its item's position. Items without codes in the stream read as L times "no code". Decoders with attention read
    the states of all codes; others that of the last code of the last item. No embedding belongs to an item, so new
    items can be read as soon as they have codes.

    Differs from the paper: no user token (a model of genrec gets histories only); heads of ``dim / num_heads`` in place
    of six of 64; layer norms, biases, GELU and learned positions in place of T5's; codes have separate embeddings as
    inputs of the encoder and of the decoder.
    """

    reads_vectors: ClassVar[bool] = False

    stream: str | None = None
    """Stream whose codes are read; none: the stream that the history encoder is built for (the first one, if several
    share it)."""
    num_layers: Depth = 4
    """Transformer layers; the paper has 4."""
    num_heads: Width = 4
    """Attention heads; ``dim`` must be a multiple."""
    feedforward_dim: Width = 1024
    """Width of the feed-forward layers; the paper has 1024."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and of each layer's two branches."""
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """``bidirectional``: every prefix of a history is a separate training sample (the paper). ``causal``: a code sees
    those before it, and all positions of a sequence are trained at once, which costs less."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> SemanticIdHistory:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The stream whose codes are read, if it is named."""
        return () if self.stream is None else (self.stream,)

    def build(self, context: BuildContext) -> SemanticIdEncoder:
        """The module; it has no item table."""
        return SemanticIdEncoder(self, context)


class SemanticIdEncoder(HistoryEncoderModule):
    """Item numbers (B, T), padded at the end -> states of items (B, T, D) and of their codes (B, T * L, D)."""

    codes_JL: Tensor
    """Rows of the tables for each item, and for padding at the end."""

    def __init__(self, settings: SemanticIdHistory, context: BuildContext) -> None:
        super().__init__()
        dim, ids = settings.dim, context.streams[settings.stream or context.stream or ""].ids
        self.is_causal, self.item_table = settings.attention == "causal", None
        no_code_L = np.array(ids.vocabulary_sizes)
        codes_IL = np.where(ids.present_I[:, None], ids.codes_IL, no_code_L)
        codes_JL = torch.from_numpy(np.vstack([codes_IL, no_code_L]).astype(np.int64))
        self.register_buffer("codes_JL", codes_JL, persistent=False)
        self.codes = nn.ModuleList(nn.Embedding(size + 1, dim) for size in ids.vocabulary_sizes)
        self.levels = nn.Embedding(len(ids.vocabulary_sizes), dim)
        self.positions = nn.Embedding(settings.max_history, dim)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, settings.num_heads, settings.feedforward_dim, settings.dropout)
            for _ in range(settings.num_layers)
        )
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(settings.dropout)
        init_weights(self)

    def forward(self, history_BT: Tensor) -> Encoded:
        mask_BT = history_BT != len(self.codes_JL) - 1
        (B, T), L = history_BT.shape, len(self.codes)
        codes_BTL = self.codes_JL[history_BT]
        items_BTLD = torch.stack([table(codes_BTL[:, :, level]) for level, table in enumerate(self.codes)], 2)
        places_BTD = self.positions(positions(mask_BT, from_end=not self.is_causal))
        x_BMD = self.dropout((items_BTLD + self.levels.weight + places_BTD[:, :, None]).view(B, T * L, -1))
        # Padding stands at the end, so a causal mask already hides it from every code.
        mask_BM = mask_BT[:, :, None].expand(B, T, L).flatten(1)
        mask = None if self.is_causal else mask_BM[:, None, None, :]
        for layer in self.layers:
            x_BMD = layer(x_BMD, mask, self.is_causal)
        x_BMD = self.norm(x_BMD)
        states_BTD = x_BMD.view(B, T, L, -1)[:, :, -1]
        return Encoded(states_BTD, mask_BT, self.is_causal, code_states_BMD=x_BMD)
