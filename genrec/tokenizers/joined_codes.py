"""Codes of several tokenizers one after the other, for one decoder that writes all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from genrec.errors import DataError
from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Width
from genrec.runtime.seeds import derive
from genrec.types import ItemVectors, SemanticIds


@tokenizers.register("joined_codes")
class JoinedCodes(Tokenizer):
    """Divide concatenated vectors into their parts, tokenize each part, and join the codes (EAGER, section 3.3).

    The alternative to two decoders that the paper argues against: one decoder generates both identifiers of an item in
    an autoregressive way. Use it on the vectors of the item encoder ``concatenation``, and with ``vocabulary: level``:
    with a vector for each node, codes of the second part are certain given those of the first.

    Differs from the paper: it does not say which identifier comes first.
    """

    tokenizers: Annotated[tuple[Tokenizer, ...], Field(min_length=2)]
    """The tokenizer of each part, in the order of the parts."""
    widths: tuple[Width, ...]
    """Columns of each part but the last, which takes the rest."""

    @model_validator(mode="after")
    def _a_width_for_each_part(self) -> JoinedCodes:
        expected = len(self.tokenizers) - 1
        if len(self.widths) != expected:
            raise ValueError(f"widths: found {len(self.widths)}, expected {expected}: one for each part but the last")
        return self

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        """Whether one of its tokenizers depends on the seed."""
        return any(tokenizer.is_random for tokenizer in self.tokenizers)

    @property
    def reads_vectors(self) -> bool:  # type: ignore[override]
        """Whether one of its tokenizers reads vectors."""
        return any(tokenizer.reads_vectors for tokenizer in self.tokenizers)

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Tokenize each part. The codebook is empty, so new items get the codes of the nearest known item.

        Raises:
            DataError: the widths leave no columns for the last part, or no item has a vector.
        """
        ends = np.cumsum(self.widths)
        width = vectors.vectors_IE.shape[1]
        if ends[-1] >= width:
            raise DataError(
                f"joined_codes: widths: found {ends[-1]} columns in all, expected fewer than the {width} of the "
                "vectors, so that the last part has some"
            )
        parts = [
            tokenizer.fit(
                replace(vectors, vectors_IE=np.ascontiguousarray(part_IE)),
                keys=keys,
                context=replace(context, seed=derive(context.seed, "joined_codes", place), folder=None),
            )
            for place, (tokenizer, part_IE) in enumerate(
                zip(self.tokenizers, np.split(vectors.vectors_IE, ends, axis=1), strict=True)
            )
        ]
        codes_IL = np.concatenate([part.codes_IL for part in parts], axis=1)
        sizes = tuple(size for part in parts for size in part.vocabulary_sizes)
        notes = tuple(note for part in parts for note in part.notes)
        return SemanticIds(codes_IL, sizes, collisions=sum(part.collisions for part in parts), notes=notes)
