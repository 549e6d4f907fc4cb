"""A Transformer over the ids of the user's items (EAGER's shared encoder, section 3.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.families import EmbeddingHistoryEncoder, history_encoders
from genrec.history_encoders._positions import positions
from genrec.model.contracts import BuildContext, Encoded
from genrec.model.frequency_layers import BsarecLayer, FrequencyFilter
from genrec.model.item_embeddings import EmbeddingHistoryEncoderModule
from genrec.model.layers import Dropout, EncoderLayer, Packing, PostNormLayer, init_weights
from genrec.runtime.limits import Length, Width


@history_encoders.register("item_ids")
class ItemIds(EmbeddingHistoryEncoder):
    """Learned item embeddings and positions, then a Transformer; padding is never looked at.

    With ``attention: causal``, ``embeddings: normalized``, ``norm: post``, ``positions: end`` and ``alpha: 0.7`` it is
    the network of BSARec (Shin et al., AAAI 2024, arXiv 2312.10325); with ``alpha: 0`` that of later SASRec variants.
    """

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
    embeddings: Literal["plain", "normalized"] = "plain"
    """What enters the layers: the sum of item and position embeddings, or its layer norm."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norms before each branch and after the last layer, or after each branch was added to its input."""
    positions: Literal["end", "start"] | None = None
    """Positions count from the most recent item or from the oldest one that is read; null: from the oldest one with
    causal attention, else from the most recent one. From the end, every prefix is a separate training sample."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of BSARec's frequency filter, with which attention is mixed; 0: no filter. It needs ``norm: post``."""
    num_frequencies: Length = 3
    """Lowest frequencies of ``max_history`` items that pass the filter unchanged; the others are rescaled by learned
    factors."""
    filter: Literal["bidirectional", "causal"] = "bidirectional"
    """``bidirectional``: the filter reads the whole history, and every prefix is a separate training sample (BSARec).
    ``causal``: of each item, what the filter gives for the history that ends with it (not in the paper)."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> ItemIds:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        return self

    @model_validator(mode="after")
    def _filter_has_its_layer(self) -> ItemIds:
        if not self.alpha:
            return self
        if self.norm != "post":
            raise ValueError(f"found alpha: {self.alpha:g} with norm: pre, expected norm: post, that of BSARec's layer")
        if self.num_frequencies > (most := self.max_history // 2 + 1):
            raise ValueError(
                f"num_frequencies: found {self.num_frequencies}, expected at most {most}: histories of "
                f"{self.max_history} items have no more"
            )
        return self

    @property
    def counts_from_end(self) -> bool:
        """Whether positions count from the most recent item."""
        return (self.positions or ("start" if self.attention == "causal" else "end")) == "end"

    def layer(self) -> EncoderLayer:
        """One layer with initial weights."""
        sizes = (self.dim, self.num_heads, self.feedforward_dim, self.dropout)
        if not self.alpha:
            return (EncoderLayer if self.norm == "pre" else PostNormLayer)(*sizes)
        is_causal = self.filter == "causal"
        frequencies = FrequencyFilter(self.dim, self.max_history, self.num_frequencies, is_causal=is_causal)
        return BsarecLayer(frequencies, self.alpha, *sizes)

    def build(self, context: BuildContext) -> ItemIdEncoder:
        """The module; ``context.item_table`` is used where given."""
        return ItemIdEncoder(self, context)


class ItemIdEncoder(EmbeddingHistoryEncoderModule):
    """Item ids (B, T), padded at the end -> states (B, T, D)."""

    def __init__(self, settings: ItemIds, context: BuildContext) -> None:
        super().__init__()
        dim = settings.dim
        self.attends_causally, self.counts_from_end = settings.attention == "causal", settings.counts_from_end
        sees_later = bool(settings.alpha) and settings.filter == "bidirectional"
        self.is_causal = self.attends_causally and not self.counts_from_end and not sees_later
        self.positions = nn.Embedding(settings.max_history, dim)
        self.layers = nn.ModuleList(settings.layer() for _ in range(settings.num_layers))
        self.input_norm = nn.LayerNorm(dim) if settings.embeddings == "normalized" else nn.Identity()
        self.norm = nn.LayerNorm(dim) if settings.norm == "pre" else nn.Identity()
        self.dropout = Dropout(settings.dropout)
        init_weights(self)
        self.add_item_embeddings(settings, context)

    def forward(self, history_BT: Tensor) -> Encoded:
        mask_BT = self.is_item(history_BT)
        items_BTD = self.embed(history_BT)
        x_BTD = self.dropout(
            self.input_norm(items_BTD + self.positions(positions(mask_BT, from_end=self.counts_from_end)))
        )
        # Padding stands at the end, so a causal mask already hides it from every item.
        mask = None if self.attends_causally else mask_BT[:, None, None, :]
        for layer in self.layers:
            if isinstance(layer, BsarecLayer):
                x_BTD = x_BTD.masked_fill(~mask_BT[:, :, None], 0)
            x_BTD = layer(x_BTD, mask, self.attends_causally)
        return Encoded(self.norm(x_BTD), mask_BT, self.is_causal)

    def last(self, history_BT: Tensor) -> Tensor:
        """Without padding, and in the last layer with the queries of the last items alone."""
        if not len(self.layers):
            return super().last(history_BT)
        mask_BT = self.is_item(history_BT)
        packing = Packing.of(mask_BT)
        x_ND = self.embed(packing.pack(history_BT)) + self.positions(
            packing.pack(positions(mask_BT, from_end=self.counts_from_end))
        )
        x_ND = self.input_norm(x_ND)
        *layers, last_layer = self.layers
        for layer in layers:
            x_ND = layer.read_packed(x_ND, packing, is_causal=self.attends_causally)  # type: ignore[operator]
        last_BD = last_layer.read_packed(x_ND, packing, is_causal=self.attends_causally, last_only=True)  # type: ignore[operator]
        return self.norm(last_BD)
