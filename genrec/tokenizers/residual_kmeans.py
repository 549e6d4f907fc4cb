"""Residual k-means: each level quantizes the residual of the levels before it, with one codebook per level."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import numpy as np

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Codes, Count, Depth
from genrec.runtime.progress import track
from genrec.runtime.seeds import derive
from genrec.tokenizers._balanced import balanced_kmeans, cluster_means
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.tokenizers._reconstruction import sum_of_centers
from genrec.tokenizers._residual import assign, resolve_collisions
from genrec.types import ItemVectors, SemanticIds

CENTERS = "centres"  # golden: data, a name in the codebooks of finished runs
"""The name that the centers have in the codebook."""
_MINI_BATCH_FROM = 100_000
"""Items from which k-means sees mini-batches instead of all items at each step."""
_START_ROWS = 32
"""Rows per code, at most, from which the starting centers are computed."""
_START_ITERATIONS = 2
"""Iterations of balanced k-means for them."""
_MOST_EVEN = 1024
"""Codes up to which even clusters are tried; their time grows with the cube of the codes."""


@tokenizers.register("residual_kmeans")
class ResidualKMeans(Tokenizer):
    """Quantize the vectors level by level, each level the residual of the one before (Luo et al. 2024, QARM).

    Residual quantization without a network: an RQ-VAE (TIGER) whose encoder is the identity.
    """

    is_random: ClassVar[bool] = True

    levels: Depth = 3
    """Levels before any suffix."""
    codes: Codes = 256
    """Codes of each level."""
    iterations: Count = 50
    """k-means iterations of each level, at most."""
    balanced: bool = False
    """Assign the same number of items, or one more, to every code of a level (QARM; OneRec, Deng et al. 2025).
    An item's code then is not always the nearest. The time grows with the cube of the codes."""
    collisions: Literal["suffix", "nearest_free"] = "suffix"
    """How collisions are resolved: a further level that numbers the items of a code (``suffix``, as in TIGER; left out
    where no two items collide), or the nearest free last code (``nearest_free``)."""
    normalize: bool = False
    """Scale the vectors to length 1 first."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Quantize every item.

        The codebook holds :data:`CENTERS` (levels, codes, E), which add up to an item's reconstruction, and
        ``normalized``: whether that is of a vector of length 1.

        Raises:
            DataError: no item has a vector, or ``nearest_free`` finds no free code.
        """
        rows_N = present_rows(vectors, self.type_name)
        residual_NE = vectors.vectors_IE[rows_N]
        if self.normalize:
            residual_NE = unit_rows(residual_NE)
        centers_LVE = np.zeros((self.levels, self.codes, residual_NE.shape[1]), dtype=np.float32)
        codes_NL = np.zeros((len(rows_N), self.levels), dtype=np.int64)
        before_last_NE = residual_NE
        for level in track(range(self.levels), "residual_kmeans: levels"):
            before_last_NE = residual_NE
            codes_NL[:, level], centers_VE = self._quantize(residual_NE, derive(context.seed, level))
            centers_LVE[level, : len(centers_VE)] = centers_VE
            residual_NE = residual_NE - centers_LVE[level, codes_NL[:, level]]
        codes_NL, sizes, collisions = resolve_collisions(
            codes_NL,
            self.codes,
            before_last_NE,
            centers_LVE[-1],
            collisions=self.collisions,
            tokenizer=self.type_name,
        )
        codes_IL = for_all_items(codes_NL, rows_N, len(vectors.present_I))
        return SemanticIds(
            codes_IL, sizes, {CENTERS: centers_LVE, "normalized": np.array([self.normalize])}, collisions
        )

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Quantize the new vectors with the codebook, each level by its nearest code, ``balanced`` or not.

        Last comes the lowest free suffix, or the nearest free last code; see :meth:`Tokenizer.assign`.
        """
        return assign(
            ids,
            vectors,
            new,
            centers_LVE=ids.codebook[CENTERS],
            normalize=self.normalize,
            tokenizer=self.type_name,
        )

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray:
        """The sum of the centers of the codes that are read."""
        return sum_of_centers(ids, ids.codebook[CENTERS], levels)

    def _quantize(self, points_NE: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The cluster of each point and the centers; no more clusters than there are different points.

        With balanced clusters, equal points may be in different clusters.
        """
        from sklearn.cluster import KMeans, MiniBatchKMeans

        if self.balanced:
            num_clusters = min(self.codes, len(points_NE))
            cluster_N = balanced_kmeans(points_NE, num_clusters, iterations=self.iterations, seed=seed)
            return cluster_N, cluster_means(points_NE, cluster_N, num_clusters)
        num_clusters = min(self.codes, len(np.unique(points_NE, axis=0)))
        algorithm = KMeans if len(points_NE) < _MINI_BATCH_FROM else MiniBatchKMeans
        settings: dict[str, Any] = {"n_init": 1, "max_iter": self.iterations, "random_state": seed % 2**32}
        found = [algorithm(num_clusters, **settings).fit(points_NE)]
        if num_clusters <= _MOST_EVEN:
            start_VE = _even_start(points_NE, num_clusters, seed)
            found.append(algorithm(num_clusters, init=cast(Any, start_VE), **settings).fit(points_NE))
        best = min(found, key=lambda fitted: cast(float, fitted.inertia_))
        return np.asarray(best.labels_), np.asarray(best.cluster_centers_, dtype=np.float32)


def _even_start(points_NE: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """The means of even clusters of a sample, (K, E).

    On residuals, k-means++ selects outliers, and one cluster holds most of the other items; even clusters in turn split
    dense regions. Both starts are tried.
    """
    sample = np.random.default_rng(seed).permutation(len(points_NE))[: _START_ROWS * num_clusters]
    points = points_NE[np.sort(sample)]
    cluster_N = balanced_kmeans(points, num_clusters, iterations=_START_ITERATIONS, seed=seed)
    return cluster_means(points, cluster_N, num_clusters)
