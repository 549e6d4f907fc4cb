"""Product quantization (Jégou et al. 2011), through faiss: each part of a vector is quantized separately."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, field_validator
from threadpoolctl import threadpool_limits

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count, Depth
from genrec.runtime.seeds import derive
from genrec.semantic_ids.new_items import Prefix, check_same_width, with_new_items
from genrec.tokenizers._collisions import add_suffix, count_collisions, move_to_nearest_free
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.types import ItemVectors, SemanticIds

CENTERS = "sub_centres"  # golden: data, a name in the codebooks of finished runs
"""The name that the centers have in the codebook."""
_BLOCK = 65_536
"""Points that are quantized in one block."""


@tokenizers.register("product_quantizer")
class ProductQuantizer(Tokenizer):
    """Cut the vectors into ``levels`` parts and give each part the nearest of its own ``codes`` centers.

    The codes of an item are independent of each other, unlike those of a tree or of residuals: the second one does not
    refine the first (VQ-Rec, Hou et al. 2023, describes items so). ``rotate`` first turns the vectors so that the parts
    lose least together (OPQ, Ge et al. 2013).
    """

    is_random: ClassVar[bool] = True

    levels: Depth = 4
    """Parts of a vector, and levels before any suffix. A width that they do not divide is filled up with zeros."""
    codes: Annotated[int, Field(ge=2, le=65_536)] = 256
    """Codes of each level, a power of two."""
    rotate: bool = False
    """Learn a rotation of the vectors with the codes (OPQ)."""
    iterations: Count = 25
    """k-means iterations of each part, at most."""
    collisions: Literal["suffix", "nearest_free"] = "suffix"
    """How collisions are resolved: a further level that numbers the items of a code (``suffix``; left out where no
    two items collide), or the nearest free last code (``nearest_free``)."""
    normalize: bool = False
    """Scale the vectors to length 1 first."""

    @field_validator("codes")
    @classmethod
    def _whole_bits(cls, codes: int) -> int:
        lower = 1 << (codes.bit_length() - 1)
        if codes != lower:
            raise ValueError(
                f"{codes} is no power of two, and a code of a product quantizer is a whole number of bits; "
                f"the nearest are {lower} and {2 * lower}"
            )
        return codes

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Quantize every item.

        The codebook holds :data:`CENTERS` (levels, codes, W), the centers of each part, W = ceil(E / levels);
        ``width``, E; ``normalized``: whether the centers belong to vectors of length 1; and under ``rotate``
        the orthogonal ``rotation`` (levels W, levels W): a vector x, filled up with zeros, is cut as x @ rotation.T.

        Raises:
            DataError: no item has a vector, or ``nearest_free`` finds no free code.
        """
        rows_N = present_rows(vectors, self.type_name)
        # More threads would change the last digits.
        with threadpool_limits(1):
            points_ND = self._padded(vectors.vectors_IE[rows_N])
            codebook = self._train(points_ND, derive(context.seed, "train"))
            parts_NLW = _parts(points_ND, codebook, self.levels)
            codes_NL = _nearest(parts_NLW, codebook[CENTERS])
            sizes, collisions = (self.codes,) * self.levels, count_collisions(codes_NL)
            if self.collisions == "suffix":
                codes_NL, sizes = add_suffix(codes_NL, sizes)
            elif collisions:
                cost_NV = _costs(parts_NLW[:, -1], codebook[CENTERS][-1])
                codes_NL = move_to_nearest_free(codes_NL, cost_NV, self.type_name)
        codebook |= {"width": np.array([vectors.vectors_IE.shape[1]]), "normalized": np.array([self.normalize])}
        codes_IL = for_all_items(codes_NL, rows_N, len(vectors.present_I))
        return SemanticIds(codes_IL, sizes, codebook, collisions)

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Quantize the new vectors with the codebook, then take the lowest free suffix or the nearest free last code.

        Where there is none, the path of the nearest known item; see :meth:`Tokenizer.assign`.
        """
        check_same_width(vectors, new, self.type_name)
        has_suffix = ids.num_levels > self.levels
        with threadpool_limits(1):
            parts_JLW = _parts(self._padded(new.vectors_IE), ids.codebook, self.levels)
            codes_JL = _nearest(parts_JLW, ids.codebook[CENTERS])

            def last_cost(item: int, prefix: Prefix) -> np.ndarray:
                return _costs(parts_JLW[item : item + 1, -1], ids.codebook[CENTERS][-1])[0]

            return with_new_items(
                ids,
                vectors,
                new,
                tokenizer=self.type_name,
                prefix_JP=codes_JL if has_suffix else codes_JL[:, :-1],
                last_cost=None if has_suffix else last_cost,
            )

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray:
        """The concatenated centers of an item's parts, rotated back.

        A part whose code is not read is the mean of that part over the items.
        """
        centers_LVW = ids.codebook[CENTERS]
        codes_IL = ids.codes_IL[:, : self.levels]
        is_known_I = ((codes_IL >= 0) & (codes_IL < centers_LVW.shape[1])).all(axis=1)
        parts_NLW = centers_LVW[np.arange(self.levels), codes_IL[is_known_I]]
        unread = slice(self.levels if levels is None else levels, self.levels)
        parts_NLW[:, unread] = parts_NLW[:, unread].mean(axis=0)
        decoded_ND = parts_NLW.reshape(len(parts_NLW), -1)
        if "rotation" in ids.codebook:
            decoded_ND = decoded_ND @ ids.codebook["rotation"]
        decoded_IE = np.full((len(codes_IL), int(ids.codebook["width"][0])), np.nan, dtype=np.float32)
        decoded_IE[is_known_I] = decoded_ND[:, : decoded_IE.shape[1]]
        return decoded_IE

    def _padded(self, points_NE: np.ndarray) -> np.ndarray:
        """Points of length 1 with ``normalize``, padded with zeros to a width D that is a multiple of ``levels``."""
        if self.normalize:
            points_NE = unit_rows(points_NE)
        return np.ascontiguousarray(np.pad(points_NE, ((0, 0), (0, -points_NE.shape[1] % self.levels))))

    def _train(self, points_ND: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """:data:`CENTERS` and, with ``rotate``, ``rotation``."""
        import faiss

        width = points_ND.shape[1]
        # faiss wants more points than centers, and its OPQ writes beyond its memory where there are fewer points than
        # dimensions. Points that repeat change no optimum.
        points_ND = np.tile(points_ND, (-(-max(2 * self.codes, width) // len(points_ND)), 1))

        def quantizer() -> Any:
            product = faiss.ProductQuantizer(width, self.levels, self.codes.bit_length() - 1)
            product.cp.seed, product.cp.niter, product.cp.min_points_per_centroid = seed % 2**31, self.iterations, 1
            return product

        codebook: dict[str, np.ndarray] = {}
        if self.rotate:
            inner, opq = quantizer(), cast(Any, faiss.OPQMatrix(width, self.levels))
            opq.pq = inner
            opq.train(points_ND)
            codebook["rotation"] = faiss.vector_to_array(opq.A).reshape(width, width)
            points_ND = np.ascontiguousarray(points_ND @ codebook["rotation"].T)
        trained = quantizer()
        trained.train(points_ND)
        codebook[CENTERS] = faiss.vector_to_array(trained.centroids).reshape(self.levels, self.codes, -1)
        return codebook


def _parts(points_ND: np.ndarray, codebook: Mapping[str, np.ndarray], levels: int) -> np.ndarray:
    """Points turned by the codebook's rotation, if it has one, and cut: (N, levels, W)."""
    turned_ND = points_ND @ codebook["rotation"].T if "rotation" in codebook else points_ND
    return turned_ND.reshape(len(points_ND), levels, points_ND.shape[1] // levels)


def _nearest(parts_NLW: np.ndarray, centers_LVW: np.ndarray) -> np.ndarray:
    """The nearest center of each part, int64 (N, L)."""
    codes_NL = np.zeros(parts_NLW.shape[:2], dtype=np.int64)
    for start in range(0, len(parts_NLW), _BLOCK):
        block = slice(start, start + _BLOCK)
        for level, centers_VW in enumerate(centers_LVW):
            codes_NL[block, level] = _costs(parts_NLW[block, level], centers_VW).argmin(axis=1)
    return codes_NL


def _costs(part_NW: np.ndarray, centers_VW: np.ndarray) -> np.ndarray:
    """Squared distances to a level's centers, (N, V), up to a constant per point."""
    # From the middle of the centers: far from zero, float32 would lose the small differences between large squares.
    middle_W = centers_VW.mean(axis=0)
    centers_VW = centers_VW - middle_W
    return np.einsum("vw,vw->v", centers_VW, centers_VW) - 2 * ((part_NW - middle_W) @ centers_VW.T)
