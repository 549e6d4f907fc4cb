"""What metrics beyond accuracy read: the top of each user's list, and facts about items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from genrec.types import ABSENT, Histories, ItemVectors, Ranking

_FLOATS_AT_ONCE = 16_000_000
"""Values of item vectors in memory at a time: 64 MB."""


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """What is known about the items of a catalog, before anything is recommended."""

    counts_I: np.ndarray
    """How often each item occurs in the training histories, int64 (I,)."""
    vectors: ItemVectors | None = None
    """The item vectors in which distances are measured; None if no stream has any."""
    stream: str = ""
    """The stream of the vectors."""

    def __post_init__(self) -> None:
        if self.vectors is not None and len(self.vectors.present_I) != len(self.counts_I):
            raise ValueError(f"{len(self.vectors.present_I)} item vectors for {len(self.counts_I)} items")

    @cached_property
    def unit_vectors_IE(self) -> np.ndarray:
        """The vectors scaled to length 1, float32 (I, E); 0 for items without a vector and for vectors of 0."""
        assert self.vectors is not None, "only metrics with needs_vectors read them, and these need vectors"
        vectors_IE = np.where(self.vectors.present_I[:, None], self.vectors.vectors_IE, np.float32(0))
        length_I = np.linalg.norm(vectors_IE.astype(np.float64), axis=1)
        return (vectors_IE / np.where(length_I > 0, length_I, 1.0)[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class TopLists:
    """The first K items of each user's list."""

    items_UK: np.ndarray
    """Item numbers, best first, int64 (U, K); ABSENT where a list ends early."""
    is_seen_UK: np.ndarray
    """Whether the item is in the user's history, bool (U, K); False where ABSENT."""
    facts: ItemFacts
    """Of all items of the catalog."""

    def __post_init__(self) -> None:
        if self.items_UK.ndim != 2 or self.items_UK.shape != self.is_seen_UK.shape:
            raise ValueError(f"lists: items {self.items_UK.shape} and is_seen {self.is_seen_UK.shape} must agree")

    @classmethod
    def of(cls, ranking: Ranking, histories: Histories, facts: ItemFacts) -> TopLists:
        """The lists of a ranking.

        Args:
            ranking: of U users.
            histories: of the same users.
            facts: about the items.
        """
        return cls(ranking.items_BN, seen_items(ranking.items_BN, histories), facts)

    def __len__(self) -> int:
        return len(self.items_UK)

    @property
    def num_items(self) -> int:
        """Size of the catalog."""
        return len(self.facts.counts_I)

    @property
    def is_present_UK(self) -> np.ndarray:
        """Where the lists have an item, bool (U, K)."""
        return self.items_UK != ABSENT

    @property
    def times_recommended_I(self) -> np.ndarray:
        """In how many lists each item is, int64 (I,)."""
        return np.bincount(self.items_UK[self.is_present_UK], minlength=self.num_items)

    def first(self, cutoff: int) -> TopLists:
        """The first items of each list."""
        return replace(self, items_UK=self.items_UK[:, :cutoff], is_seen_UK=self.is_seen_UK[:, :cutoff])

    def take(self, rows: np.ndarray) -> TopLists:
        """The lists of some users."""
        return replace(self, items_UK=self.items_UK[rows], is_seen_UK=self.is_seen_UK[rows])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over the items of each list, float64 (U,); 0 for an empty list.

        Args:
            values: of each item of the catalog (I,), or of each place of the lists (U, K).
        """
        is_present_UK = self.is_present_UK
        values_UK = values if values.ndim == 2 else values[np.where(is_present_UK, self.items_UK, 0)]
        total_U = np.where(is_present_UK, values_UK, 0.0).sum(axis=1, dtype=np.float64)
        return total_U / np.maximum(is_present_UK.sum(axis=1), 1)

    def unit_vectors(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Blocks of users: rows, unit vectors float32 (rows, K, E) and where an item has one, bool (rows, K)."""
        vectors_IE = self.facts.unit_vectors_IE
        assert self.facts.vectors is not None
        size = max(1, _FLOATS_AT_ONCE // max(1, self.items_UK.shape[1] * vectors_IE.shape[1]))
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            items_UK = np.where(self.is_present_UK[rows], self.items_UK[rows], 0)
            has_vector_UK = self.is_present_UK[rows] & self.facts.vectors.present_I[items_UK]
            yield rows, vectors_IE[items_UK] * has_vector_UK[:, :, None], has_vector_UK


def seen_items(items_UN: np.ndarray, histories: Histories) -> np.ndarray:
    """Whether each item of each list is in the history of its user, bool (U, N); False where ABSENT."""
    if len(items_UN) != len(histories):
        raise ValueError(f"{len(items_UN)} lists for {len(histories)} histories")
    base = max(int(items_UN.max(initial=0)), int(histories.items.max(initial=0))) + 1
    listed_UN = np.arange(len(items_UN))[:, None] * base + items_UN
    seen = np.repeat(np.arange(len(histories)), histories.lengths) * base + histories.items
    return np.isin(listed_UN, seen) & (items_UN != ABSENT)
