"""The prefix tree of one stream's semantic IDs: which codes may follow which, and whose ID a leaf is.

Nodes of one depth are numbered in the lexicographic order of their codes, so the children of a node are neighbors.
Depth 0 is the root alone, depth L holds one leaf for each item that has codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from genrec.types import ABSENT, SemanticIds

if TYPE_CHECKING:
    import torch

_TABLE_LIMIT = 2**20
"""A depth's children stand in a dense table where it has at most so many entries, of 9 bytes each."""


@dataclass(frozen=True)
class TrieTensors:
    """A trie on a device, as batched searches read it: int64 tensors, one of each tuple a depth.

    Shared by training and search, so none of them is an inference tensor. On the CPU, what is as in :class:`Trie` is
    the same memory.
    """

    child_start: tuple[torch.Tensor, ...]
    """As in :class:`Trie`."""
    parent: tuple[torch.Tensor, ...]
    """parent[d]: for each node of depth d + 1 its parent at depth d."""
    slot: tuple[torch.Tensor, ...]
    """slot[d]: for each node of depth d + 1 its place among its parent's children."""
    item_of_leaf: torch.Tensor
    """As in :class:`Trie`."""
    leaf_of_item: torch.Tensor
    """The leaf of each item; ABSENT for items without codes."""
    widths: tuple[int, ...]
    """widths[d]: C, the largest number of children that a node of depth d has."""
    tables: tuple[tuple[torch.Tensor, torch.Tensor] | None, ...]
    """tables[d]: :meth:`children` of all nodes of depth d; None where that table would be large."""

    def children(self, depth: int, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The children of some nodes of a depth: rows of a table, computed from ``child_start`` in large tries.

        Args:
            depth: 0 for the root to L - 1.
            nodes: node numbers at that depth, of any shape (...,).

        Returns:
            Node numbers at depth + 1 in trie order, int64 (..., C), and whether there is such a child, bool (..., C);
            beyond a node's last child stands the last child again, so that every number can be looked up.
        """
        table = self.tables[depth]
        if table is None:
            return _children(self.child_start[depth], nodes, self.widths[depth])
        numbers_MC, exists_MC = table
        shape = (*nodes.shape, self.widths[depth])
        # index_select copies whole rows, and is twice as fast on a CPU as indexing by a tensor.
        rows = nodes.reshape(-1)
        return numbers_MC.index_select(0, rows).view(shape), exists_MC.index_select(0, rows).view(shape)


def _children(child_start: torch.Tensor, nodes: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    first = child_start[nodes][..., None]
    count = child_start[nodes + 1][..., None] - first
    place_C = torch.arange(width, device=nodes.device)
    return first + torch.minimum(place_C, count - 1), place_C < count


@dataclass(frozen=True)
class Trie:
    """Flat arrays, one entry of each tuple a depth."""

    codes: tuple[np.ndarray, ...]
    """codes[d]: the code that leads to each node of depth d + 1, int64 (nodes at depth d + 1,)."""
    child_start: tuple[np.ndarray, ...]
    """child_start[d]: node m of depth d has the children child_start[d][m]:child_start[d][m + 1] at depth d + 1,
    int64 (nodes at depth d + 1,)."""
    nodes_IL: np.ndarray
    """nodes_IL[i, l]: the node of depth l + 1 on item i's path, int64; ABSENT for items without codes."""
    item_of_leaf: np.ndarray
    """The item of each node of depth L, int64."""
    vocabulary_sizes: tuple[int, ...]
    """Codes at each level, as the tokenizer states them."""

    @classmethod
    def of(cls, ids: SemanticIds) -> Trie:
        """Build it by one sort of the codes; O(I L log I)."""
        items = np.flatnonzero(ids.present_I)
        order = np.lexsort(ids.codes_IL[items].T[::-1])
        items = items[order]
        codes = ids.codes_IL[items]
        nodes_IL = np.full(ids.codes_IL.shape, ABSENT, dtype=np.int64)
        is_first = np.zeros(len(items), dtype=bool)
        is_first[0] = True
        parent = np.zeros(len(items), dtype=np.int64)
        num_parents = 1
        level_codes, child_start = [], []
        for level in range(codes.shape[1]):
            is_first = is_first.copy()
            is_first[1:] |= codes[1:, level] != codes[:-1, level]
            node = np.cumsum(is_first) - 1
            level_codes.append(codes[is_first, level].astype(np.int64))
            starts = np.searchsorted(parent[is_first], np.arange(num_parents + 1))
            child_start.append(starts.astype(np.int64))
            nodes_IL[items, level] = node
            parent, num_parents = node, int(node[-1]) + 1
        return cls(tuple(level_codes), tuple(child_start), nodes_IL, items.astype(np.int64), ids.vocabulary_sizes)

    @property
    def num_levels(self) -> int:
        return len(self.codes)

    def num_nodes(self, depth: int) -> int:
        """Nodes at a depth, 0 (the root) to L (the leaves)."""
        return 1 if depth == 0 else len(self.codes[depth - 1])

    def max_children(self, depth: int) -> int:
        """The largest number of children that a node of this depth has."""
        return int(np.diff(self.child_start[depth]).max())

    @cached_property
    def leaf_counts(self) -> tuple[np.ndarray, ...]:
        """leaf_counts[d]: how many items lie below each node of depth d + 1, int64."""
        nodes_IL = self.nodes_IL[self.item_of_leaf]
        return tuple(np.bincount(nodes_IL[:, level]) for level in range(self.num_levels))

    def allowed_counts(self, allowed_I: np.ndarray) -> tuple[np.ndarray, ...]:
        """As :attr:`leaf_counts`, but only items where ``allowed_I`` is True are counted."""
        counts_up_to = np.concatenate([[0], np.cumsum(allowed_I[self.item_of_leaf])])
        # The leaves below a node are neighbors, in the order of the nodes.
        return tuple(np.diff(counts_up_to[np.cumsum(counts)], prepend=0) for counts in self.leaf_counts)

    def exhausted(self, items_BH: np.ndarray, allowed_I: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """The nodes that lead to nothing but a row's items, so that a search without those items must not enter them.

        Args:
            items_BH: item numbers, in any order, repeats allowed; negative entries are ignored.
            allowed_I: bool; if given, the nodes that lead to allowed items, but to none beside the row's.

        Returns:
            One int64 array (B, X) for each depth 1 to L: node numbers in ascending order, ABSENT behind the last.
        """
        rows, columns = np.nonzero(items_BH >= 0)
        num_items = len(self.nodes_IL)
        keys = np.unique(rows * num_items + items_BH[rows, columns])
        rows, items = keys // num_items, keys % num_items
        is_leaf = self.nodes_IL[items, 0] != ABSENT
        if allowed_I is not None:
            is_leaf &= allowed_I[items]
        rows, items = rows[is_leaf], items[is_leaf]
        found = []
        for level, leaf_counts in enumerate(self.leaf_counts if allowed_I is None else self.allowed_counts(allowed_I)):
            num_nodes = len(leaf_counts)
            keys, counts = np.unique(rows * num_nodes + self.nodes_IL[items, level], return_counts=True)
            row, node = keys // num_nodes, keys % num_nodes
            full = counts == leaf_counts[node]
            row, node = row[full], node[full]
            per_row = np.bincount(row, minlength=len(items_BH))
            nodes_BX = np.full((len(items_BH), int(per_row.max(initial=0))), ABSENT, dtype=np.int64)
            nodes_BX[row, np.arange(len(row)) - (np.cumsum(per_row) - per_row)[row]] = node
            found.append(nodes_BX)
        return tuple(found)

    @cached_property
    def _moved(self) -> dict[str, TrieTensors]:
        return {}

    def on(self, device: torch.device) -> TrieTensors:
        """The trie as tensors of a device, moved there once."""
        if str(device) not in self._moved:
            self._moved[str(device)] = self._move(device)
        return self._moved[str(device)]

    def _move(self, device: torch.device) -> TrieTensors:
        import torch

        # A search may come first, and its inference tensors would be of no use to a later training.
        with torch.inference_mode(False):
            child_start = tuple(torch.from_numpy(starts).to(device) for starts in self.child_start)
            nodes = [torch.arange(len(starts) - 1, device=device) for starts in child_start]
            parent = [node.repeat_interleave(starts.diff()) for node, starts in zip(nodes, child_start, strict=True)]
            slot = [
                torch.arange(len(above), device=device) - starts[above]
                for above, starts in zip(parent, child_start, strict=True)
            ]
            widths = tuple(self.max_children(depth) for depth in range(self.num_levels))
            tables = [
                _children(starts, node, width) if len(node) * width <= _TABLE_LIMIT else None
                for starts, node, width in zip(child_start, nodes, widths, strict=True)
            ]
            item_of_leaf = torch.from_numpy(self.item_of_leaf).to(device)
            leaf_of_item = torch.from_numpy(self.nodes_IL[:, -1].copy()).to(device)
        return TrieTensors(child_start, tuple(parent), tuple(slot), item_of_leaf, leaf_of_item, widths, tuple(tables))
