"""A decoder without attention: state plus the codes written so far, through one feed-forward block a level."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs, TensorState
from genrec.model.layers import Dropout, FeedForward, init_weights
from genrec.model.vocabularies import build_vocabulary
from genrec.runtime.limits import Width


@decoders.register("mlp")
class Mlp(Decoder):
    """State of the last item + embedded prefix -> code logits: nearly free, and hard to beat on sparse data."""

    hidden_dim: Width = 512
    """Width of the hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the hidden layer and of the block's output."""
    vocabulary: Literal["level", "path"] = "path"
    """``path``: one vector for each tree node, softmax over a node's real children. ``level``: k codes shared by all
    nodes of a level (the paper)."""
    leaves: Literal["own", "tied"] = "own"
    """For ``path``: leaves have separate vectors, or the history encoder's item embeddings."""
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
        return MlpDecoder(self, context)


class Block(nn.Module):
    """x + feed-forward(norm(x)), normalized."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.feedforward = nn.LayerNorm(dim), FeedForward(dim, hidden_dim, dropout)
        self.dropout, self.output_norm = Dropout(dropout), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.output_norm(x + self.dropout(self.feedforward(self.norm(x))))

    def of_sums(self, x_BD: Tensor, y_KD: Tensor) -> Tensor:
        """:meth:`forward` of every sum x + y in eval mode, (B, K, D), with half of the products.

        The norm of a sum is the sum of both, centered and scaled by the sum's deviation; so the first linear map is
        applied to each x and each y, not to each sum.
        """
        first, *rest = self.feedforward
        assert isinstance(first, nn.Linear)
        from_x_BD, from_y_KD = (z - z.mean(1, keepdim=True) for z in (x_BD, y_KD))
        squares_BK = (from_x_BD**2).sum(1)[:, None] + (from_y_KD**2).sum(1) + 2 * from_x_BD @ from_y_KD.T
        scale_BK = (squares_BK.clamp_min(0) / x_BD.shape[1] + self.norm.eps).rsqrt()
        weight_HD = first.weight * self.norm.weight
        sums_BKH = (from_x_BD @ weight_HD.T)[:, None] + from_y_KD @ weight_HD.T
        offset_H = first.weight @ self.norm.bias + first.bias
        mixed = torch.addcmul(offset_H, sums_BKH, scale_BK[:, :, None])
        for part in rest:
            mixed = part(mixed)
        return self.output_norm(mixed + x_BD[:, None] + y_KD)


class MlpDecoder(DecoderModule):
    """One block for each level, and one for the summary token that reads the whole code."""

    reads_last_only = True
    prefixes_for_all = 192

    def __init__(self, settings: Mlp, context: BuildContext) -> None:
        super().__init__()
        self.vocabulary = build_vocabulary(context, settings.vocabulary, settings.leaves)
        self.blocks = nn.ModuleList(
            Block(context.dim, settings.hidden_dim, settings.dropout) for _ in range(self.vocabulary.num_levels + 1)
        )
        init_weights(self.blocks)
        init_weights(self.vocabulary.tables)
        self.vocabulary.start_from([context.streams[name].vectors for name in settings.start_from])

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        target_N, state_ND = encoded.select_targets(target_BQ, all_positions=all_positions)
        nodes_NL, present_N = self.vocabulary.nodes_of(target_N)
        log_probs, hidden = [], []
        for level in range(self.vocabulary.num_levels):
            hidden.append(self.blocks[level](state_ND))
            log_probs.append(self.vocabulary.target_log_probs(level, hidden[-1], nodes_NL))
            if with_summary or level + 1 < self.vocabulary.num_levels:
                state_ND = state_ND + self._embed(level, nodes_NL[:, level])
        log_probs_NL = torch.stack(log_probs, 1).masked_fill(~present_N[:, None], 0.0)
        summary_ND = self.blocks[-1](state_ND) if with_summary else None
        return Outputs(log_probs_NL, torch.stack(hidden, 1), summary_ND, present_N, target_N)

    def _embed(self, level: int, nodes: Tensor) -> Tensor:
        return self.vocabulary.embed(level, self.vocabulary.entries(level, nodes))

    def begin(self, encoded: Encoded) -> TensorState:
        return TensorState(encoded.last_BD[:, None])

    def expand(self, state: TensorState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        B, K = nodes_BK.shape
        state_BKD = state.tensor_B
        if depth:
            state_BKD = state_BKD.gather(1, origin_BK[..., None].expand(-1, -1, state_BKD.shape[-1]))
            state_BKD = state_BKD + self._embed(depth - 1, nodes_BK)
        if depth + 1 < self.vocabulary.num_levels:
            state.tensor_B = state_BKD
        hidden_ND = self.blocks[depth](state_BKD).flatten(0, 1)
        with torch.autocast(hidden_ND.device.type, enabled=False):  # a search may run in bfloat16, logits must not
            return self.vocabulary.child_log_probs(depth, hidden_ND.float(), nodes_BK.flatten()).view(B, K, -1)

    def expand_for_all(
        self, state: TensorState, depth: int, nodes_K: Tensor, origin_K: Tensor, num_users: int
    ) -> Tensor:
        """The state of a prefix is the sum of the user's and the path's, so that the state of users is all it needs."""
        if depth == 0:
            return self.expand(TensorState(state.tensor_B), 0, nodes_K.expand(num_users, -1), nodes_K[None])
        node_K, path_KD = nodes_K, torch.zeros((), device=nodes_K.device)
        for level in reversed(range(depth)):
            path_KD = path_KD + self._embed(level, node_K)
            node_K = self.vocabulary.parents(level, node_K)
        hidden_BKD = self.blocks[depth].of_sums(state.tensor_B[:, 0], path_KD)  # type: ignore[operator]
        return self.vocabulary.child_log_probs_for_all(depth, hidden_BKD, nodes_K)
