"""The module behind ``dense``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs, TensorState
from genrec.model.layers import init_weights
from genrec.model.vocabularies import build_vocabulary

if TYPE_CHECKING:
    from genrec.decoders.dense import Dense


class DenseDecoder(DecoderModule):
    """The items that the stream knows are the children of the root of a tree of one level."""

    def __init__(self, settings: Dense, context: BuildContext) -> None:
        super().__init__()
        self.vocabulary = build_vocabulary(context, "path", settings.items)
        init_weights(self.vocabulary.tables)
        self.vocabulary.start_from([context.streams[name].vectors for name in settings.start_from])

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, each_position: bool = False, with_summary: bool = False
    ) -> Outputs:
        target_N, state_ND = encoded.asked(target_BQ, each_position=each_position)
        nodes_NL, present_N = self.vocabulary.nodes_of(target_N)
        log_probs_N = self.vocabulary.target_log_probs(0, state_ND, nodes_NL).masked_fill(~present_N, 0.0)
        summary_ND = state_ND if with_summary else None
        return Outputs(log_probs_N[:, None], state_ND[:, None], summary_ND, present_N, target_N)

    def begin(self, encoded: Encoded) -> TensorState:
        return TensorState(encoded.last_BD)

    def expand(self, state: TensorState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        with torch.autocast(state.kept_B.device.type, enabled=False):  # a search may ask for bfloat16: not for logits
            return self.vocabulary.child_log_probs(0, state.kept_B, nodes_BK[:, 0])[:, None]
