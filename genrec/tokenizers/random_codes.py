"""The control: a balanced tree of the usual shape in which every item has a place at random."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Codes
from genrec.runtime.seeds import derive
from genrec.semantic_ids.new_items import check_same_width, with_new_items
from genrec.tokenizers._present import for_all_items, present_rows
from genrec.types import ItemVectors, SemanticIds


@tokenizers.register("random_codes")
class RandomCodes(Tokenizer):
    """Deal the items at random to the leaves of a balanced tree; of the vectors it only reads which items have one.

    Depth, sizes of nodes and vocabularies are those of ``kmeans_tree`` with the same ``branching``, so what a stream of
    that tokenizer has over this one is the information in its codes.
    """

    reads_vectors: ClassVar[bool] = False

    is_random: ClassVar[bool] = True

    branching: Annotated[Codes, Field(ge=2)] = 256
    """Children of a node, k."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Deal the items.

        The children of a node get distinct codes drawn from all codes of the level. The codebook is empty.

        Raises:
            DataError: no item has a vector, so no item can have a code.
        """
        rows_N = present_rows(vectors, self.type_name)
        generator = np.random.default_rng(derive(context.seed, "deal"))
        place_N = generator.permutation(len(rows_N))
        """The place of each item within its node, 0, 1, ..."""
        node_N = np.zeros(len(rows_N), dtype=np.int64)
        size_M = np.array([len(rows_N)])
        """Items of each node."""
        levels: list[np.ndarray] = []
        sizes: list[int] = []
        while not levels or len(size_M) < len(rows_N):
            # Child c of a node holds the places that are c modulo its children, so that siblings differ by one at most.
            children_M = np.minimum(size_M, self.branching)
            first_M = np.cumsum(children_M) - children_M
            place_N, child_N = np.divmod(place_N, children_M[node_N])
            num_codes = min(self.branching, int(children_M[children_M > 1].sum()) or 1)
            code_M = np.concatenate([self._codes(count, num_codes, generator) for count in children_M.tolist()])
            node_N = first_M[node_N] + child_N
            size_M = np.bincount(node_N)
            levels.append(code_M[node_N])
            sizes.append(num_codes)
        codes_IL = for_all_items(np.stack(levels, axis=1), rows_N, len(vectors.present_I))
        return SemanticIds(codes_IL, tuple(sizes))

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Draw a path of the known items and one of the free codes below it; the present codes determine the seed.

        See :meth:`Tokenizer.assign`.
        """
        check_same_width(vectors, new, self.type_name)
        digest = hashlib.blake2b(np.ascontiguousarray(ids.codes_IL).tobytes(), digest_size=8).digest()
        generator = np.random.default_rng(int.from_bytes(digest, "big"))

        def drawn(present_I: np.ndarray) -> ItemVectors:
            return ItemVectors(generator.random((len(present_I), 1), dtype=np.float32), present_I)

        return with_new_items(
            ids,
            drawn(vectors.present_I),
            drawn(new.present_I),
            tokenizer=self.type_name,
            last_cost=lambda item, prefix: generator.random(ids.vocabulary_sizes[-1]),
        )

    def _codes(self, count: int, num_codes: int, generator: np.random.Generator) -> np.ndarray:
        """Codes of a node's children; an only child, of a branch that has ended, has code 0."""
        return generator.permutation(num_codes)[:count] if count > 1 else np.zeros(count, dtype=np.int64)
