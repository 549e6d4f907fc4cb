"""A decoder without codes: every item is scored by the product of the user's state with the item's vector."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs, TensorState
from genrec.model.layers import init_weights
from genrec.model.vocabularies import build_vocabulary


@decoders.register("dense")
class Dense(Decoder):
    """A softmax over the whole catalog: SASRec with cross-entropy, as a stream besides those that generate codes."""

    writes_codes: ClassVar[bool] = False

    items: Literal["tied", "own"] = "tied"
    """The vectors by which items are scored: the history encoder's item embeddings, or separate vectors."""
    start_from: tuple[str, ...] = ()
    """For ``own``: streams whose item vectors they start from (joined, reduced to ``dim`` by PCA); none: random."""

    @model_validator(mode="after")
    def _own_vectors_start(self) -> Dense:
        if self.start_from and self.items == "tied":
            raise ValueError("found start_from, expected none: history_encoder.start_from initializes tied items")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from``."""
        return self.start_from

    def build(self, context: BuildContext) -> DenseDecoder:
        """The module for ``context.stream``."""
        return DenseDecoder(self, context)


class DenseDecoder(DecoderModule):
    """The present items of the stream are the children of the root of a tree of one level."""

    reads_last_only = True

    def __init__(self, settings: Dense, context: BuildContext) -> None:
        super().__init__()
        self.vocabulary = build_vocabulary(context, "path", settings.items)
        init_weights(self.vocabulary.tables)
        self.vocabulary.start_from([context.streams[name].vectors for name in settings.start_from])

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        target_N, state_ND = encoded.select_targets(target_BQ, all_positions=all_positions)
        nodes_NL, present_N = self.vocabulary.nodes_of(target_N)
        log_probs_N = self.vocabulary.target_log_probs(0, state_ND, nodes_NL).masked_fill(~present_N, 0.0)
        summary_ND = state_ND if with_summary else None
        return Outputs(log_probs_N[:, None], state_ND[:, None], summary_ND, present_N, target_N)

    def begin(self, encoded: Encoded) -> TensorState:
        return TensorState(encoded.last_BD)

    def expand(self, state: TensorState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        with torch.autocast(state.tensor_B.device.type, enabled=False):  # a search may run in bfloat16, logits must not
            return self.vocabulary.child_log_probs(0, state.tensor_B, nodes_BK[:, 0])[:, None]
