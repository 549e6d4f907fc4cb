"""What the splits share: parts of a dataset from a mark on each interaction.

Axes: N interactions, in the order of ``Dataset.histories.items``; I items; U users.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from genrec.errors import DataError
from genrec.types import Dataset, Histories, Split

Targets = Literal["next", "last", "all"]
"""Which of a user's held-out items are targets."""

TARGET_TEXTS: dict[Targets, str] = {
    "next": "the next item",
    "last": "the last item",
    "all": "every later item",
}
"""For the protocol: ``the next item of each of 100 users``."""


def training(histories: Histories, is_trained_N: np.ndarray) -> Histories:
    """The histories of the interactions that are trained on, of the users that have any."""
    kept = histories.where(is_trained_N)
    return kept.take(np.flatnonzero(kept.lengths))


def is_in_training(dataset: Dataset, is_trained_N: np.ndarray) -> np.ndarray:
    """Whether each item occurs in an interaction that is trained on, bool (I,)."""
    return np.bincount(dataset.histories.items[is_trained_N], minlength=dataset.num_items) > 0


def evaluated(
    histories: Histories, is_before_N: np.ndarray, is_target_N: np.ndarray, targets: Targets
) -> tuple[Split, int]:
    """The users who have a history and a target.

    Args:
        histories: of all users.
        is_before_N: interactions that are known when a user is evaluated, bool.
        is_target_N: held-out interactions, later than those, bool.
        targets: ``next``: the first held-out item is the target. ``last``: the last one is, and those before it belong
            to the history. ``all``: all are, each once, after the same history.

    Returns:
        The users, and how many others have held-out items and no history.
    """
    held_out = histories.where(is_target_N)
    if targets == "last":
        is_last_N = np.zeros(len(is_target_N), dtype=bool)
        places = np.flatnonzero(is_target_N)
        is_last_N[places[held_out.offsets[1:][held_out.lengths > 0] - 1]] = True
        is_before_N, held_out = is_before_N | (is_target_N & ~is_last_N), histories.where(is_last_N)
    known = histories.where(is_before_N)
    users = np.flatnonzero((known.lengths > 0) & (held_out.lengths > 0))
    lists = _each_once(held_out.take(users))
    first = lists.items[lists.offsets[:-1]].astype(np.int64)
    split = Split(users.astype(np.int64), known.take(users), first, lists if targets == "all" else None)
    return split, int((held_out.lengths > 0).sum()) - len(users)


def drawn_users(candidates: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random share of some users, at least one if there are any, ascending; the same for the same seed."""
    count = min(len(candidates), max(1, round(share * len(candidates))))
    return np.sort(np.random.default_rng(seed).permutation(candidates)[:count])


def require_users(dataset: Dataset, rule: str, *, advice: str, **parts: Split) -> None:
    """Check that each part has a user.

    Raises:
        DataError: one has none.
    """
    for name, part in parts.items():
        if not len(part):
            raise DataError(
                f"{dataset.name}: evaluation.split {rule} leaves no {name} user, expected at least one with a history "
                f"and a target; {advice}"
            )


def cold_targets(name: str, split: Split, is_trained_I: np.ndarray) -> str:
    """The share of targets that do not occur in training, as a note."""
    items = split.target_lists.items
    count = int((~is_trained_I[items]).sum())
    return f"{count:,} of {len(items):,} {name} targets ({count / max(len(items), 1):.1%}) do not occur in training"


def _each_once(histories: Histories) -> Histories:
    """The histories without items that the same user has earlier in it."""
    if not len(histories.items):
        return histories
    keys = histories.users * (int(histories.items.max()) + 1) + histories.items
    is_first_N = np.zeros(len(keys), dtype=bool)
    is_first_N[np.unique(keys, return_index=True)[1]] = True
    return histories.where(is_first_N)
