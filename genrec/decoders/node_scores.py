"""A score for each node of the tree (TDM, Zhu et al. 2018): beam retrieval by each level's own scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs
from genrec.model.layers import Attention, Dropout, init_weights
from genrec.model.vocabularies import build_vocabulary
from genrec.runtime.limits import Count, Width


@decoders.register("node_scores")
class NodeScores(Decoder):
    """For each node the log-probability that the next item is below it, from a network that reads node and history.

    The node attends to the states of the history; what it reads, its vector and their product give the score (two
    layers). The score does not depend on the scores above. Each target makes its leaf and all nodes above it positive
    (the labels of a maximum heap); other nodes of the same level are drawn as negatives, and each level is trained by
    binary cross-entropy. A beam search keeps the nodes of the best own score at each level.

    ``expand`` gives the score of a child less that of its parent, so that the sums of a search are the nodes' own
    scores. They are no probabilities of paths: a child may score higher than its parent, so that the search method
    ``bound`` is refused, and merges must not compare them with the log-probabilities of other streams.

    Differs from the paper: softmax attention in place of DIN's activation unit and windows by age; one PReLU layer in
    place of three (128, 64 and 24); the tree is built once and not learned again from the trained leaves.
    """

    bounds_descendants: ClassVar[bool] = False

    num_heads: Width = 4
    """Attention heads; the model's ``dim`` must be a multiple."""
    hidden_dim: Width = 128
    """Width of the hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of node vectors and of the hidden layer."""
    num_negatives: Count = 32
    """Negatives of each target at the last level, drawn uniformly from the other nodes. Level l of L has l / L times as
    many, and none has more than its other nodes."""
    leaves: Literal["own", "tied"] = "own"
    """Leaves have separate vectors, or the history encoder's item embeddings (as in the paper)."""

    def build(self, context: BuildContext) -> NodeScoresDecoder:
        """The module for ``context.stream``."""
        return NodeScoresDecoder(self, context)


@dataclass
class Memory:
    """What the nodes read: histories of B users, or of N targets."""

    keys_values: tuple[Tensor, Tensor]
    """Each (B, heads, T, D / heads)."""
    mask_BT: Tensor

    def rows(self, index: Tensor) -> Memory:
        """The same for some of the users."""
        key, value = self.keys_values
        return Memory((key[index], value[index]), self.mask_BT[index])


class NodeScoresDecoder(DecoderModule):
    """Node vectors, attention to the history, and a network of two layers that all levels share."""

    bounds_descendants = False

    def __init__(self, settings: NodeScores, context: BuildContext) -> None:
        super().__init__()
        dim = context.dim
        self.vocabulary = build_vocabulary(context, "path", settings.leaves)
        self._trie, self._num_negatives = context.own.trie, settings.num_negatives
        self.norm, self.attention = nn.LayerNorm(dim), Attention(dim, settings.num_heads)
        self.hidden = nn.Sequential(nn.Linear(3 * dim, settings.hidden_dim), nn.PReLU(), Dropout(settings.dropout))
        self.output = nn.Linear(settings.hidden_dim, 1)
        self.dropout = Dropout(settings.dropout)
        init_weights(self.attention, std=dim**-0.5)  # the layers keep torch's: products of small numbers learn nothing
        init_weights(self.vocabulary.tables)

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        row_N, query_N = torch.nonzero(target_BQ >= 0, as_tuple=True)
        target_N = target_BQ[row_N, query_N]
        memory = self.begin(encoded).rows(row_N)
        if all_positions:
            place_T = torch.arange(encoded.mask_BT.shape[1], device=row_N.device)
            memory.mask_BT = encoded.per_item(encoded.mask_BT[row_N] & (place_T <= query_N[:, None]))
        nodes_NL, present_N = self.vocabulary.nodes_of(target_N)
        scores, interests, loss = [], [], encoded.states_BTD.new_zeros((), dtype=torch.float32)
        for level in range(self.vocabulary.num_levels):
            nodes_NJ = self._with_negatives(level, nodes_NL[:, level])
            interest_NJD, logits_NJ = self._logits(memory, level, nodes_NJ)
            is_own_NJ = torch.zeros_like(logits_NJ)
            is_own_NJ[:, 0] = 1.0
            loss_NJ = functional.binary_cross_entropy_with_logits(logits_NJ, is_own_NJ, reduction="none")
            loss = loss + loss_NJ[present_N].sum()
            scores.append(functional.logsigmoid(logits_NJ[:, 0]))
            interests.append(interest_NJD[:, 0])
        steps_NL = torch.stack(scores, 1).diff(dim=1, prepend=torch.zeros_like(scores[0])[:, None])
        return Outputs(
            steps_NL.masked_fill(~present_N[:, None], 0.0),
            torch.stack(interests, 1),
            interests[-1] if with_summary else None,
            present_N,
            target_N,
            loss / present_N.sum().clamp_min(1),
        )

    def _with_negatives(self, level: int, nodes_N: Tensor) -> Tensor:
        """Each node, and others of its level, drawn with torch's global generator, (N, 1 + J)."""
        count = self._trie.num_nodes(level + 1)
        wanted = -(-self._num_negatives * (level + 1) // self._trie.num_levels)
        shape = len(nodes_N), min(wanted, count - 1)
        shift_NJ = torch.randint(1, max(count, 2), shape, device=nodes_N.device)
        return torch.cat([nodes_N[:, None], (nodes_N[:, None] + shift_NJ) % count], 1)

    def _logits(self, memory: Memory, level: int, nodes_BK: Tensor) -> tuple[Tensor, Tensor]:
        """What nodes of depth ``level + 1`` read (B, K, D), and their logits float32 (B, K)."""
        node_BKD = self.vocabulary.embed(level, self.vocabulary.entries(level, nodes_BK))
        node_BKD = self.dropout(self.norm(node_BKD))
        interest_BKD = self.attention(node_BKD, memory.keys_values, memory.mask_BT[:, None, None, :])
        read_BKE = torch.cat([interest_BKD, node_BKD, interest_BKD * node_BKD], 2)
        return interest_BKD, self.output(self.hidden(read_BKE)).squeeze(2).float()

    def begin(self, encoded: Encoded) -> Memory:
        return Memory(self.attention.keys_values(encoded.memory_BMD), encoded.per_item(encoded.mask_BT))

    def expand(self, state: Memory, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        children_BKC, exists_BKC = self._trie.on(nodes_BK.device).children(depth, nodes_BK)
        _, logits_BM = self._logits(state, depth, children_BKC.flatten(1))
        scores_BKC = functional.logsigmoid(logits_BM).view(children_BKC.shape)
        if depth:
            _, logits_BK = self._logits(state, depth - 1, nodes_BK)
            scores_BKC = scores_BKC - functional.logsigmoid(logits_BK)[:, :, None]
        return scores_BKC.masked_fill(~exists_BKC, -torch.inf)
