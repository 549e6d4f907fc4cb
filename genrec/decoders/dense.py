"""A decoder without codes: every item is scored by the product of the user's state with the item's vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from genrec.families import Decoder, decoders

if TYPE_CHECKING:
    from genrec.decoders._dense import DenseDecoder
    from genrec.model.contracts import BuildContext


@decoders.register("dense")
class Dense(Decoder):
    """A softmax over the whole catalogue: SASRec with cross-entropy, as a stream beside those that write codes."""

    writes_codes: ClassVar[bool] = False

    items: Literal["tied", "own"] = "tied"
    """The vectors by which items are scored: the history encoder's item embeddings, or vectors of their own."""
    start_from: tuple[str, ...] = ()
    """For ``own``: streams whose item vectors they start from (joined, reduced to ``dim`` by PCA); none: random."""

    @model_validator(mode="after")
    def _own_vectors_start(self) -> Dense:
        if self.start_from and self.items == "tied":
            raise ValueError("found start_from, expected none: tied items start where history_encoder.start_from says")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from``."""
        return self.start_from

    def build(self, context: BuildContext) -> DenseDecoder:
        """The module for ``context.stream``."""
        from genrec.decoders._dense import DenseDecoder

        return DenseDecoder(self, context)
