"""The decoder of EAGER (section 3.3): a Transformer over start token, codes and summary token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from genrec.families import Decoder, decoders

if TYPE_CHECKING:
    from genrec.decoders._transformer import TransformerDecoder
    from genrec.model.contracts import BuildContext


@decoders.register("transformer")
class Transformer(Decoder):
    """Causal self-attention over the codes, cross-attention to every state of the history."""

    num_layers: PositiveInt = 4
    """Decoder layers; the paper has 4."""
    num_heads: PositiveInt = 4
    """Attention heads; the model's ``dim`` must be a multiple."""
    feedforward_dim: PositiveInt = 512
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and of each layer's branches."""
    vocabulary: Literal["level", "path"] = "level"
    """``level``: k codes shared by all nodes of a level (the paper). ``path``: one vector for each tree node, softmax
    over a node's real children (the released code)."""
    leaves: Literal["own", "tied"] = "own"
    """For ``path``: leaves have vectors of their own, or the history encoder's item embeddings."""
    start_from: tuple[str, ...] = ()
    """Streams whose item vectors the codes' vectors start from (joined, reduced to ``dim`` by PCA): each is the mean of
    the items that it leads to, less its parent's under ``path``; none: random. Not in the paper."""
    recency_bias: bool = False
    """Whether attention to an item falls with its distance from the last one, by a slope of 1, 1/4, 1/16 ... for each
    head (ALiBi; Press et al. 2022). A causal history encoder counts positions from the oldest item, so that without
    the bias a decoder cannot tell which item is the last. Not in the paper."""
    carry_state: bool = False
    """Whether the state of the user's last item is added to every token, so that what it says reaches the codes around
    the attention, as it does in ``mlp``: with vectors that know something (``start_from``) a decoder then proposes what
    is like the last item before it has learned anything. Not in the paper."""
    summary: Literal["tail", "head", "mean"] = "tail"
    """Where the summary token stands (EAGER, section 3.4 and Table 5): after the codes, before them, or no token but
    the mean of the codes' states."""

    @model_validator(mode="after")
    def _tied_leaves_are_nodes(self) -> Transformer:
        if self.leaves == "tied" and self.vocabulary == "level":
            raise ValueError("found leaves: tied with vocabulary: level, expected vocabulary: path (leaves are nodes)")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from``."""
        return self.start_from

    def build(self, context: BuildContext) -> TransformerDecoder:
        """The module for ``context.stream``."""
        from genrec.decoders._transformer import TransformerDecoder

        return TransformerDecoder(self, context)
