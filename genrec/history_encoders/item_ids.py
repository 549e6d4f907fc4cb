"""A Transformer over the ids of the user's items (EAGER's shared encoder, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from genrec.families import HistoryEncoder, history_encoders

if TYPE_CHECKING:
    from genrec.history_encoders._item_ids import ItemIdEncoder
    from genrec.model.contracts import BuildContext


@history_encoders.register("item_ids")
class ItemIds(HistoryEncoder):
    """Learned item embeddings and positions, then a pre-norm Transformer; padding is never looked at."""

    num_layers: NonNegativeInt = 1
    """Transformer layers; the paper has 1."""
    num_heads: PositiveInt = 4
    """Attention heads; ``dim`` must be a multiple."""
    feedforward_dim: PositiveInt = 512
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and of each layer's two branches."""
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """``bidirectional``: every prefix of a history is a training sample of its own (the paper). ``causal``: an item
    sees those before it, and all positions of a sequence are trained at once, which costs less."""
    start_from: tuple[str, ...] = ()
    """Streams whose item vectors the item embeddings start from (joined, reduced to ``dim`` by PCA); none: random."""
    add_vectors: tuple[str, ...] = ()
    """Streams whose item vectors (joined) are added to the item embeddings through a linear map, so that an item with
    few purchases is read by what it is like; none: an item is its embedding alone (the paper)."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> ItemIds:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from`` and ``add_vectors``."""
        return (*self.start_from, *self.add_vectors)

    def build(self, context: BuildContext) -> ItemIdEncoder:
        """The module; ``context.item_table`` is used where given."""
        from genrec.history_encoders._item_ids import ItemIdEncoder

        return ItemIdEncoder(self, context)
