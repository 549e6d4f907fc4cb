"""Codes for items that came after a tokenizer was fitted: each goes to a code that no other item has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from genrec.errors import DataError
from genrec.types import ABSENT, ItemVectors, SemanticIds

Prefix = tuple[int, ...]
"""All codes of an item but the last."""

_BLOCK_ENTRIES = 2**24
"""Distances in memory in one block."""
_FIRST_CHOICES = 32
"""Prefixes that a new item tries before the distances are looked at again."""


def with_new_items(
    ids: SemanticIds,
    vectors: ItemVectors,
    new: ItemVectors,
    *,
    tokenizer: str,
    prefix_JP: np.ndarray | None = None,
    last_cost: Callable[[int, Prefix], np.ndarray] | None = None,
) -> SemanticIds:
    """Assign new items free codes below their best prefixes.

    A new item whose prefix is missing or has no free last code goes below the prefix of the nearest known item (squared
    Euclidean distance) that has one. Items are placed one after another, those below their own prefix first.

    Args:
        ids: the codes of I known items, a branch for absent items added or not.
        vectors: of the known items; absent ones are never neighbors, so no new item goes into their branch.
        new: vectors of J new items, of the same width.
        tokenizer: its name, for the error message.
        prefix_JP: the best prefix of each new item, (J, L - 1); rows of absent items are not read.
        last_cost: number of a new item, prefix -> cost of each last code, (V,); the free code of least cost is taken,
            codes beyond V when those are gone. By default the free code of the lowest number.

    Returns:
        The codes of I + J items, the known ones first; vocabularies, codebook and collisions are those of ``ids``.

    Raises:
        DataError: the widths differ, or every last code below the prefixes of all known items is taken.
    """
    check_same_width(vectors, new, tokenizer)
    free = _FreeCodes.of(ids)
    codes_JL = np.full((len(new.present_I), ids.num_levels), ABSENT, dtype=np.int32)

    def is_placed(item: int, prefix: Prefix) -> bool:
        if free.is_full(prefix):
            return False
        codes_JL[item] = (*prefix, free.take(prefix, None if last_cost is None else last_cost(item, prefix)))
        return True

    left = np.flatnonzero(new.present_I).tolist()
    if prefix_JP is not None:
        left = [item for item in left if not is_placed(item, tuple(prefix_JP[item].tolist()))]
    if left:
        known = _Neighbors.of(ids, vectors, tokenizer)
        num_choices = _FIRST_CHOICES
        while left:
            known = known.where([not free.is_full(prefix) for prefix in known.prefixes])
            if not known.prefixes:
                raise DataError(
                    f"{tokenizer}: {len(left):,} of {int(new.present_I.sum()):,} new items get no code, the first of "
                    f"them number {left[0]}: all {free.num_codes:,} last codes are taken below every path of the known "
                    "items; refit the tokenizer with the new items, or with more codes or levels"
                )
            choices = known.nearest(new.vectors_IE[left], num_choices)
            left = [
                item
                for item, row in zip(left, choices, strict=True)
                if not any(is_placed(item, known.prefixes[place]) for place in row)
            ]
            num_choices *= 4
    return replace(ids, codes_IL=np.concatenate([ids.codes_IL, codes_JL]))


def fitted_items(vectors: ItemVectors) -> np.ndarray:
    """Whether an item is present and was there when the model was trained, bool (I,)."""
    return vectors.present_I & (np.arange(len(vectors.present_I)) < len(vectors.present_I) - vectors.num_added)


def check_same_width(vectors: ItemVectors, new: ItemVectors, tokenizer: str) -> None:
    """Check that new vectors have the width of those that a tokenizer was fitted to.

    Raises:
        DataError: their widths differ.
    """
    fitted, given = vectors.vectors_IE.shape[1], new.vectors_IE.shape[1]
    if fitted != given:
        raise DataError(
            f"{tokenizer}: the vectors of the new items have {given} numbers each, those of the known items {fitted}; "
            "encode the new items with the item encoder of the stream"
        )


@dataclass
class _FreeCodes:
    """Which last codes are taken below each prefix."""

    num_codes: int
    taken: defaultdict[Prefix, set[int]]
    lowest: defaultdict[Prefix, int]
    """No code below it is free."""

    @classmethod
    def of(cls, ids: SemanticIds) -> _FreeCodes:
        taken: defaultdict[Prefix, set[int]] = defaultdict(set)
        for *prefix, last in ids.codes_IL[ids.present_I].tolist():
            taken[tuple(prefix)].add(last)
        return cls(ids.vocabulary_sizes[-1], taken, defaultdict(int))

    def is_full(self, prefix: Prefix) -> bool:
        return len(self.taken.get(prefix, ())) >= self.num_codes

    def take(self, prefix: Prefix, cost_V: np.ndarray | None) -> int:
        """A free last code below a prefix that is not full."""
        taken = self.taken[prefix]
        if cost_V is None:
            code = next(code for code in range(self.lowest[prefix], self.num_codes) if code not in taken)
            self.lowest[prefix] = code + 1
        else:
            cost_all = np.full(self.num_codes, np.inf)
            cost_all[: len(cost_V)] = cost_V
            open_codes = np.delete(np.arange(self.num_codes), sorted(taken))
            code = int(open_codes[cost_all[open_codes].argmin()])
        taken.add(code)
        return code


@dataclass
class _Neighbors:
    """Known items, those of one prefix together."""

    prefixes: list[Prefix]
    points_KE: np.ndarray
    starts_P: np.ndarray
    """The first item of each prefix."""

    @classmethod
    def of(cls, ids: SemanticIds, vectors: ItemVectors, tokenizer: str) -> _Neighbors:
        rows_K = np.flatnonzero(ids.present_I & vectors.present_I)
        if len(rows_K) == 0:
            raise DataError(
                f"{tokenizer}: no known item has both a vector and a code, so new items have no neighbors; "
                "refit the tokenizer with the new items"
            )
        # The column of zeros: with one level there is one prefix, of no codes.
        prefix_KP = np.column_stack([np.zeros(len(rows_K), dtype=np.int32), ids.codes_IL[rows_K, :-1]])
        order = np.lexsort(prefix_KP.T[::-1])
        rows_K, prefix_KP = rows_K[order], prefix_KP[order]
        starts_P = np.flatnonzero(np.r_[True, (prefix_KP[1:] != prefix_KP[:-1]).any(axis=1)])
        return cls([tuple(prefix) for prefix in prefix_KP[starts_P, 1:].tolist()], vectors.vectors_IE[rows_K], starts_P)

    def where(self, is_chosen: list[bool]) -> _Neighbors:
        """The items of some prefixes."""
        if all(is_chosen):
            return self
        sizes_P = np.diff(np.append(self.starts_P, len(self.points_KE)))
        chosen_sizes = sizes_P[is_chosen]
        return _Neighbors(
            [prefix for prefix, chosen in zip(self.prefixes, is_chosen, strict=True) if chosen],
            self.points_KE[np.repeat(is_chosen, sizes_P)],
            np.cumsum(chosen_sizes) - chosen_sizes,
        )

    def nearest(self, points_RE: np.ndarray, count: int) -> np.ndarray:
        """Places in ``prefixes`` whose nearest item is nearest to each point, best first, int64 (R, count or fewer)."""
        center_E = self.points_KE.mean(axis=0, dtype=np.float64).astype(np.float32)
        known_KE, queries_RE = self.points_KE - center_E, points_RE - center_E
        square_K = np.einsum("ke,ke->k", known_KE, known_KE)
        count = min(count, len(self.prefixes))
        found_RC = np.zeros((len(queries_RE), count), dtype=np.int64)
        size = max(1, _BLOCK_ENTRIES // len(known_KE))
        for start in range(0, len(queries_RE), size):
            distance_RK = square_K - 2 * (queries_RE[start : start + size] @ known_KE.T)
            distance_RP = np.minimum.reduceat(distance_RK, self.starts_P, axis=1)
            among_RC = np.argpartition(distance_RP, count - 1, axis=1)[:, :count]
            order_RC = np.argsort(np.take_along_axis(distance_RP, among_RC, axis=1), axis=1, kind="stable")
            found_RC[start : start + size] = np.take_along_axis(among_RC, order_RC, axis=1)
        return found_RC
