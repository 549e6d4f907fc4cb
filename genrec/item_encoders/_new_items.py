"""Vectors of items that were added later: what several encoders need to encode them."""

from __future__ import annotations

import numpy as np

from genrec.errors import DataError
from genrec.families import KnownItems
from genrec.types import Catalog, Column, Histories, ItemVectors

NO_HISTORIES = Histories(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
"""For encoders that read none."""

_TOLERANCE = 1e-3
"""Largest difference of equal vectors, relative to the largest number in them: other threads round differently."""


def all_absent(new: Catalog, known: KnownItems) -> ItemVectors:
    """Vectors of new items that all lack what the encoder reads."""
    width = known.vectors.vectors_IE.shape[1]
    return ItemVectors(np.zeros((len(new), width), dtype=np.float32), np.zeros(len(new), dtype=bool))


def demand_equal(stored: ItemVectors, fitted_IE: np.ndarray, keys: tuple[str, ...], encoder: str) -> None:
    """Check that an encoder that was fitted again gives the vectors that were stored.

    Args:
        stored: vectors of the known items.
        fitted_IE: those of the encoder now, zero where absent.
        keys: of the items.
        encoder: its name.

    Raises:
        DataError: they differ.
    """
    advice = (
        "new items would get vectors of another space; expected the data of the run (--data) and the versions of "
        "libraries that it was computed with"
    )
    if fitted_IE.shape != stored.vectors_IE.shape:
        raise DataError(
            f"{encoder}: fitted again to the known items, it gives vectors of shape {fitted_IE.shape}, the stored ones "
            f"have {stored.vectors_IE.shape}: {advice}"
        )
    known_IE = np.where(stored.present_I[:, None], stored.vectors_IE, 0.0)
    difference_I = np.abs(fitted_IE - known_IE).max(axis=1, initial=0.0)
    if (difference_I > _TOLERANCE * max(float(np.abs(known_IE).max(initial=0.0)), 1e-12)).any():
        item = int(difference_I.argmax())
        raise DataError(
            f"{encoder}: fitted again to the known items, it gives item {keys[item]!r} another vector than the stored "
            f"one (difference {difference_I[item]:.2g}): {advice}"
        )


def with_more(column: Column, more: Column | None, count: int) -> Column:
    """A column of known items, followed by that of ``count`` new ones; missing values if they have no such column."""
    if more is not None:
        values_J = more.values_I
    elif column.kind == "categorical":
        values_J = np.fromiter(((),) * count, dtype=object)
    else:
        values_J = np.full(count, np.nan if column.kind == "numeric" else np.datetime64("NaT"), column.values_I.dtype)
    return Column(column.kind, np.concatenate([column.values_I, values_J]))
