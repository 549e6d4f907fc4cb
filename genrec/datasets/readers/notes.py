"""Sentences for :attr:`genrec.types.Dataset.notes` that several sources share."""

from __future__ import annotations

import numpy as np

from genrec.types import Histories

TIES_WORTH_A_NOTE = 0.1
"""Share of tied neighbors above which there is a note."""


def repeats(histories: Histories) -> list[str]:
    """How many interactions repeat an item that the user already had; empty if none."""
    if not len(histories.items):
        return []
    user = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)
    pairs = user * (int(histories.items.max()) + 1) + histories.items
    pairs.sort()
    again = int((pairs[1:] == pairs[:-1]).sum())
    if not again:
        return []
    return [f"{again:,} interactions ({100 * again / len(pairs):.2g} %) repeat an item that the user already had"]


def ties(ties_ratio: float, by: str) -> list[str]:
    """A warning if the order within histories is partly unknown; empty otherwise.

    Args:
        ties_ratio: share of consecutive interactions with equal timestamps.
        by: the key that orders them, e.g. ``movieId``.
    """
    if ties_ratio <= TIES_WORTH_A_NOTE:
        return []
    return [f"{100 * ties_ratio:.0f} % of consecutive interactions have equal timestamps; their order is by {by}"]
