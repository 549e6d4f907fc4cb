"""Rows of new items and new trie nodes, made from the rows of similar known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class NewNodes:
    """The nodes of one depth of a grown trie."""

    known_M: Tensor
    """The number that each node had before, int64; negative for new nodes."""
    sources_PN: Tensor
    """For each new node, in their order, the former numbers of the nodes that it is made from, int64; negative: all."""


@dataclass(frozen=True)
class Growth:
    """A catalog of I items that got J new ones, which have the numbers I to I + J - 1."""

    num_known: int
    """I."""
    sources_JN: Tensor
    """For each new item the most similar known items, int64; negative where nothing is known of it."""
    nodes: Mapping[str, Sequence[NewNodes]]
    """By stream, the nodes of each depth from 1 to L."""
    stream: str = ""
    """The stream of the module."""

    @property
    def num_new(self) -> int:
        """J."""
        return len(self.sources_JN)

    def of_stream(self, stream: str) -> Growth:
        """The same for a module of another stream."""
        return replace(self, stream=stream)

    def of_items(self, rows: Tensor) -> Tensor:
        """Rows of the known items -> rows of all items.

        Args:
            rows: (I, ...), or more rows, such as one of padding, which stay the last.

        Returns:
            The rows of known items unchanged, then (J, ...) means of those of the most similar known items.
        """
        known = rows[: self.num_known]
        return torch.cat([known, _mean(known, self.sources_JN), rows[self.num_known :]])

    def of_nodes(self, rows: Tensor, *, depth: int) -> Tensor:
        """Rows of the nodes of a depth of the stream -> rows of those of the grown trie.

        Args:
            rows: (M, ...), in the order of the trie.
            depth: 1 to L.

        Returns:
            The rows of known nodes unchanged, those of new nodes from similar known ones, in the order of the grown
            trie.
        """
        nodes = self.nodes[self.stream][depth - 1]
        known_M = nodes.known_M.to(rows.device)
        grown = rows[known_M.clamp_min(0)]
        grown[known_M < 0] = _mean(rows, nodes.sources_PN)
        return grown


def _mean(rows: Tensor, sources_PN: Tensor) -> Tensor:
    """The mean of some rows for each new row, of all rows where none are given; of whole numbers the first."""
    sources_PN = sources_PN.to(rows.device)
    chosen = rows[sources_PN.clamp_min(0)]
    if not rows.is_floating_point():
        return chosen[:, 0]
    means = chosen.mean(1)
    means[sources_PN[:, 0] < 0] = rows.mean(0)
    return means
