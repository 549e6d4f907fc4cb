"""The module behind ``dense``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs
from genrec.model.layers import init_weights
from genrec.model.vocabularies import build_vocabulary

if TYPE_CHECKING:
    from genrec.decoders.dense import Dense


@dataclass
class LastState:
    """The states of B users' last items."""

    state_BD: Tensor

    def rows(self, index: Tensor) -> LastState:
        """The same for some of the users."""
        return LastState(self.state_BD[index])


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

    def begin(self, encoded: Encoded) -> LastState:
        return LastState(encoded.last_BD)

    def expand(self, state: LastState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        with torch.autocast(state.state_BD.device.type, enabled=False):  # a search may ask for bfloat16: not for logits
            return self.vocabulary.child_log_probs(0, state.state_BD, nodes_BK[:, 0])[:, None]
