"""A decoder without attention: state plus the codes written so far, through one feed-forward block a level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from genrec.families import Decoder, decoders

if TYPE_CHECKING:
    from genrec.decoders._mlp import MlpDecoder
    from genrec.model.contracts import BuildContext


@decoders.register("mlp")
class Mlp(Decoder):
    """State of the last item + embedded prefix -> code logits: nearly free, and hard to beat on sparse data."""

    hidden_dim: PositiveInt = 512
    """Width of the hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the hidden layer and of the block's output."""
    vocabulary: Literal["level", "path"] = "path"
    """``path``: one vector for each tree node, softmax over a node's real children. ``level``: k codes shared by all
    nodes of a level (the paper)."""
    leaves: Literal["own", "tied"] = "own"
    """For ``path``: leaves have vectors of their own, or the history encoder's item embeddings."""
    start_from: tuple[str, ...] = ()
    """Streams whose item vectors the codes' vectors start from (joined, reduced to ``dim`` by PCA): each is the mean of
    the items that it leads to, less its parent's under ``path``; none: random. Not in the paper."""

    @model_validator(mode="after")
    def _tied_leaves_are_nodes(self) -> Mlp:
        if self.leaves == "tied" and self.vocabulary == "level":
            raise ValueError("found leaves: tied with vocabulary: level, expected vocabulary: path (leaves are nodes)")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from``."""
        return self.start_from

    def build(self, context: BuildContext) -> MlpDecoder:
        """The module for ``context.stream``."""
        from genrec.decoders._mlp import MlpDecoder

        return MlpDecoder(self, context)
