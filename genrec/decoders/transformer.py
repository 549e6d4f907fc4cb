"""The decoder of EAGER (section 3.3): a Transformer over start token, codes and summary token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs
from genrec.model.layers import DecoderLayer, Dropout, Folded, init_weights
from genrec.model.vocabularies import build_vocabulary
from genrec.runtime.limits import Depth, Width


@decoders.register("transformer")
class Transformer(Decoder):
    """Causal self-attention over the codes, cross-attention to every state of the history.

    These are the states of the items, or of their codes if the history encoder reads codes.
    """

    num_layers: Depth = 4
    """Decoder layers; the paper has 4."""
    num_heads: Width = 4
    """Attention heads; the model's ``dim`` must be a multiple."""
    feedforward_dim: Width = 512
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and of each layer's branches."""
    vocabulary: Literal["level", "path"] = "level"
    """``level``: k codes shared by all nodes of a level (the paper). ``path``: one vector for each tree node, softmax
    over a node's real children (the released code)."""
    leaves: Literal["own", "tied"] = "own"
    """For ``path``: leaves have separate vectors, or the history encoder's item embeddings."""
    start_from: tuple[str, ...] = ()
    """Streams whose item vectors (joined, reduced to ``dim`` by PCA) initialize the codes' vectors: each is the mean of
    the items below it, less its parent's under ``path``; none: random. Not in the paper."""
    recency_bias: bool = False
    """Whether attention to an item falls with its distance from the last one, by a slope of 1, 1/4, 1/16 ... for each
    head (ALiBi; Press et al. 2022). A causal history encoder counts positions from the oldest item, so that without
    the bias a decoder cannot identify the last item. Not in the paper."""
    carry_state: bool = False
    """Whether the state of the user's last item is added to every token, so that it reaches the codes without
    attention, as in ``mlp``: with informative vectors (``start_from``) an untrained decoder then proposes items similar
    to the last one. Not in the paper."""
    summary: Literal["tail", "head", "mean"] = "tail"
    """Position of the summary token (EAGER, section 3.4 and Table 5): after the codes, before them, or no token but
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
        return TransformerDecoder(self, context)


@dataclass
class Writing:
    """What B users' beams have written, and what they read."""

    memory: list[Folded]
    """The history, made ready for each layer: shared by a user's beams."""
    carried_B1D: Tensor | float
    """What is added to every token."""
    past: list[list[tuple[Tensor, Tensor]]]
    """For each layer the key and the value of each written token, (B, K, D); (B, 1, D) for those before the codes."""

    def rows(self, index: Tensor) -> Writing:
        """The same for some of the users."""
        past = [[(key[index], value[index]) for key, value in tokens] for tokens in self.past]
        carried = self.carried_B1D[index] if isinstance(self.carried_B1D, Tensor) else self.carried_B1D
        return Writing([Folded(*(part[index] for part in folded)) for folded in self.memory], carried, past)


class TransformerDecoder(DecoderModule):
    """Input: [summary] start code_1 .. code_L [summary]; the state at a position predicts the code that follows."""

    slopes_H: Tensor

    def __init__(self, settings: Transformer, context: BuildContext) -> None:
        super().__init__()
        dim = context.dim
        self.summary = settings.summary
        self.vocabulary = build_vocabulary(context, settings.vocabulary, settings.leaves)
        self.start = nn.Parameter(torch.empty(dim))
        self.summary_token = nn.Parameter(torch.empty(dim)) if settings.summary != "mean" else None
        self.positions = nn.Embedding(self.vocabulary.num_levels + 2, dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, settings.num_heads, settings.feedforward_dim, settings.dropout)
            for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(settings.dropout)
        self.carry_state, self.recency_bias = settings.carry_state, settings.recency_bias
        self.register_buffer("slopes_H", 4.0 ** -torch.arange(settings.num_heads), persistent=False)
        for token in (self.start, self.summary_token):
            if token is not None:
                nn.init.normal_(token, std=0.02)
        init_weights(self.positions)
        init_weights(self.layers)
        init_weights(self.vocabulary.tables)
        self.vocabulary.start_from([context.streams[name].vectors for name in settings.start_from])

    @property
    def _first(self) -> int:
        """Position of the start token."""
        return int(self.summary == "head")

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        B = len(target_BQ)
        L = self.vocabulary.num_levels
        nodes_NL, present_N = self.vocabulary.nodes_of(target_BQ.clamp_min(0).flatten())
        codes = [self._embed(level, nodes_NL[:, level]) for level in range(L if with_summary else L - 1)]
        tail = self.summary == "tail" and with_summary
        tokens = [*self._opening(len(nodes_NL)), *codes]
        if tail:
            assert self.summary_token is not None
            tokens.append(self.summary_token.expand(len(nodes_NL), -1))
        x_NSD = torch.stack(tokens, 1) + self.positions.weight[: len(tokens)]
        if self.carry_state:
            state_BQD = (
                encoded.states_BTD if all_positions else encoded.last_BD[:, None].expand(-1, target_BQ.shape[1], -1)
            )
            x_NSD = x_NSD + state_BQD.flatten(0, 1)[:, None]
        x_NSD = self.dropout(x_NSD)
        mask = self._each_prefix(encoded, x_NSD.shape[1]) if all_positions else self._whole_history(encoded)
        for layer in self.layers:
            memory = layer.cross_attention.keys_values(encoded.memory_BMD)  # type: ignore[operator,union-attr]
            x_NSD = layer(x_NSD, memory, mask, rows=B, is_causal=True)
        is_target = (target_BQ >= 0).flatten()
        x_NSD = self.norm(x_NSD if bool(is_target.all()) else x_NSD[is_target])
        nodes_NL, present_N, target_N = nodes_NL[is_target], present_N[is_target], target_BQ.flatten()[is_target]
        hidden_NLD = x_NSD[:, self._first : self._first + L]
        log_probs = [self.vocabulary.target_log_probs(level, hidden_NLD[:, level], nodes_NL) for level in range(L)]
        log_probs_NL = torch.stack(log_probs, 1).masked_fill(~present_N[:, None], 0.0)
        summary_ND = self._summarize(x_NSD) if with_summary else None
        return Outputs(log_probs_NL, hidden_NLD, summary_ND, present_N, target_N)

    def _whole_history(self, encoded: Encoded) -> Tensor:
        """What every token may read, and how readily: a mask of attention, (B, 1 or heads, 1, M)."""
        mask_BT = encoded.mask_BT
        place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        age_BM = encoded.per_item(mask_BT.sum(1, keepdim=True) - 1 - place_T)
        return self._mask(age_BM[:, None, None, :], encoded.per_item(mask_BT)[:, None, None, :])

    def _each_prefix(self, encoded: Encoded, tokens: int) -> Tensor:
        """The same where query q reads the items up to its q-th, (1, 1 or heads, T * tokens, M).

        Padding comes after every item, so it need not be masked apart.
        """
        place_T = torch.arange(encoded.mask_BT.shape[1], device=encoded.mask_BT.device)
        age_QM = encoded.per_item(place_T[:, None] - place_T).repeat_interleave(tokens, 0)
        return self._mask(age_QM[None, None], age_QM[None, None] >= 0)

    def _mask(self, age: Tensor, may_read: Tensor) -> Tensor:
        if not self.recency_bias:
            return may_read
        return torch.where(may_read, -self.slopes_H[:, None, None] * age, -torch.inf)

    def _summarize(self, x_NSD: Tensor) -> Tensor:
        if self.summary == "head":
            return x_NSD[:, 0]
        return x_NSD[:, -1] if self.summary == "tail" else x_NSD[:, 1:].mean(1)

    def _embed(self, level: int, nodes: Tensor) -> Tensor:
        return self.vocabulary.embed(level, self.vocabulary.entries(level, nodes))

    def _opening(self, count: int) -> list[Tensor]:
        """What stands before the first code."""
        start = self.start.expand(count, -1)
        if self.summary == "head":
            assert self.summary_token is not None
            return [self.summary_token.expand(count, -1), start]
        return [start]

    def begin(self, encoded: Encoded) -> Writing:
        mask = self._whole_history(encoded)
        memory = [layer.cross_attention.fold(encoded.memory_BMD, mask) for layer in self.layers]  # type: ignore[operator,union-attr]
        return Writing(memory, encoded.last_BD[:, None] if self.carry_state else 0.0, [[] for _ in self.layers])

    def expand(self, state: Writing, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        if depth == 0:
            tokens = [token[:, None] for token in self._opening(len(nodes_BK))]
        else:
            tokens = [self._embed(depth - 1, nodes_BK)]
        past = [[_of_beams(token, origin_BK) for token in written] for written in state.past] if depth else state.past
        x_BKD = tokens[0]
        for number, token_BKD in enumerate(tokens):
            place = number if depth == 0 else self._first + depth
            x_BKD = token_BKD + self.positions.weight[place] + state.carried_B1D
            written = []
            for layer, before, memory in zip(self.layers, past, state.memory, strict=True):
                x_BKD, own = layer.step(x_BKD, before, memory)  # type: ignore[operator]
                written.append([*before, own])
            past = written
        if depth + 1 < self.vocabulary.num_levels:
            state.past = past
        B, K = nodes_BK.shape
        hidden_ND = self.norm(x_BKD).flatten(0, 1)
        with torch.autocast(hidden_ND.device.type, enabled=False):  # a search may run in bfloat16, logits must not
            return self.vocabulary.child_log_probs(depth, hidden_ND.float(), nodes_BK.flatten()).view(B, K, -1)


def _of_beams(token: tuple[Tensor, Tensor], origin_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Key and value of a token for the beams that descend from it; what all beams share stays one."""
    if token[0].shape[1] == 1:
        return token
    row_B1 = torch.arange(len(origin_BK), device=origin_BK.device)[:, None]
    return token[0][row_B1, origin_BK], token[1][row_B1, origin_BK]
