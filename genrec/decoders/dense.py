"""A decoder without codes: every item is scored by the product of the user's state with the item's vector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs
from genrec.model.layers import init_weights
from genrec.model.repeats import Repeats, UserState
from genrec.model.vocabularies import build_vocabulary


@decoders.register("dense")
class Dense(Decoder):
    """A softmax over the whole catalog: SASRec with cross-entropy, as a stream besides those that generate codes."""

    writes_codes: ClassVar[bool] = False

    items: Literal["tied", "own"] = "tied"
    """The vectors by which items are scored: the history encoder's item embeddings, or separate vectors."""
    start_from: tuple[str, ...] = ()
    """For ``own``: streams whose item vectors they start from (joined, reduced to ``dim`` by PCA); none: random."""
    repeats: Annotated[int, Field(ge=0, le=1024)] = 0
    """Most recent items whose probability of coming again is learned, by place and number of occurrences; 0: none."""

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
        self.repeats = Repeats(context.num_items, settings.repeats) if settings.repeats else None

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        target_N, state_ND = encoded.select_targets(target_BQ, all_positions=all_positions)
        nodes_NL, present_N = self.vocabulary.nodes_of(target_N)
        if self.repeats is None:
            log_probs_N = self.vocabulary.target_log_probs(0, state_ND, nodes_NL)
        else:
            row_N, query_N = torch.nonzero(target_BQ >= 0, as_tuple=True)
            had = self.repeats.had(encoded, row_N, query_N if all_positions else self.repeats.last(encoded)[row_N])
            log_probs_NM = self.vocabulary.child_log_probs(0, state_ND, torch.zeros_like(target_N))
            had_nodes_NK = self.vocabulary.nodes_IL[had.items_NK, 0]
            had = had._replace(log_factor_NK=had.log_factor_NK.masked_fill(had_nodes_NK < 0, 0.0))
            had_log_probs_NK = log_probs_NM.gather(1, had_nodes_NK.clamp_min(0))
            log_probs_N = self.repeats.of_items(log_probs_NM.gather(1, nodes_NL)[:, 0], target_N, had, had_log_probs_NK)
        summary_ND = state_ND if with_summary else None
        return Outputs(
            log_probs_N.masked_fill(~present_N, 0.0)[:, None], state_ND[:, None], summary_ND, present_N, target_N
        )

    def begin(self, encoded: Encoded) -> UserState:
        if self.repeats is None:
            return UserState(encoded.last_BD, None)
        rows_B = torch.arange(len(encoded.mask_BT), device=encoded.mask_BT.device)
        return UserState(encoded.last_BD, self.repeats.had(encoded, rows_B, self.repeats.last(encoded)))

    def expand(self, state: UserState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        with torch.autocast(
            state.tensor_BE.device.type, enabled=False
        ):  # a search may run in bfloat16, logits must not
            log_probs_BM = self.vocabulary.child_log_probs(0, state.tensor_BE, nodes_BK[:, 0])
            if self.repeats is not None and state.had is not None:
                log_probs_BM = self.repeats.of_all(log_probs_BM, self.vocabulary.nodes_IL[:, 0], state.had)
            return log_probs_BM[:, None]
