"""Initial item embeddings computed from the streams' item vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genrec.semantic_ids.new_items import fitted_items
from genrec.types import ItemVectors

START_STD = 0.05
"""Standard deviation of embeddings that start from vectors; random ones start at 0.02."""


def joined_vectors(sources: Sequence[ItemVectors]) -> np.ndarray:
    """The streams' vectors side by side, each source centered and scaled to unit variance as a whole.

    Items that were added after the training are centered and scaled as the others were.

    Returns:
        float32 (I, sum of the widths); zero where an item is absent.
    """
    parts = []
    for source in sources:
        present, fitted = source.present_I, fitted_items(source)
        centered = np.where(present[:, None], source.vectors_IE - source.vectors_IE[fitted].mean(0), 0.0)
        parts.append(centered / max(float(centered[fitted].std()), 1e-12))
    return np.concatenate(parts, axis=1).astype(np.float32)


def starting_vectors(sources: Sequence[ItemVectors], dim: int) -> np.ndarray:
    """Item embeddings from the streams' vectors, joined (:func:`joined_vectors`) and reduced to ``dim`` by PCA.

    Returns:
        float32 (I, dim) of standard deviation 0.05; rows of items absent everywhere are zero.
    """
    joined = joined_vectors(sources).astype(np.float64)
    values, axes = np.linalg.eigh(joined.T @ joined)
    axes = axes[:, np.argsort(-values)][:, :dim]
    axes *= np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)  # eigenvectors have no sign
    reduced = joined @ axes
    reduced = np.pad(reduced, ((0, 0), (0, dim - reduced.shape[1])))
    return (reduced * (START_STD / max(float(reduced.std()), 1e-12))).astype(np.float32)
