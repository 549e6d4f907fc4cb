"""Collisions, items that share one code: counting them, and two ways to resolve them."""

from __future__ import annotations

import numpy as np

from genrec.errors import DataError


def count_collisions(codes_NL: np.ndarray) -> int:
    """Items whose code is also another item's."""
    _, size = np.unique(codes_NL, axis=0, return_counts=True)
    return int(size[size > 1].sum())


def add_suffix(codes_NL: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """One more level that numbers the items of one code 0, 1, ... in the order of the items; none without collisions.

    Args:
        codes_NL: codes of N items.
        sizes: codes of each level.

    Returns:
        distinct codes of L or L + 1 levels, and the sizes of their levels.
    """
    _, group_N, group_size = np.unique(codes_NL, axis=0, return_inverse=True, return_counts=True)
    if group_size.max() == 1:
        return codes_NL, sizes
    order = np.argsort(group_N, kind="stable")
    starts = np.cumsum(group_size) - group_size
    suffix_N = np.zeros(len(codes_NL), dtype=codes_NL.dtype)
    suffix_N[order] = np.arange(len(codes_NL)) - starts[group_N[order]]
    return np.column_stack([codes_NL, suffix_N]), (*sizes, int(group_size.max()))


def move_to_nearest_free(codes_NL: np.ndarray, cost_NV: np.ndarray, tokenizer: str) -> np.ndarray:
    """Move all items of a code except the nearest to free last codes, at the least total cost.

    Args:
        codes_NL: codes of N items.
        cost_NV: distance of each item to each code of the last level.
        tokenizer: its name, for the error message.

    Returns:
        distinct codes_NL; only last codes have changed.

    Raises:
        DataError: more items share the codes before the last than the last level has codes.
    """
    from scipy.optimize import linear_sum_assignment

    codes_NL = codes_NL.copy()
    num_codes = cost_NV.shape[1]
    _, prefix_N = np.unique(codes_NL[:, :-1], axis=0, return_inverse=True)
    order = np.argsort(prefix_N, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(prefix_N))[:-1]):
        if len(members) > num_codes:
            raise DataError(
                f"{tokenizer}: {len(members)} items share the codes {tuple(map(int, codes_NL[members[0], :-1]))}, but "
                f"the last level has only {num_codes} codes; "
                "use collisions: suffix, or more levels or codes"
            )
        last = codes_NL[members, -1]
        by_distance = np.lexsort((cost_NV[members, last], last))
        is_nearest = np.ones(len(members), dtype=bool)
        is_nearest[1:] = last[by_distance][1:] != last[by_distance][:-1]
        moved = members[by_distance[~is_nearest]]
        if len(moved):
            free = np.setdiff1d(np.arange(num_codes), last)
            item, code = linear_sum_assignment(cost_NV[np.ix_(moved, free)])
            codes_NL[moved[item], -1] = free[code]
    return codes_NL
