"""Groups of evaluation users by the length of their history, the popularity of their target and what training knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from genrec.evaluation.metrics import METRICS, main_cutoff, main_metric, target_offsets
from genrec.evaluation.protocol import EvaluationSettings
from genrec.types import Histories, Split

NUM_BINS = 4
"""Maximum number of groups of similar size, plus one for users whose target was never bought."""
MIN_USERS = 30
"""Smaller groups are merged with a neighboring group."""
RECENT_ITEMS, NEXT_ITEMS = 5, 3
"""Latest items of a history, and items after an item, that count as a known transition: those of ``transition``."""
MEMORIZATION = "memorization"
"""The axis of :func:`groups_by_memorization`."""
MEMORIZATION_TEXT = (
    f"Memorized: in training the target followed one of the user's last {RECENT_ITEMS} items within {NEXT_ITEMS} "
    "places; generalized: it did not; repeated: it is in the user's history."
)


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


def groups_by_memorization(split: Split, train: Histories) -> list[Group]:
    """Users whose target is in their history, those whose target followed a recent item in training, and the others.

    Counts of transitions can know the second kind and not the third (MemGen-GR, arXiv 2603.19809, divides users alike).
    Each user is in one group; groups without users are left out.
    """
    if len(split) == 0:
        return []
    size = int(max(split.targets.max(), split.histories.items.max(initial=-1), train.items.max(initial=-1))) + 1
    user = np.repeat(np.arange(len(split)), split.histories.lengths)
    is_target = split.histories.items == split.targets[user]
    repeated_U = np.bincount(user[is_target], minlength=len(split)) > 0
    is_recent = split.histories.offsets[1:][user] - np.arange(len(user)) <= RECENT_ITEMS
    asked = split.histories.items.astype(np.int64) * size + split.targets[user]
    is_known = is_recent & np.isin(asked, _transitions(train, size))
    memorized_U = (np.bincount(user[is_known], minlength=len(split)) > 0) & ~repeated_U
    kinds = {"repeated": repeated_U, "memorized": memorized_U, "generalized": ~(repeated_U | memorized_U)}
    rows = {label: np.flatnonzero(inside_U) for label, inside_U in kinds.items() if inside_U.any()}
    return [Group(_marked(label, found), found) for label, found in rows.items()]


def _transitions(train: Histories, size: int) -> np.ndarray:
    """Pairs of an item and one that followed it, each as ``item * size + follower``, int64 (P,)."""
    items, user = train.items.astype(np.int64), np.repeat(np.arange(len(train)), train.lengths)
    pairs = []
    for gap in range(1, NEXT_ITEMS + 1):
        is_pair = user[:-gap] == user[gap:]
        pairs.append(items[:-gap][is_pair] * size + items[gap:][is_pair])
    return np.concatenate(pairs)


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
        groups.append(Group(_marked(text, rows), rows))
        low = top + 1
    return groups


def _marked(label: str, rows: np.ndarray) -> str:
    return label if len(rows) >= MIN_USERS else f"{label} (few users)"


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


@dataclass(frozen=True)
class UserSlice:
    """A group of test users."""

    axis: str
    """What divides the users, such as ``history length``; the groups of an axis are neighbors."""
    label: str
    users: int
    means: Mapping[str, float]
    """By method: the main metric at the main cutoff."""


def user_slices(
    ranks: Mapping[str, np.ndarray], split: Split, train: Histories, settings: EvaluationSettings
) -> list[UserSlice]:
    """The main metric of each method by history length, target popularity and memorization.

    Args:
        ranks: by method, the rank of the target of each user, int32 (U,); of several targets all, user by
            user.
        split: the evaluation users, in the order of the ranks.
        train: the histories that the models were fitted on.
        settings: metrics and cutoffs.
    """
    metric, cutoff = METRICS.get(main_metric(settings.metrics)), main_cutoff(settings.cutoffs)
    values = {name: metric(ranks_U, cutoff, target_offsets(split)) for name, ranks_U in ranks.items()}
    by_axis = {
        "history length": groups_by_length(split),
        "target popularity": groups_by_popularity(split, train),
        MEMORIZATION: groups_by_memorization(split, train),
    }
    return [
        UserSlice(
            axis, group.label, len(group.rows), {name: float(of[group.rows].mean()) for name, of in values.items()}
        )
        for axis, groups in by_axis.items()
        for group in groups
    ]
