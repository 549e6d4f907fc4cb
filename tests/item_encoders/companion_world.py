"""Synthetic histories without metadata: items in groups, and users who each stay in one group."""

from __future__ import annotations

import numpy as np

from genrec.types import Catalog, Histories


def companion_world(
    num_groups: int, size: int, num_users: int, unseen: int = 0, walk: int | None = None
) -> tuple[Catalog, Histories]:
    """Each user has ``walk`` items of one group (all by default) in random order; the last items nobody has."""
    generator = np.random.default_rng(7)
    histories = []
    for user in range(num_users):
        group = user % num_groups
        histories.append(group * size + generator.permutation(size)[:walk])
    names = [f"item-{row}" for row in range(num_groups * size + unseen)]
    return Catalog(tuple(names), tuple(names), tuple(names), ((),) * len(names)), Histories.of(histories)


def companions_found(vectors_IE: np.ndarray, num_groups: int, size: int) -> float:
    """Share of the items' ``size - 1`` nearest neighbors by cosine that belong to the item's own group."""
    seen_IE = vectors_IE[: num_groups * size]
    unit_IE = seen_IE / np.linalg.norm(seen_IE, axis=1, keepdims=True)
    closeness_II = unit_IE @ unit_IE.T
    np.fill_diagonal(closeness_II, -np.inf)
    nearest = np.argsort(-closeness_II, axis=1)[:, : size - 1]
    return float((nearest // size == (np.arange(len(seen_IE)) // size)[:, None]).mean())
