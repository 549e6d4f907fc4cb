"""Groups of evaluation users by the length of their history and by the popularity of their target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genrec.types import Histories, Split

NUM_BINS = 4
"""Maximum number of groups of similar size, plus one for users whose target was never bought."""
MIN_USERS = 30
"""Smaller groups are merged with a neighboring group."""


@dataclass(frozen=True)
class Group:
    """A group of evaluation users."""

    label: str
    rows: np.ndarray
    """Rows of the split, ascending, int64."""


def groups_by_length(split: Split) -> list[Group]:
    """Users by the number of items in their history, shortest first; each user is in one group."""
    return _groups(split.histories.lengths, _length_label, has_zero_apart=False)


def groups_by_popularity(split: Split, train: Histories) -> list[Group]:
    """Users by how often their target occurs in training, rarest first; each user is in one group."""
    return _groups(target_popularity(split, train), _popularity_label, has_zero_apart=True)


def target_popularity(split: Split, train: Histories) -> np.ndarray:
    """How often each user's target occurs in the training histories, int64 (U,)."""
    size = int(max(split.targets.max(initial=-1), train.items.max(initial=-1))) + 1
    return np.bincount(train.items, minlength=size)[split.targets].astype(np.int64)


def _groups(value_U: np.ndarray, label: Callable[[int, int | None], str], *, has_zero_apart: bool) -> list[Group]:
    if len(value_U) == 0:
        return []
    tops = _merged(value_U, _tops(value_U, has_zero_apart=has_zero_apart))
    groups = []
    low = int(value_U.min())
    for place, top in enumerate(tops):
        is_last = place == len(tops) - 1
        text = label(low, None if is_last and low < top else top)
        rows = np.flatnonzero((value_U >= low) & (value_U <= top))
        groups.append(Group(text if len(rows) >= MIN_USERS else f"{text} (few users)", rows))
        low = top + 1
    return groups


def _tops(value_U: np.ndarray, *, has_zero_apart: bool) -> list[int]:
    """The largest value of each bin: quantiles of users, rounded to whole numbers."""
    apart = [0] if has_zero_apart and (value_U == 0).any() else []
    rest = value_U[value_U > 0] if apart else value_U
    if len(rest) == 0:
        return apart
    shares = np.arange(1, NUM_BINS + 1) / NUM_BINS
    return [*apart, *np.unique(np.quantile(rest, shares, method="inverted_cdf")).astype(int).tolist()]


def _merged(value_U: np.ndarray, tops: list[int]) -> list[int]:
    """The same without small bins: each is merged with the next one, the last with the one before."""
    left: list[int] = []
    below = -1
    for top in tops:
        if np.count_nonzero((value_U > below) & (value_U <= top)) >= MIN_USERS:
            left.append(top)
            below = top
    if left[-1:] != tops[-1:]:
        left[-1:] = tops[-1:]
    return left


def _length_label(low: int, top: int | None) -> str:
    if top is None:
        return f"{low} items or more"
    return f"{low} item{'s' * (low != 1)}" if low == top else f"{low}-{top} items"


def _popularity_label(low: int, top: int | None) -> str:
    if top is None:
        return f"bought {low} times or more"
    return f"bought {low} time{'s' * (low != 1)}" if low == top else f"bought {low}-{top} times"
