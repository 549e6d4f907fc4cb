"""Maps codes to vectors and states to probabilities of codes: two vocabularies for one trie.

``level``: the k codes of a level are shared by all nodes (EAGER). ``path``: one vector for each node that exists, and
a softmax over a node's real children (what EAGER's released code does). A vector is both input and output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from genrec.errors import RecipeError
from genrec.model.child_logits import child_logits
from genrec.model.contracts import BuildContext
from genrec.model.initial_vectors import START_STD, starting_vectors
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, ItemVectors

if TYPE_CHECKING:
    from genrec.model.growth import Growth

_MOST_CODES = 2**16
"""Codes of a level that ``level`` takes whatever the number of items."""


@dataclass(frozen=True)
class Alternatives:
    """Codes that could stand in the place of those on some paths, for the tasks that mask or replace codes."""

    changed_NL: Tensor
    """The codes to hide or to replace, bool: the chosen ones, and those that reveal them."""
    entries: Callable[[int, Tensor | slice], Tensor]
    """(level, rows) -> the entries (n, J) for those rows; the entry on the path may be among them under ``path``."""


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

    def parents(self, depth: int, nodes: Tensor) -> Tensor:
        """The parent at a depth of each node of the next one."""
        return torch.searchsorted(self.child_start(depth), nodes, right=True) - 1

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

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """As :meth:`~genrec.model.contracts.HistoryEncoderModule.grown_tensors`; none where codes have the vectors."""
        return {}

    @abstractmethod
    def entries(self, level: int, nodes: Tensor) -> Tensor:
        """The entry of each node of depth ``level + 1``."""

    @abstractmethod
    def embed(self, level: int, entries: Tensor) -> Tensor:
        """Vectors of entries (...,) -> (..., D)."""

    @abstractmethod
    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        """Log-probability of each child of nodes of a depth, in trie order, -inf where there is none (N, C)."""

    def child_log_probs_for_all(self, depth: int, hidden_BKD: Tensor, nodes_K: Tensor) -> Tensor:
        """:meth:`child_log_probs` of the same nodes for B users, (B, K, C)."""
        B, K, _ = hidden_BKD.shape
        return self.child_log_probs(depth, hidden_BKD.flatten(0, 1), nodes_K.repeat(B)).view(B, K, -1)

    @abstractmethod
    def target_log_probs(self, level: int, hidden_ND: Tensor, nodes_NL: Tensor) -> Tensor:
        """Log-probability of the code of ``level`` on the given paths (N,)."""

    @abstractmethod
    def has_others(self, level: int, nodes_NL: Tensor) -> Tensor:
        """Whether another entry could stand in the place of the one on the path, bool (N,)."""

    @abstractmethod
    def alternatives(self, nodes_NL: Tensor, chosen_NL: Tensor, count: int) -> Alternatives:
        """Which codes of some paths to hide, and entries for their place, drawn from torch's global generator.

        Args:
            nodes_NL: the paths.
            chosen_NL: the codes to predict or to replace, bool; only where :meth:`has_others`.
            count: number of alternatives for each code.
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

    def alternatives(self, nodes_NL: Tensor, chosen_NL: Tensor, count: int) -> Alternatives:
        """Other codes of the same level, each as likely and never the one on the path."""

        def entries(level: int, rows: Tensor | slice) -> Tensor:
            size, code_n1 = self.sizes[level], self.entries(level, nodes_NL[rows, level])[:, None]
            return (code_n1 + torch.randint(1, max(size, 2), (len(code_n1), count), device=code_n1.device)) % size

        return Alternatives(chosen_NL, entries)


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

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """The tables with a row for each new node."""
        return {
            f"tables.{level}.weight": growth.of_nodes(table.weight, depth=level + 1)  # type: ignore[arg-type]
            for level, table in enumerate(self.tables)
        }

    def entries(self, level: int, nodes: Tensor) -> Tensor:
        return nodes

    def embed(self, level: int, entries: Tensor) -> Tensor:
        if level == len(self.tables):
            assert self.item_table is not None
            return self.item_table(self.item_of_leaf[entries])
        return self.tables[level](entries)

    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        weight_MD, rows_M = self._child_vectors(depth)
        if depth == 0:
            children_MD = weight_MD if rows_M is None else weight_MD[rows_M]
            return (hidden_ND @ children_MD.T).log_softmax(-1)
        start = self.child_start(depth)
        first_N = start[nodes_N]
        count_N = start[nodes_N + 1] - first_N
        width = self.max_children[depth]
        return child_logits(hidden_ND, weight_MD, first_N, count_N, width=width, rows_M=rows_M).log_softmax(-1)

    def child_log_probs_for_all(self, depth: int, hidden_BKD: Tensor, nodes_K: Tensor) -> Tensor:
        """One product a node for all users, so that a node's children are read once."""
        if depth == 0:
            return super().child_log_probs_for_all(depth, hidden_BKD, nodes_K)
        weight_MD, rows_M = self._child_vectors(depth)
        start = self.child_start(depth)
        first_K1 = start[nodes_K, None]
        count_K1 = start[nodes_K + 1, None] - first_K1
        place_C = torch.arange(self.max_children[depth], device=nodes_K.device)
        child_KC = first_K1 + torch.minimum(place_C, count_K1 - 1)
        vectors_KDC = weight_MD[child_KC if rows_M is None else rows_M[child_KC]].transpose(1, 2)
        logits_KBC = torch.bmm(hidden_BKD.transpose(0, 1), vectors_KDC)
        is_beyond_KC = place_C >= count_K1
        return logits_KBC.masked_fill_(is_beyond_KC[:, None], -torch.inf).log_softmax(-1).transpose(0, 1)

    def _child_vectors(self, depth: int) -> tuple[Tensor, Tensor | None]:
        """A table of vectors, and the row of each node of depth ``depth + 1`` where it is not the node's number."""
        if depth == len(self.tables):
            assert self.item_table is not None
            return self.item_table.weight, self.item_of_leaf
        return self.tables[depth].weight, None  # type: ignore[return-value]

    def target_log_probs(self, level: int, hidden_ND: Tensor, nodes_NL: Tensor) -> Tensor:
        parent_N = nodes_NL[:, level - 1] if level else torch.zeros_like(nodes_NL[:, 0])
        index_N = nodes_NL[:, level] - self.child_start(level)[parent_N]
        return self.child_log_probs(level, hidden_ND, parent_N).gather(1, index_N[:, None])[:, 0]

    def has_others(self, level: int, nodes_NL: Tensor) -> Tensor:
        parent_N = nodes_NL[:, level - 1] if level else torch.zeros_like(nodes_NL[:, 0])
        start = self.child_start(level)
        return start[parent_N + 1] - start[parent_N] > 1

    def alternatives(self, nodes_NL: Tensor, chosen_NL: Tensor, count: int) -> Alternatives:
        """The other paths of the batch that agree with a path above its first chosen code: siblings and below.

        A node reveals its ancestors, so all codes below a chosen one are changed as well. Rows whose group of paths
        holds one item only are changed from the first level on. Each group is shuffled into a ring, and a row gets the
        ``count`` rows behind it: every path is an alternative as often as it is the true one, so that nothing but the
        guide tells them apart. Both may be the same item.
        """
        device = nodes_NL.device
        above_NL = torch.cat([torch.zeros_like(nodes_NL[:, :1]), nodes_NL[:, :-1]], 1)
        num_nodes = [len(self.child_start(depth)) - 1 for depth in range(self.num_levels)]
        prefix_NL = above_NL + torch.tensor([0, *num_nodes[:-1]], device=device).cumsum(0)  # distinct over all depths
        first_N, leaf_N = chosen_NL.int().argmax(1), nodes_NL[:, -1]
        group_N = _groups(prefix_NL, first_N)
        low_N, high_N = (
            torch.zeros_like(leaf_N).scatter_reduce(0, group_N, leaf_N, how, include_self=False)[group_N]
            for how in ("amin", "amax")
        )
        first_N = first_N.where(low_N < high_N, 0)
        other_NJ = _behind(_groups(prefix_NL, first_N), count)
        changed_NL = (torch.arange(self.num_levels, device=device) >= first_N[:, None]) & chosen_NL.any(1, keepdim=True)
        return Alternatives(changed_NL, lambda level, rows: nodes_NL[other_NJ[rows], level])


def _groups(prefix_NL: Tensor, level_N: Tensor) -> Tensor:
    """A number from 0 for each distinct prefix at each row's level (N,)."""
    return prefix_NL.gather(1, level_N[:, None])[:, 0].unique(return_inverse=True)[1]


def _behind(group_N: Tensor, count: int) -> Tensor:
    """The ``count`` rows behind each row in a random ring of its group, round and round past the row itself.

    Returns:
        row numbers (N, count); a row that is alone gets itself.
    """
    num_rows, device = len(group_N), group_N.device
    shuffled_N = torch.randperm(num_rows, device=device)
    row_N = shuffled_N[group_N[shuffled_N].argsort(stable=True)]  # by group
    place_N = torch.empty_like(row_N)
    place_N[row_N] = torch.arange(num_rows, device=device)
    size_G = group_N.bincount()
    size_N1, start_N1 = size_G[group_N, None], (size_G.cumsum(0) - size_G)[group_N, None]
    shift_NJ = 1 + torch.arange(count, device=device) % (size_N1 - 1).clamp_min(1)
    return row_N[start_N1 + (place_N[:, None] - start_N1 + shift_NJ) % size_N1]


def build_vocabulary(
    context: BuildContext, kind: Literal["level", "path"], leaves: Literal["own", "tied"] = "own"
) -> Vocabulary:
    """The vocabulary of ``context.stream``.

    Args:
        context: the stream's trie, and the history encoder's item table for tied leaves.
        kind: ``level`` or ``path``.
        leaves: for ``path``: leaves have separate vectors, or those of the history encoder's items.

    Raises:
        RecipeError: ``leaves`` is tied and the history encoder has no item embeddings, or ``level`` would need vectors
            for far more codes than there are items.
    """
    trie = context.own.trie
    if kind == "level":
        most = max(_MOST_CODES, 16 * context.num_items)
        if (largest := max(trie.vocabulary_sizes)) > most:
            raise RecipeError(
                f"streams.{context.stream}.decoder.vocabulary: level {trie.vocabulary_sizes.index(largest) + 1} has "
                f"codes up to {largest - 1:,} for {context.num_items:,} items, expected at most {most - 1:,} under "
                "level, where each code below has a vector; number the codes of a level from 0 without gaps, or set "
                "vocabulary: path"
            )
        return LevelVocabulary(trie, context.dim)
    if leaves == "tied" and context.item_table is None:
        raise RecipeError(
            f"streams.{context.stream}.decoder.leaves: found tied, expected own: the history encoder has no item "
            "embeddings to tie leaves to"
        )
    return PathVocabulary(trie, context.dim, context.item_table if leaves == "tied" else None)
