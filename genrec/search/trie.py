"""The prefix tree of one stream's semantic IDs: which codes may follow which, and whose ID a leaf is.

Nodes of one depth are numbered in the lexicographic order of their codes, so the children of a node are neighbours.
Depth 0 is the root alone, depth L holds one leaf for each item that has codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.types import ABSENT, SemanticIds


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
        codes = ids.codes_IL[items].astype(np.int64)
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
            level_codes.append(codes[is_first, level])
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
