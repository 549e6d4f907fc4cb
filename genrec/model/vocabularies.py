"""Maps codes to vectors and states to probabilities of codes: two vocabularies for one trie.

``level``: the k codes of a level are shared by all nodes (EAGER). ``path``: one vector for each node that exists, and
a softmax over a node's real children (what EAGER's released code does). A vector is both input and output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genrec.errors import RecipeError
from genrec.model.child_logits import child_logits
from genrec.model.contracts import BuildContext
from genrec.model.initial_vectors import START_STD, starting_vectors
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, ItemVectors


class Vocabulary(nn.Module, ABC):
    """The codes of one stream. An *entry* is what has a vector: a code of a level, or a node."""

    nodes_IL: Tensor
    tables: nn.ModuleList

    def __init__(self, trie: Trie) -> None:
        super().__init__()
        self.num_levels = trie.num_levels
        self.max_children = [trie.max_children(depth) for depth in range(trie.num_levels)]
        self.register_buffer("nodes_IL", torch.from_numpy(trie.nodes_IL), persistent=False)
        for depth in range(trie.num_levels):
            self.register_buffer(f"child_start_{depth}", torch.from_numpy(trie.child_start[depth]), persistent=False)

    def child_start(self, depth: int) -> Tensor:
        """First child of each node of a depth, and one past the last node's last child."""
        return getattr(self, f"child_start_{depth}")

    def nodes_of(self, items_N: Tensor) -> tuple[Tensor, Tensor]:
        """The node of each level on the items' paths (N, L), and whether the item has codes (N,).

        Items without codes get node 0 at each level; the caller masks them.
        """
        nodes_NL = self.nodes_IL[items_N]
        return nodes_NL.clamp_min(0), nodes_NL[:, 0] >= 0

    @torch.no_grad()
    def start_from(self, sources: Sequence[ItemVectors]) -> None:
        """Set every entry's vector to the mean of its items' vectors, less its parent's where it has only one parent.

        The residual separates siblings. Each table is scaled as item embeddings are; entries whose items are
        absent in all sources keep their vectors; without sources, all entries do.
        """
        if not sources or not len(self.tables):  # leaves that are tied have no table here
            return
        start_ID = torch.from_numpy(starting_vectors(sources, self.tables[0].weight.shape[1]))  # type: ignore[union-attr,arg-type]
        has_code_I = self.nodes_IL[:, 0] >= 0
        known_I = has_code_I & (start_ID.abs().sum(1) > 0)
        rest_ID = start_ID[known_I]
        for level, table in enumerate(self.tables):
            entry_I = self.entries(level, self.nodes_IL[known_I, level])
            weight_MD: Tensor = table.weight  # type: ignore[assignment]
            count_M1 = torch.bincount(entry_I, minlength=len(weight_MD))[:, None]
            mean_MD = torch.zeros_like(weight_MD).index_add_(0, entry_I, rest_ID) / count_M1.clamp_min(1)
            rest_ID = rest_ID - mean_MD[entry_I]
            is_known_M = count_M1[:, 0] > 0
            scale = START_STD / mean_MD[is_known_M].std().clamp_min(1e-12)
            weight_MD[is_known_M] = mean_MD[is_known_M] * scale

    @abstractmethod
    def entries(self, level: int, nodes: Tensor) -> Tensor:
        """The entry of each node of depth ``level + 1``."""

    @abstractmethod
    def embed(self, level: int, entries: Tensor) -> Tensor:
        """Vectors of entries (...,) -> (..., D)."""

    @abstractmethod
    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        """Log-probability of each child of nodes of a depth, in trie order, -inf where there is none (N, C)."""

    @abstractmethod
    def target_log_probs(self, level: int, hidden_ND: Tensor, nodes_NL: Tensor) -> Tensor:
        """Log-probability of the code of ``level`` on the given paths (N,)."""

    @abstractmethod
    def has_others(self, level: int, nodes_NL: Tensor) -> Tensor:
        """Whether another entry could stand in the place of the one on the path, bool (N,)."""

    @abstractmethod
    def sample_others(self, level: int, nodes_NL: Tensor, count: int) -> Tensor:
        """``count`` random entries that could stand in the place of the one on the path and are never that one.

        Returns:
            entries (N, count), drawn with replacement from torch's global generator; a row that has no others
            (:meth:`has_others`) gets its own.
        """


class LevelVocabulary(Vocabulary):
    """k vectors per level; the softmax is over all k of them."""

    def __init__(self, trie: Trie, dim: int) -> None:
        super().__init__(trie)
        self.sizes = trie.vocabulary_sizes
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in self.sizes)
        self._trie = trie
        tree = trie.on(torch.device("cpu"))
        for level, codes in enumerate(trie.codes):
            self.register_buffer(f"codes_{level}", torch.from_numpy(codes), persistent=False)
            table_MC = None
            if tree.tables[level] is not None:  # looked up as a whole row, twice as fast as child by child
                children_MC, exists_MC = tree.children(level, torch.arange(trie.num_nodes(level)))
                table_MC = torch.from_numpy(codes)[children_MC].masked_fill_(~exists_MC, ABSENT)
            self.register_buffer(f"child_codes_{level}", table_MC, persistent=False)

    def entries(self, level: int, nodes: Tensor) -> Tensor:
        return getattr(self, f"codes_{level}")[nodes]

    def embed(self, level: int, entries: Tensor) -> Tensor:
        return self.tables[level](entries)

    def _log_probs(self, level: int, hidden_ND: Tensor) -> Tensor:
        return (hidden_ND @ self.tables[level].weight.T).log_softmax(-1)  # type: ignore[operator,union-attr]

    def _child_codes(self, depth: int, nodes_N: Tensor) -> Tensor:
        """The codes of nodes' children (N, C), ABSENT beyond a node's last child."""
        table_MC = getattr(self, f"child_codes_{depth}")
        if table_MC is not None:
            return table_MC.index_select(0, nodes_N)
        children_NC, exists_NC = self._trie.on(nodes_N.device).children(depth, nodes_N)
        return self.entries(depth, children_NC).masked_fill_(~exists_NC, ABSENT)

    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        codes_NC = self._child_codes(depth, nodes_N)
        log_probs_NC = self._log_probs(depth, hidden_ND).gather(1, codes_NC.clamp_min(0))
        return log_probs_NC.masked_fill(codes_NC < 0, -torch.inf)

    def target_log_probs(self, level: int, hidden_ND: Tensor, nodes_NL: Tensor) -> Tensor:
        code_N = self.entries(level, nodes_NL[:, level])
        return self._log_probs(level, hidden_ND).gather(1, code_N[:, None])[:, 0]

    def has_others(self, level: int, nodes_NL: Tensor) -> Tensor:
        return torch.full_like(nodes_NL[:, level], self.sizes[level] > 1, dtype=torch.bool)

    def sample_others(self, level: int, nodes_NL: Tensor, count: int) -> Tensor:
        size = self.sizes[level]
        code_N1 = self.entries(level, nodes_NL[:, level])[:, None]
        return (code_N1 + torch.randint(1, max(size, 2), (len(nodes_NL), count), device=nodes_NL.device)) % size


class PathVocabulary(Vocabulary):
    """One vector for each node that exists; the softmax is over a node's real children.

    Args:
        trie: the stream's trie.
        dim: width D.
        item_table: where given, the vectors of leaves are those of the history encoder's items (D wide).
    """

    item_of_leaf: Tensor

    def __init__(self, trie: Trie, dim: int, item_table: nn.Embedding | None) -> None:
        super().__init__(trie)
        own_levels = trie.num_levels - (item_table is not None)
        self.tables = nn.ModuleList(nn.Embedding(trie.num_nodes(level + 1), dim) for level in range(own_levels))
        self.item_table = item_table
        self.register_buffer("item_of_leaf", torch.from_numpy(trie.item_of_leaf), persistent=False)

    def entries(self, level: int, nodes: Tensor) -> Tensor:
        return nodes

    def embed(self, level: int, entries: Tensor) -> Tensor:
        if level == len(self.tables):
            assert self.item_table is not None
            return self.item_table(self.item_of_leaf[entries])
        return self.tables[level](entries)

    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        if depth == len(self.tables):
            assert self.item_table is not None
            weight_MD, rows_M = self.item_table.weight, self.item_of_leaf
        else:
            weight_MD, rows_M = self.tables[depth].weight, None
        if depth == 0:
            children_MD = weight_MD if rows_M is None else weight_MD[rows_M]  # type: ignore[index]
            return (hidden_ND @ children_MD.T).log_softmax(-1)  # type: ignore[operator,union-attr]
        start = self.child_start(depth)
        first_N = start[nodes_N]
        count_N = start[nodes_N + 1] - first_N
        width = self.max_children[depth]
        return child_logits(hidden_ND, weight_MD, first_N, count_N, width=width, rows_M=rows_M).log_softmax(-1)  # type: ignore[arg-type]

    def target_log_probs(self, level: int, hidden_ND: Tensor, nodes_NL: Tensor) -> Tensor:
        parent_N = nodes_NL[:, level - 1] if level else torch.zeros_like(nodes_NL[:, 0])
        index_N = nodes_NL[:, level] - self.child_start(level)[parent_N]
        return self.child_log_probs(level, hidden_ND, parent_N).gather(1, index_N[:, None])[:, 0]

    def _siblings(self, level: int, nodes_NL: Tensor) -> tuple[Tensor, Tensor]:
        """The first child of the path's node above ``level`` and how many children it has, both (N, 1)."""
        parent_N1 = nodes_NL[:, level - 1, None] if level else torch.zeros_like(nodes_NL[:, :1])
        start = self.child_start(level)
        return start[parent_N1], start[parent_N1 + 1] - start[parent_N1]

    def has_others(self, level: int, nodes_NL: Tensor) -> Tensor:
        return self._siblings(level, nodes_NL)[1][:, 0] > 1

    def sample_others(self, level: int, nodes_NL: Tensor, count: int) -> Tensor:
        first_N1, size_N1 = self._siblings(level, nodes_NL)
        uniform = torch.rand((len(nodes_NL), count), device=nodes_NL.device)
        # A float product may round up to size - 1, which would wrap around to the positive; the minimum prevents that.
        shift = torch.minimum(1 + (uniform * (size_N1 - 1)).long(), (size_N1 - 1).clamp_min(1))
        return first_N1 + (nodes_NL[:, level, None] - first_N1 + shift) % size_N1


def build_vocabulary(
    context: BuildContext, kind: Literal["level", "path"], leaves: Literal["own", "tied"] = "own"
) -> Vocabulary:
    """The vocabulary of ``context.stream``.

    Args:
        context: the stream's trie, and the history encoder's item table for tied leaves.
        kind: ``level`` or ``path``.
        leaves: for ``path``: leaves have separate vectors, or those of the history encoder's items.

    Raises:
        RecipeError: ``leaves`` is tied and the history encoder has no item embeddings.
    """
    trie = context.own.trie
    if kind == "level":
        return LevelVocabulary(trie, context.dim)
    if leaves == "tied" and context.item_table is None:
        raise RecipeError(
            f"streams.{context.stream}.decoder.leaves: found tied, expected own: the history encoder has no item "
            "embeddings to tie leaves to"
        )
    return PathVocabulary(trie, context.dim, context.item_table if leaves == "tied" else None)
