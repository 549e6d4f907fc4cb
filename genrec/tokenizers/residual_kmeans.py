"""Residual k-means: each level quantises what the levels before it left over, with one codebook a level."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt
from sklearn.cluster import KMeans, MiniBatchKMeans

from genrec.families import Tokenizer, tokenizers
from genrec.progress import track
from genrec.seeds import derive
from genrec.tokenizers._collisions import add_suffix, count_collisions, move_to_nearest_free
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.types import ItemVectors, SemanticIds

_MINI_BATCH_FROM = 100_000
"""Items from which k-means sees mini-batches instead of all items at each step."""


@tokenizers.register("residual_kmeans")
class ResidualKMeans(Tokenizer):
    """Quantise the vectors level by level, each level the residual of the one before (Luo et al. 2024, QARM).

    Residual quantisation without a network: the codes of TIGER's RQ-VAE, had its encoder been the identity.
    """

    is_random: ClassVar[bool] = True

    levels: PositiveInt = 3
    """Levels before any suffix."""
    codes: PositiveInt = 256
    """Codes of each level."""
    iterations: PositiveInt = 50
    """k-means iterations of each level, at most."""
    collisions: Literal["suffix", "nearest_free"] = "suffix"
    """What tells items of one code apart: a further level that numbers them (``suffix``, as in TIGER; left out where
    no two items collide), or the nearest free last code (``nearest_free``)."""
    normalize: bool = False
    """Scale the vectors to length 1 first."""

    def fit(self, vectors: ItemVectors, *, seed: int, keys: tuple[str, ...]) -> SemanticIds:
        """Quantise every item.

        The codebook holds ``centres`` (levels, codes, E), which add up to an item's reconstruction, and
        ``normalized``: whether that is of a vector of length 1.

        Raises:
            DataError: no item has a vector, or ``nearest_free`` finds no free code.
        """
        rows_N = present_rows(vectors, self.type_name)
        residual_NE = vectors.vectors_IE[rows_N]
        if self.normalize:
            residual_NE = unit_rows(residual_NE)
        centres_LVE = np.zeros((self.levels, self.codes, residual_NE.shape[1]), dtype=np.float32)
        codes_NL = np.zeros((len(rows_N), self.levels), dtype=np.int64)
        before_last_NE = residual_NE
        for level in track(range(self.levels), "residual_kmeans: levels"):
            before_last_NE = residual_NE
            codes_NL[:, level], centres_VE = self._quantize(residual_NE, derive(seed, level))
            centres_LVE[level, : len(centres_VE)] = centres_VE
            residual_NE = residual_NE - centres_LVE[level, codes_NL[:, level]]
        sizes = (self.codes,) * self.levels
        collisions = count_collisions(codes_NL)
        if self.collisions == "suffix":
            codes_NL, sizes = add_suffix(codes_NL, sizes)
        elif collisions:
            last_VE = centres_LVE[-1]
            cost_NV = np.einsum("ve,ve->v", last_VE, last_VE) - 2 * (before_last_NE @ last_VE.T)
            codes_NL = move_to_nearest_free(codes_NL, cost_NV, self.type_name)
        codes_IL = for_all_items(codes_NL, rows_N, len(vectors.present_I))
        return SemanticIds(
            codes_IL, sizes, {"centres": centres_LVE, "normalized": np.array([self.normalize])}, collisions
        )

    def _quantize(self, points_NE: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The cluster of each point and the centres; no more clusters than there are different points."""
        num_clusters = min(self.codes, len(np.unique(points_NE, axis=0)))
        algorithm = KMeans if len(points_NE) < _MINI_BATCH_FROM else MiniBatchKMeans
        settings: dict[str, Any] = {"n_init": 1, "max_iter": self.iterations, "random_state": seed % 2**32}
        fitted = algorithm(num_clusters, **settings).fit(points_NE)
        return np.asarray(fitted.labels_), np.asarray(fitted.cluster_centers_, dtype=np.float32)
