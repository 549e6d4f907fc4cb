"""Concatenated item encoders, e.g. one stream from text and behavior."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import NO_HISTORIES, demand_equal
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
        vectors_IE = np.concatenate([_standardized(part, part) for part in parts], axis=1)
        present_I = np.any([part.present_I for part in parts], axis=0)
        notes = tuple(
            f"{encoder.type_name}: {note}"
            for encoder, part in zip(self.encoders, parts, strict=True)
            for note in part.notes
        )
        return ItemVectors(vectors_IE, present_I, notes)

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors | None:
        """Encode the new items with each part that can, scaled as the known items, which these parts encode again.

        The other parts are zero, as for items that are absent in them. None if no part can, or if parts that cannot
        are apart from each other: their widths are not stored.
        """
        catalog, stored = known.read_catalog(), known.vectors
        parts = [
            None if encoder.reads_histories else _new_part(encoder, catalog, new, _of_part(context, position))
            for position, encoder in enumerate(self.encoders)
        ]
        gap = [position for position, part in enumerate(parts) if part is None]
        if len(gap) == len(parts) or (gap and gap[-1] - gap[0] >= len(gap)):
            return None
        start = gap[0] if gap else len(parts)
        before, after = ([part for part in some if part] for some in (parts[:start], parts[start:]))
        encoded = [*before, *after]
        fitted_IE = np.concatenate([part.known_IE for part in encoded], axis=1)
        place = sum(part.known_IE.shape[1] for part in before)
        width = stored.vectors_IE.shape[1] - fitted_IE.shape[1]
        if width < 0 or (width and not gap):
            place, width = 0, 0  # other widths: the comparison fails
        stored_IE = np.delete(stored.vectors_IE, np.s_[place : place + width], axis=1)
        demand_equal(replace(stored, vectors_IE=stored_IE), fitted_IE, catalog.keys, self.type_name)
        blocks_JE = [part.new.vectors_IE for part in encoded]
        blocks_JE.insert(len(before), np.zeros((len(new), width), dtype=np.float32))
        present_J = np.any([part.new.present_I for part in encoded], axis=0)
        notes = tuple(note for part in encoded for note in part.new.notes)
        return ItemVectors(np.concatenate(blocks_JE, axis=1), present_J, notes)


class _NewPart(NamedTuple):
    """One part of the vectors of known and new items, standardized by the known ones."""

    known_IE: np.ndarray
    new: ItemVectors


def _new_part(encoder: ItemEncoder, catalog: Catalog, new: Catalog, context: WorkContext) -> _NewPart | None:
    """The part of one encoder; None if it cannot encode new items."""
    part = encoder.encode(catalog, NO_HISTORIES, context=context)
    added = encoder.encode_new(new, KnownItems(part, lambda: catalog), context=context)
    if added is None:
        return None
    return _NewPart(_standardized(part, part), replace(added, vectors_IE=_standardized(added, part)))


def _of_part(context: WorkContext, position: int) -> WorkContext:
    """A separate seed and folder for each part."""
    folder = None if context.folder is None else context.folder / f"part-{position}"
    return replace(context, seed=derive(context.seed, "concatenation", position), folder=folder)


def _standardized(part: ItemVectors, fitted: ItemVectors) -> np.ndarray:
    """A part's vectors, centered and divided by their mean length, both those of ``fitted``; zero rows where absent."""
    vectors_IE, present_I = part.vectors_IE.copy(), part.present_I
    if fitted.present_I.any():
        mean_E = fitted.vectors_IE[fitted.present_I].mean(axis=0)
        length = np.linalg.norm(fitted.vectors_IE[fitted.present_I] - mean_E, axis=1).mean()
        centered_NE = vectors_IE[present_I] - mean_E
        vectors_IE[present_I] = centered_NE / length if length > 0 else centered_NE
    vectors_IE[~present_I] = 0.0
    return vectors_IE
