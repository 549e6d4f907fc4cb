"""The catalog ordered by training counts: a ranking, and the items that fill up shorter rankings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genrec.types import Histories

_CELLS_AT_ONCE = 100_000
"""(user, item) pairs that are sorted together: about 10 MB, which fits into the processor's caches."""


@dataclass(frozen=True)
class PopularityOrder:
    """All items, most frequent first; equal counts in the order of item numbers."""

    counts_I: np.ndarray
    """Interactions of each item in training, int64 (I,)."""
    items_I: np.ndarray
    """Item numbers in this order, int64 (I,)."""

    @classmethod
    def of(cls, train: Histories, num_items: int) -> PopularityOrder:
        """Count the training interactions, repeats included."""
        counts = np.bincount(train.items, minlength=num_items).astype(np.int64)
        return cls(counts, np.argsort(-counts, kind="stable"))

    def __len__(self) -> int:
        return len(self.items_I)

    def head(self, histories: Histories, top_n: int, exclude_seen: bool) -> np.ndarray:
        """As many popular items as are needed to find ``top_n`` that none of these users has seen."""
        return self.items_I[: top_n + (int(histories.lengths.max(initial=0)) if exclude_seen else 0)]


def chunks(cells_U: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of consecutive users whose (user, item) pairs fit into memory together, at least one user each.

    Args:
        cells_U: pairs that each user needs, int64 (U,).
    """
    ends = np.cumsum(cells_U)
    start = 0
    while start < len(cells_U):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CELLS_AT_ONCE, side="right")))
        yield np.arange(start, stop)
        start = stop


def seen_cells(histories: Histories, num_items: int) -> np.ndarray:
    """The distinct (user, item) pairs of some histories as numbers ``user * num_items + item``, int64."""
    users = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)
    return np.unique(users * num_items + histories.items)
