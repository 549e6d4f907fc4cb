"""Hierarchical k-means (EAGER, section 3.3): every cluster is divided, evenly or not, until a child holds one item."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Codes, Count
from genrec.runtime.progress import Bar
from genrec.runtime.seeds import derive
from genrec.semantic_ids.new_items import Prefix, check_same_width, with_new_items
from genrec.semantic_ids.trie import Trie
from genrec.tokenizers._balanced import balanced_kmeans, cluster_means
from genrec.tokenizers._child_order import matched_codes, principal_codes, random_codes
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.tokenizers._reconstruction import centers_name, node_centers
from genrec.types import ItemVectors, SemanticIds


@tokenizers.register("kmeans_tree")
class KMeansTree(Tokenizer):
    """Divide the items evenly into ``branching`` clusters, and each cluster again, until one item is left.

    The sizes of a node's children differ by at most one, unless ``balanced`` is off; a cluster of no more than
    ``branching`` items has one child per item. All codes have the same length: a branch that ends early continues with
    only children of code 0.

    Differs from the paper: it does not say how a node's children are numbered, which matters where all nodes of a
    level share one vocabulary. See ``child_order``.
    """

    is_random: ClassVar[bool] = True

    branching: Annotated[Codes, Field(ge=2)] = 256
    """Children of a node, k."""
    balanced: bool = True
    """Off: plain k-means at each node. Clusters then are as large as the data have them, and codes as long as the
    deepest branch needs."""
    iterations: Count = 15
    """Lloyd iterations at a node, at most."""
    child_order: Literal["matched", "principal", "random"] = "matched"
    """How a node's children are numbered: children that lie in the same direction from their parent's center share a
    code (``matched``), along the parent's first principal axis (``principal``), or at random."""
    normalize: bool = False
    """Scale the vectors to length 1 first, so that distances are cosine distances."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Build the tree.

        The codebook holds, by :func:`centers_name`, (nodes at depth d, E) in the order of their codes for the depths 1
        to L - 1 (a leaf's center is its item's vector), and under ``matched`` ``directions_<d>`` (V, E): the mean unit
        offset from parent to child of each code of level d, d from 2 to L. ``normalized``: whether the
        vectors had length 1.

        Raises:
            DataError: no item has a vector.
        """
        rows_N = present_rows(vectors, self.type_name)
        points_NE = vectors.vectors_IE[rows_N]
        if self.normalize:
            points_NE = unit_rows(points_NE)
        path_N = np.zeros(len(points_NE), dtype=np.int64)
        """The node of each item at the depth reached, numbered in the order of the codes that lead there."""
        levels: list[np.ndarray] = []
        codebook: dict[str, np.ndarray] = {}
        # Many small steps: more threads are slower and would change the last digits.
        with threadpool_limits(1), Bar("kmeans_tree: items with a leaf", len(points_NE)) as bar:
            single = 0
            while not levels or path_N.max() + 1 < len(points_NE):
                depth = len(levels)
                child_N = self._divide(points_NE, path_N, derive(context.seed, "divide", depth))
                code_N = self._number(
                    points_NE, path_N, child_N, derive(context.seed, "number", depth), codebook, depth
                )
                levels.append(code_N)
                path_N = np.unique(path_N * (code_N.max() + 1) + code_N, return_inverse=True)[1]
                if path_N.max() + 1 < len(points_NE):
                    codebook[centers_name(depth + 1)] = cluster_means(points_NE, path_N, int(path_N.max()) + 1)
                now_single = int((np.bincount(path_N) == 1).sum())
                bar.advance(now_single - single)
                single = now_single
        sizes = tuple(self._vocabulary_size(code_N, depth, codebook) for depth, code_N in enumerate(levels))
        codes_IL = for_all_items(np.stack(levels, axis=1), rows_N, len(vectors.present_I))
        codebook["normalized"] = np.array([self.normalize])
        return SemanticIds(codes_IL, sizes, codebook)

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Descend from the root to the child of the nearest center; last, take the free code of the best direction.

        Where codes have no directions (``child_order`` is not ``matched``), the lowest free code; where the node that
        was reached has no free code, the path of the nearest known item. See :meth:`Tokenizer.assign`.
        """
        check_same_width(vectors, new, self.type_name)
        if self.normalize:
            vectors, new = (replace(part, vectors_IE=unit_rows(part.vectors_IE)) for part in (vectors, new))
        prefix_JP, node_of = self._descend(ids, new.vectors_IE)
        directions_VE = ids.codebook.get(f"directions_{ids.num_levels}")
        if directions_VE is None:
            return with_new_items(ids, vectors, new, tokenizer=self.type_name, prefix_JP=prefix_JP)
        units_VE = unit_rows(directions_VE)
        centers_ME = ids.codebook[centers_name(ids.num_levels - 1)]

        def last_cost(item: int, prefix: Prefix) -> np.ndarray:
            return -units_VE @ (new.vectors_IE[item] - centers_ME[node_of[prefix]])

        return with_new_items(ids, vectors, new, tokenizer=self.type_name, prefix_JP=prefix_JP, last_cost=last_cost)

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray | None:
        """The center of the deepest inner node on the item's path; None for a tree of one level."""
        return node_centers(ids, ids.codebook, levels)

    def _descend(self, ids: SemanticIds, points_JE: np.ndarray) -> tuple[np.ndarray, dict[Prefix, int]]:
        """The codes of the last inner node on each point's path, (J, L - 1), and the number of each such node."""
        trie = Trie.of(ids)
        node_J = np.zeros(len(points_JE), dtype=np.int64)
        prefix_JP = np.zeros((len(points_JE), ids.num_levels - 1), dtype=np.int64)
        for depth in range(ids.num_levels - 1):
            centers_ME = ids.codebook[centers_name(depth + 1)]
            child_J = np.zeros_like(node_J)
            nodes, group_J = np.unique(node_J, return_inverse=True)
            for node, members in zip(nodes, _groups(group_J), strict=True):
                # The separate branch of absent items is last and has no centers.
                first, end = trie.child_start[depth][node], min(trie.child_start[depth][node + 1], len(centers_ME))
                offsets_CE = centers_ME[first:end] - centers_ME[first]
                points_GE = points_JE[members] - centers_ME[first]
                distance_GC = np.einsum("ce,ce->c", offsets_CE, offsets_CE) - 2 * (points_GE @ offsets_CE.T)
                child_J[members] = first + distance_GC.argmin(axis=1)
            prefix_JP[:, depth] = trie.codes[depth][child_J]
            node_J = child_J
        paths = np.unique(ids.codes_IL[ids.present_I, :-1], axis=0) if ids.num_levels > 1 else prefix_JP[:1]
        return prefix_JP, {tuple(path): node for node, path in enumerate(paths.tolist())}

    def _divide(self, points_NE: np.ndarray, path_N: np.ndarray, seed: int) -> np.ndarray:
        """The child of each item within its node, 0, 1, ..., not yet in the order of codes."""
        child_N = np.zeros(len(path_N), dtype=np.int64)
        for node, members in enumerate(_groups(path_N)):
            if len(members) <= self.branching:
                child_N[members] = np.arange(len(members))
            elif self.balanced:
                child_N[members] = balanced_kmeans(
                    points_NE[members], self.branching, iterations=self.iterations, seed=derive(seed, node)
                )
            else:
                child_N[members] = self._plain_kmeans(points_NE[members], derive(seed, node))
        return child_N

    def _plain_kmeans(self, points_NE: np.ndarray, seed: int) -> np.ndarray:
        """The cluster of each point, every cluster used; points that k-means cannot separate are divided evenly."""
        from sklearn.cluster import KMeans

        num_clusters = min(self.branching, len(np.unique(points_NE, axis=0)))
        settings: dict[str, Any] = {"n_init": 1, "max_iter": self.iterations, "random_state": seed % 2**32}
        labels_N = np.asarray(KMeans(num_clusters, **settings).fit(points_NE).labels_)
        used, cluster_N = np.unique(labels_N, return_inverse=True)
        return cluster_N if len(used) > 1 else np.arange(len(points_NE)) % self.branching

    def _number(
        self,
        points_NE: np.ndarray,
        path_N: np.ndarray,
        child_N: np.ndarray,
        seed: int,
        codebook: dict[str, np.ndarray],
        depth: int,
    ) -> np.ndarray:
        """The code of each item at this level; adds the level's directions to the codebook where codes are matched."""
        num_parents = int(path_N.max()) + 1
        pair_N = path_N * self.branching + child_N
        pair_M, first_M, family_N = np.unique(pair_N, return_index=True, return_inverse=True)
        parent_M = pair_M // self.branching
        centers_ME = cluster_means(points_NE, family_N, len(pair_M))
        offsets_ME = centers_ME - cluster_means(points_NE, path_N, num_parents)[parent_M]
        families = [family for family in _groups(parent_M) if len(family) > 1]
        code_M = np.zeros(len(pair_M), dtype=np.int64)
        if self.child_order == "principal":
            code_M = principal_codes(offsets_ME, families)
        elif self.child_order == "random":
            code_M = random_codes(len(pair_M), families, seed)
        elif num_parents == 1:
            code_M = child_N[first_M]
        else:
            divided = np.concatenate(families)
            bounds = np.cumsum([0, *map(len, families)])
            positions = [np.arange(a, b) for a, b in pairwise(bounds)]
            num_codes = min(self.branching, len(divided))
            code, directions = matched_codes(offsets_ME[divided], positions, num_codes, seed)
            code_M[divided] = code
            codebook[f"directions_{depth + 1}"] = directions
        return code_M[family_N]

    def _vocabulary_size(self, code_N: np.ndarray, depth: int, codebook: dict[str, np.ndarray]) -> int:
        directions = codebook.get(f"directions_{depth + 1}")
        return int(code_N.max()) + 1 if directions is None else len(directions)


def _groups(label_N: np.ndarray) -> list[np.ndarray]:
    """The positions of each label 0, 1, ..., each in ascending order."""
    order = np.argsort(label_N, kind="stable")
    counts = np.bincount(label_N)
    return np.split(order, np.cumsum(counts)[:-1])[: len(counts)]
