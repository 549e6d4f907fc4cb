"""Concatenated item encoders, e.g. one stream from text and behavior."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from genrec.families import ItemEncoder, item_encoders
from genrec.runtime.environment import WorkContext
from genrec.runtime.seeds import derive
from genrec.types import Catalog, Histories, ItemVectors


@item_encoders.register("concatenation")
class Concatenation(ItemEncoder):
    """Vectors of several encoders, each centered and scaled to mean length 1, side by side."""

    encoders: Annotated[tuple[ItemEncoder, ...], Field(min_length=1)]
    """The encoders, a block each."""

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        """Whether one of its parts depends on the seed."""
        return any(encoder.is_random for encoder in self.encoders)

    @property
    def reads_histories(self) -> bool:  # type: ignore[override]
        """Whether one of its parts reads histories."""
        return any(encoder.reads_histories for encoder in self.encoders)

    @property
    def gives_vectors(self) -> bool:  # type: ignore[override]
        """Whether one of its parts gives vectors."""
        return any(encoder.gives_vectors for encoder in self.encoders)

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        for position, encoder in enumerate(self.encoders):
            encoder.prepare(catalog, context=_of_part(context, position))

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        """Encode every item; it is present if it is present in any part, and zero in the other parts.

        Zero is a part's mean after centering, so a missing part is neutral.
        """
        parts = [
            encoder.encode(catalog, train, context=_of_part(context, position))
            for position, encoder in enumerate(self.encoders)
        ]
        vectors_IE = np.concatenate([_standardized(part) for part in parts], axis=1)
        present_I = np.any([part.present_I for part in parts], axis=0)
        notes = tuple(
            f"{encoder.type_name}: {note}"
            for encoder, part in zip(self.encoders, parts, strict=True)
            for note in part.notes
        )
        return ItemVectors(vectors_IE, present_I, notes)


def _of_part(context: WorkContext, position: int) -> WorkContext:
    """A separate seed and folder for each part."""
    folder = None if context.folder is None else context.folder / f"part-{position}"
    return replace(context, seed=derive(context.seed, "concatenation", position), folder=folder)


def _standardized(part: ItemVectors) -> np.ndarray:
    """A part's vectors, centered and divided by their mean length; zero rows where absent."""
    vectors_IE, present_I = part.vectors_IE.copy(), part.present_I
    if present_I.any():
        centered_NE = vectors_IE[present_I] - vectors_IE[present_I].mean(axis=0)
        length = np.linalg.norm(centered_NE, axis=1).mean()
        vectors_IE[present_I] = centered_NE / length if length > 0 else centered_NE
    vectors_IE[~present_I] = 0.0
    return vectors_IE
